// Package dashboards holds the dashboards for Grafana, as classic JSON, and a file that provisions them.
//
// They are made by Go code with Grafana's foundation SDK, which go generate runs. Only their JSON is here, so the SDK is
// not part of the program.
package dashboards

import (
	"embed"
	"io/fs"
)

//go:generate go run ./internal/generate

//go:embed *.json provisioning/pingreq.yaml
var files embed.FS

// Files gives the dashboards, <name>.json, and provisioning/pingreq.yaml, by which Grafana loads them from a folder.
func Files() fs.FS { return files }
