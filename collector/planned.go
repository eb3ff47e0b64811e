package collector

import "github.com/pingreq/pingreq/synthetic"

// Planned is a probe that entered the plan: all that its metrics need to exist before its first run.
type Planned struct {
	Identity  synthetic.Identity
	Profile   synthetic.Profile
	Transport string             // scheme of the target's URL: mqtt, mqtts, ws, wss or unix
	Schedule  synthetic.Schedule // Every = 0 for a probe that is kept alive
	Slots     int                // sessions kept alive; 1 for a periodic probe, as is 0
}

// tlsVersions are the versions that the profile offers on this transport; empty where there is no TLS.
func (p *Planned) tlsVersions() (lowest, highest string) {
	if p.Transport != "mqtts" && p.Transport != "wss" {
		return "", ""
	}
	lowest, highest = p.Profile.TLS.MinVersion, p.Profile.TLS.MaxVersion
	if lowest == "" {
		lowest = "1.2"
	}
	if highest == "" {
		highest = "1.3"
	}
	return lowest, highest
}
