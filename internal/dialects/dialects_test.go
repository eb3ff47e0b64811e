package dialects_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/dialects"
)

// TestAll compares the list with the dialects that the collectors implement.
func TestAll(t *testing.T) {
	var withSys, withEvents []string
	for _, d := range dialects.All() {
		if d.Sys {
			withSys = append(withSys, d.Name)
		}
		if d.Events != "" {
			withEvents = append(withEvents, d.Name)
		}
		if dialects.HasSys(d.Name) != d.Sys {
			t.Errorf("HasSys(%q) is not %v", d.Name, d.Sys)
		}
	}
	if !dialects.HasSys(dialects.Auto) {
		t.Error("auto does not read $SYS")
	}
	for _, d := range sys.Dialects() {
		if i := slices.IndexFunc(dialects.All(), func(l dialects.Dialect) bool { return l.Name == d.Name }); i < 0 || dialects.All()[i].Quiet != d.Quiet {
			t.Errorf("%s: Quiet is not %v in the list", d.Name, d.Quiet)
		}
	}
	var implemented []string
	for _, d := range events.Dialects() {
		implemented = append(implemented, d.Name)
	}
	for what, pair := range map[string][2][]string{
		"$SYS":   {withSys, slices.DeleteFunc(sys.DialectNames(), func(n string) bool { return n == dialects.Auto })},
		"events": {withEvents, implemented},
	} {
		if diff := cmp.Diff(slices.Sorted(slices.Values(pair[1])), slices.Sorted(slices.Values(pair[0]))); diff != "" {
			t.Errorf("dialects with %s (-implemented +listed):\n%s", what, diff)
		}
	}
}

func TestOfHost(t *testing.T) {
	for host, want := range map[string]string{
		"abc-ats.iot.eu-central-1.amazonaws.com":  dialects.AWS,
		"abc.iot.cn-north-1.amazonaws.com.cn":     dialects.AWS,
		"ec2-1-2-3-4.compute-1.amazonaws.com":     dialects.Auto,
		"abc.iot.eu-central-1.amazonaws.com.evil": dialects.Auto,
		"broker.example":                          dialects.Auto,
	} {
		if got := dialects.OfHost(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}
