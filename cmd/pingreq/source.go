package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
)

// urlFlags are the flags for targets that are given as URLs.
type urlFlags struct {
	username, passwordFile, caFile, certFile, keyFile, serverName, protocol *string
	insecure, commonName                                                    *bool
	keepalive                                                               *time.Duration
}

// addURLFlags adds the flags to a command.
func addURLFlags(c *kingpin.CmdClause) urlFlags {
	return urlFlags{
		username:     c.Flag("username", "User name, for targets given as URLs.").String(),
		passwordFile: c.Flag("password-file", "File that holds the password.").PlaceHolder("FILE").String(),
		caFile:       c.Flag("ca-file", "PEM file with the certificates to trust. Default: those of the system.").PlaceHolder("FILE").String(),
		certFile:     c.Flag("cert-file", "PEM file with the client certificate.").PlaceHolder("FILE").String(),
		keyFile:      c.Flag("key-file", "PEM file with the key of the client certificate.").PlaceHolder("FILE").String(),
		serverName:   c.Flag("server-name", "Name to verify and to send as SNI. Default: the host of the URL.").String(),
		insecure:     c.Flag("insecure-skip-verify", "Do not verify the broker's certificate.").Bool(),
		commonName:   c.Flag("verify-common-name", "Accept a certificate without Subject Alternative Names if its Common Name is right, as old devices do.").Bool(),
		protocol:     c.Flag("protocol", "MQTT version: 5 or 3.1.1.").Default("5").Enum("5", "3.1.1"),
		keepalive:    c.Flag("keepalive", "Keepalive, in whole seconds; 0s: the default.").Default("0s").Duration(),
	}
}

// options turns the flags into options of the configuration.
func (f urlFlags) options(e environment, catalog synthetic.Catalog, flags map[string]any) config.URLOptions {
	o := fileOptions(e, catalog, flags)
	o.Username, o.PasswordFile, o.Protocol, o.Keepalive = *f.username, *f.passwordFile, *f.protocol, *f.keepalive
	o.CAFile, o.CertFile, o.KeyFile, o.ServerName, o.InsecureSkipVerify = *f.caFile, *f.certFile, *f.keyFile, *f.serverName, *f.insecure
	o.VerifyCommonName = *f.commonName
	return o
}

// fileOptions returns the options for loading a file.
func fileOptions(e environment, catalog synthetic.Catalog, flags map[string]any) config.URLOptions {
	return config.URLOptions{Env: e.env, Flags: flags, Reserved: collector.ReservedLabels(catalog.Kinds), Catalog: catalog}
}

// defaultConfigFile is read if it exists and the command line names no other source.
const defaultConfigFile = "pingreq.yaml"

// loadConfig loads the configuration from a file, or makes one for URLs. It prints warnings to
// stderr.
func loadConfig(ctx context.Context, e environment, file string, urls []string, o config.URLOptions) (*config.Config, error) {
	cfg, warnings, err := readConfig(ctx, file, urls, o)
	printWarnings(e, warnings)
	return cfg, err
}

func printWarnings(e environment, warnings config.Warnings) {
	for _, w := range warnings {
		fmt.Fprintf(e.stderr, "warning: %s\n", w.Message())
	}
}

func readConfig(ctx context.Context, file string, urls []string, o config.URLOptions) (*config.Config, config.Warnings, error) {
	if len(urls) > 0 && file != "" {
		return nil, nil, usageError{errors.New("give either URLs or --config.file, not both")}
	}
	if len(urls) > 0 {
		return config.FromURLs(ctx, urls, o)
	}
	if file = fileOrDefault(file); file == "" {
		return nil, nil, usageError{hintedError{"nothing to watch", "give the URL of a broker (pingreq serve mqtt://host:1883) or --config.file=FILE, " +
			"or create " + defaultConfigFile + " in this directory"}}
	}
	return config.Load(ctx, config.Source{Path: file, Env: o.Env, Flags: o.Flags, Reserved: o.Reserved, Catalog: o.Catalog})
}

// fileOrDefault returns the given file. If none is given, it returns the default file, or "" if
// that does not exist.
func fileOrDefault(given string) string {
	if given != "" {
		return given
	}
	if _, err := os.Stat(defaultConfigFile); err != nil {
		return ""
	}
	return defaultConfigFile
}
