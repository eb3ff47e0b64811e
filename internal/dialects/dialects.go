// Package dialects names the brokers whose own topics pingreq can read. The names are used in the
// configuration, in the label software of mqtt_broker_info and in the documentation.
package dialects

import "strings"

// Auto stands for the dialect that is detected from what the broker publishes.
const Auto = "auto"

// The dialects.
const (
	Mosquitto = "mosquitto"
	NanoMQ    = "nanomq"
	EMQX      = "emqx"
	VerneMQ   = "vernemq"
	Mochi     = "mochi"
	Aedes     = "aedes"
	FlashMQ   = "flashmq"
	HiveMQ    = "hivemq"
	AWS       = "aws"
)

// Dialect is what a broker publishes about itself and its clients.
type Dialect struct {
	Name string
	// Sys reports whether the broker publishes under $SYS.
	Sys bool
	// Quiet reports whether the broker publishes no values under $SYS, only client events.
	Quiet bool
	// Events is the name of the broker's client events in the documentation, with the setting that
	// must be switched on. It is empty if the broker publishes no events.
	Events string
}

// All returns the dialects, in the order of the documentation.
func All() []Dialect {
	return []Dialect{
		{Name: Mosquitto, Sys: true, Events: "mosquitto (log_dest topic)"},
		{Name: NanoMQ, Sys: true, Quiet: true, Events: "nanomq"},
		{Name: EMQX, Sys: true, Events: "emqx"},
		{Name: VerneMQ, Sys: true},
		{Name: Mochi, Sys: true},
		{Name: Aedes, Sys: true, Events: "aedes"},
		{Name: FlashMQ, Sys: true},
		{Name: HiveMQ, Sys: true},
		{Name: AWS, Events: "aws"},
	}
}

// HasSys reports whether a broker of the dialect may publish under $SYS. It returns true for
// [Auto].
func HasSys(name string) bool {
	for _, d := range All() {
		if d.Name == name {
			return d.Sys
		}
	}
	return true
}

// OfHost returns the dialect that follows from a host name, and [Auto] for all other names. AWS IoT
// Core must be known in advance, because it may close the connection of a client that subscribes to
// $SYS.
func OfHost(host string) string {
	aws := strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
	if aws && strings.Contains(host, ".iot.") {
		return AWS
	}
	return Auto
}
