package web

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/files"
)

// checkConfig checks that the web configuration file, and the files that it names, are files of a
// reasonable size. exporter-toolkit reads them with every connection, and would wait for a pipe for
// ever. It also reports every other fault.
func checkConfig(ctx context.Context, name *string) error {
	if name == nil || *name == "" {
		return nil
	}
	var reader files.Reader
	read := func(what, name string) ([]byte, error) {
		f, err := reader.Read(ctx, name, files.MaxNamed)
		if _, unfit := errors.AsType[files.Error](err); unfit || ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", what, name, err)
		}
		return f.Content, nil
	}
	text, err := read("web configuration file", *name)
	if err != nil {
		return err
	}
	var c struct {
		TLS struct {
			Cert string `yaml:"cert_file"`
			Key  string `yaml:"key_file"`
			CA   string `yaml:"client_ca_file"`
		} `yaml:"tls_server_config"`
	}
	if yaml.Unmarshal(text, &c) != nil {
		return nil
	}
	for what, named := range map[string]string{"cert_file": c.TLS.Cert, "key_file": c.TLS.Key, "client_ca_file": c.TLS.CA} {
		if named == "" {
			continue
		}
		if !filepath.IsAbs(named) {
			named = filepath.Join(filepath.Dir(*name), named)
		}
		if _, err := read(what+" of the web configuration", named); err != nil {
			return err
		}
	}
	return nil
}
