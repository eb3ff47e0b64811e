package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/pingreq/pingreq/test/lab"
)

// browser is a headless Chromium.
type browser struct {
	ctx context.Context
	axe string // the source of axe-core
}

// startBrowser starts a browser. It ends with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := lab.Require(t, "chromium")
	_, dir := lab.RequireNode(t, "test/browser", "axe-core")
	axe, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-sync", true), chromedp.UserDataDir(t.TempDir()))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...) // not t's, so that it can close in order
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return &browser{ctx, string(axe)}
}

// window is how a page is shown.
type window struct {
	width, height int64
	scheme        string // light or dark
}

func (w window) String() string { return fmt.Sprintf("%d wide, %s", w.width, w.scheme) }

var windows = []window{{1280, 900, "light"}, {1280, 900, "dark"}, {390, 844, "light"}, {390, 844, "dark"}}

// tab is a page in the browser.
type tab struct {
	t   *testing.T
	ctx context.Context
	b   *browser
}

// open opens a page in a tab of its own.
func (b *browser) open(t *testing.T, w window, url string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	p := &tab{t, ctx, b}
	p.do(chromedp.EmulateViewport(w.width, w.height))
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: w.scheme}}}); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Navigate(url))
	return p
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// eval returns the value of an expression, which may be a promise.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	await := true
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, func(q *runtime.EvaluateParams) { q.AwaitPromise = &await }))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// text returns the text of the page as it is shown.
func (p *tab) text() string {
	p.t.Helper()
	return strings.Join(strings.Fields(eval[string](p, "document.body.innerText")), " ")
}

// fits reports a page that is wider than the window.
func (p *tab) fits() {
	p.t.Helper()
	if wide := eval[[]string](p, `document.documentElement.scrollWidth <= innerWidth ? [] :
		[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll')).map(e => e.outerHTML.slice(0, 100))`); len(wide) > 0 {
		p.t.Errorf("wider than the window: %s", strings.Join(wide, "\n"))
	}
}

// accessible reports what axe-core finds.
func (p *tab) accessible() {
	p.t.Helper()
	p.do(chromedp.Steps(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Evaluate[chromedp.Void](p.b.axe)(ctx, t)
		return chromedp.Void{}, err
	}))
	found := eval[string](p, `axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']}).then(r =>
		JSON.stringify(r.violations.map(v => ({id: v.id, help: v.help, where: v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + ' ' + (n.failureSummary || ''))}))))`)
	var violations []struct {
		ID, Help string
		Where    []string
	}
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		p.t.Fatal(err)
	}
	for _, v := range violations {
		p.t.Errorf("%s: %s\n  %s", v.ID, v.Help, strings.Join(v.Where, "\n  "))
	}
}

// screenshot writes a picture of the whole page, if somebody asked for it.
func (p *tab) screenshot(name string) {
	p.t.Helper()
	dir := os.Getenv("PINGREQ_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	b, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), b, 0o644)
	}
	if err != nil {
		p.t.Error(err)
	}
}

// withoutScripts shows a page with JavaScript switched off.
func (p *tab) withoutScripts(url string) {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		p.t.Fatal(err)
	}
	p.do(chromedp.Navigate(url))
}
