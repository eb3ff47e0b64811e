package build

import (
	"fmt"
	"strings"

	"github.com/pingreq/pingreq/internal/thresholds"
)

// withNumbers replaces the names of thresholds in braces with their values.
func withNumbers(text string) string {
	seconds := func(v float64) string { return fmt.Sprintf("%g s", v) }
	percent := func(v float64) string { return fmt.Sprintf("%.4g %%", 100*v) }
	days := func(v float64) string { return fmt.Sprintf("%g days", v) }
	return strings.NewReplacer(
		"{objective}", percent(thresholds.ConnectObjective), "{allowed}", percent(1-thresholds.ConnectObjective),
		"{burn fast}", fmt.Sprint(thresholds.BurnFast), "{burn slow}", fmt.Sprint(thresholds.BurnSlow),
		"{slow}", seconds(thresholds.ConnectSlowSeconds), "{very slow}", seconds(thresholds.ConnectVerySlowSeconds),
		"{slow ping}", seconds(thresholds.PingSlowSeconds), "{slow delivery}", seconds(thresholds.DeliverySlowSeconds),
		"{grace}", fmt.Sprint(thresholds.KeepaliveGrace), "{late}", fmt.Sprint(thresholds.HalfopenLateRatio),
		"{bad verdicts}", fmt.Sprint(thresholds.HalfopenBadVerdicts), "{verdicts}", fmt.Sprint(thresholds.HalfopenVerdicts),
		"{cert warning}", days(thresholds.CertWarningDays), "{cert critical}", days(thresholds.CertCriticalDays),
		"{drift}", seconds(thresholds.ThreadDriftSeconds), "{lag}", seconds(thresholds.StartLagSeconds),
		"{gather}", seconds(thresholds.GatherSeconds), "{descriptors}", percent(thresholds.DescriptorShare),
	).Replace(text)
}
