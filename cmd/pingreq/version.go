package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"
)

// setVersion lets metrics, pages and messages have the version of this build.
func setVersion() {
	info, _ := debug.ReadBuildInfo()
	version.Version = versionOf(version.Version, info)
}

var tagPrefix = regexp.MustCompile(`^v([0-9])`)

// versionOf returns the version of a build, without the "v" of its tag. The linker sets it in a release.
// Otherwise Go knows the version of the module: that of `go install …@v1.2.3`, or one that it makes from
// the latest tag, the time of the commit and the revision.
func versionOf(linked string, info *debug.BuildInfo) string {
	v := linked
	if v == "" && info != nil && info.Main.Version != "(devel)" {
		v = info.Main.Version
	}
	if v == "" {
		return "devel"
	}
	return tagPrefix.ReplaceAllString(v, "$1")
}

// versionText describes this build. What is not known has no line.
func versionText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pingreq, version %s (revision: %s)", version.Version, version.GetRevision())
	for _, l := range []struct{ name, value string }{
		{"branch", version.Branch}, {"build user", version.BuildUser}, {"build date", version.BuildDate},
		{"go version", version.GoVersion}, {"platform", version.GoOS + "/" + version.GoArch},
	} {
		if l.value != "" {
			fmt.Fprintf(&b, "\n  %-12s %s", l.name+":", l.value)
		}
	}
	return b.String()
}

// versionFlag adds the flag that prints the version, as Prometheus and its exporters have it. It ends the
// program through end. The flag of kingpin would put the whole text into the first line of the man page.
func versionFlag(app *kingpin.Application, stdout io.Writer, end func(code int)) {
	app.Flag("version", "Print the version.").PreAction(func(*kingpin.ParseContext) error {
		_, err := fmt.Fprintln(stdout, versionText())
		end(exitOK)
		return err
	}).Bool()
}

// versionCommand prints the version.
func versionCommand(app *kingpin.Application) subcommand {
	c := app.Command("version", "Print the version, the revision that it was built from, and whether that was modified.")
	return subcommand{c.FullCommand(), func(_ context.Context, e environment) error {
		_, err := fmt.Fprintln(e.stdout, versionText())
		return err
	}}
}
