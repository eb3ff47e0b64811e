package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
)

// urlFlags are what the command line can say about targets that are given as URLs.
type urlFlags struct {
	username, passwordFile, caFile, certFile, keyFile, serverName, protocol *string
	insecure                                                                *bool
	keepalive                                                               *time.Duration
}

// addURLFlags adds them to a command.
func addURLFlags(c *kingpin.CmdClause) urlFlags {
	return urlFlags{
		username:     c.Flag("username", "User name, for targets given as URLs.").String(),
		passwordFile: c.Flag("password-file", "File that holds the password.").PlaceHolder("FILE").String(),
		caFile:       c.Flag("ca-file", "PEM file of the authorities to trust; default: the system's.").PlaceHolder("FILE").String(),
		certFile:     c.Flag("cert-file", "PEM file of our client certificate.").PlaceHolder("FILE").String(),
		keyFile:      c.Flag("key-file", "PEM file of its key.").PlaceHolder("FILE").String(),
		serverName:   c.Flag("server-name", "Name to verify and to send as SNI; default: the URL's host.").String(),
		insecure:     c.Flag("insecure-skip-verify", "Do not verify the broker's certificate.").Bool(),
		protocol:     c.Flag("protocol", "MQTT version: 5 or 3.1.1.").Default("5").Enum("5", "3.1.1"),
		keepalive:    c.Flag("keepalive", "Keepalive, whole seconds; 0s = the default.").Default("0s").Duration(),
	}
}

// options turns the flags into what the configuration takes.
func (f urlFlags) options(e environment, catalog synthetic.Catalog, flags map[string]any) config.URLOptions {
	return config.URLOptions{Username: *f.username, PasswordFile: *f.passwordFile, CAFile: *f.caFile, CertFile: *f.certFile,
		KeyFile: *f.keyFile, ServerName: *f.serverName, InsecureSkipVerify: *f.insecure, Protocol: *f.protocol,
		Keepalive: *f.keepalive, Env: e.env, Flags: flags, Reserved: collector.ReservedLabels(catalog.Kinds), Catalog: catalog}
}

// fileOptions is what loading a file takes beside its name.
func fileOptions(e environment, catalog synthetic.Catalog, flags map[string]any) config.URLOptions {
	return config.URLOptions{Env: e.env, Flags: flags, Reserved: collector.ReservedLabels(catalog.Kinds), Catalog: catalog}
}

// defaultConfigFile is read when it exists and nothing else is given.
const defaultConfigFile = "pingreq.yaml"

// loadConfig loads the configuration from a file, or makes one for URLs. Warnings go to stderr.
func loadConfig(e environment, file string, urls []string, o config.URLOptions) (*config.Config, error) {
	cfg, warnings, err := readConfig(file, urls, o)
	for _, w := range warnings {
		fmt.Fprintf(e.stderr, "warning: %s\n", w)
	}
	return cfg, err
}

func readConfig(file string, urls []string, o config.URLOptions) (*config.Config, config.Warnings, error) {
	if len(urls) > 0 && file != "" {
		return nil, nil, usageError{errors.New("give either URLs or --config.file, not both")}
	}
	if len(urls) > 0 {
		return config.FromURLs(urls, o)
	}
	if file == "" {
		if file = fileOrDefault(""); file == "" {
			return nil, nil, usageError{fmt.Errorf("nothing to watch: give the URL of a broker (pingreq serve mqtt://host:1883), or --config.file=FILE, or put a %s here", defaultConfigFile)}
		}
	}
	return config.Load(config.Source{Path: file, Env: o.Env, Flags: o.Flags, Reserved: o.Reserved, Catalog: o.Catalog})
}

// fileOrDefault gives the file to read, which is the default one if none is given and it exists; "" if not.
func fileOrDefault(given string) string {
	if given != "" {
		return given
	}
	if _, err := os.Stat(defaultConfigFile); err != nil {
		return ""
	}
	return defaultConfigFile
}
