// Package dashboards embeds the dashboards for Grafana, as classic JSON, and a file that provisions
// them.
//
// Go code makes them with Grafana's foundation SDK; go generate runs it. This package contains only
// the JSON, so the SDK is not part of the program.
package dashboards

import (
	"embed"
	"io/fs"
)

//go:generate go run ./internal/generate

//go:embed *.json provisioning/pingreq.yaml
var files embed.FS

// Files returns the dashboards, <name>.json, and provisioning/pingreq.yaml. With the latter Grafana
// loads them from a folder.
func Files() fs.FS { return files }
