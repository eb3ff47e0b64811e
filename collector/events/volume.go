package events

import "github.com/pingreq/pingreq/internal/dialects"

// Series returns how many series a target costs whose events are read in a dialect: while clients
// connect and nothing is refused or ends, and when every reason has occurred that the dialect can
// tell. With [dialects.Auto] it is the dialect with the most reasons. A broker without events has only
// its state.
func Series(dialect string) (quiet, most int) {
	const connects, unparsed, own = 1, 1, int(Disconnect)
	quiet = len(States())
	most = quiet
	for _, d := range Dialects() {
		if dialect == d.Name || dialect == dialects.Auto {
			quiet = len(States()) + connects + unparsed + own
			most = max(most, quiet+len(d.Outcomes)-connects)
		}
	}
	return quiet, most
}
