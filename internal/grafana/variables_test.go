package grafana

import "testing"

func TestSubstitute(t *testing.T) {
	got := Substitute(`a{b=~"$target", c="${probe:regex}", d="[[profile]]", e=~".+$", f="$1"}[$__rate_interval]`, func(name string) string { return "<" + name + ">" })
	const want = `a{b=~"<target>", c="<probe>", d="<profile>", e=~".+$", f="$1"}[<__rate_interval>]`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
