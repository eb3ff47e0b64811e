// Package alerts embeds the Prometheus rules of pingreq and an example of a configuration for
// Alertmanager. They are plain files that users copy:
//
//	rules/pingreq-recording.yaml   inputs of the alerts, service levels, quantiles
//	rules/pingreq-alerts.yaml      the alerts
//	alertmanager.yaml              routing, grouping and inhibition
//
// They need Prometheus 2.42. docs/runbooks has a page for each alert and lists what the rules
// require.
package alerts

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed rules/*.yaml alertmanager.yaml
var files embed.FS

// Files returns the files as they are committed, by the paths above.
func Files() fs.FS { return files }

// Render returns the files by path, with every time in them divided by scale, so that tests and
// demonstrations take less time. With 60 a minute becomes a second. With 1 the files are byte for
// byte those of [Files]. Render returns an error if scale is not a number above 0, or if a file has
// a time that cannot be divided.
func Render(scale float64) (map[string][]byte, error) {
	out := make(map[string][]byte)
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		if out[path], err = rescale(text, scale); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
