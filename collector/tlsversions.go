package collector

import "github.com/pingreq/pingreq/synthetic"

// tlsVersions returns the TLS versions that the profile of an entry offers. Both are empty if the
// transport has no TLS.
func tlsVersions(e *synthetic.Entry) (lowest, highest string) {
	if t := e.Transport(); t != "mqtts" && t != "wss" {
		return "", ""
	}
	lowest, highest = e.Profile.TLS.MinVersion, e.Profile.TLS.MaxVersion
	if lowest == "" {
		lowest = "1.2"
	}
	if highest == "" {
		highest = "1.3"
	}
	return lowest, highest
}
