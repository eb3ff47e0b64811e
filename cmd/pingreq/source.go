package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
)

// urlHelp explains the argument of a command that takes URLs.
const urlHelp = "Broker: mqtt://host:1883, mqtts://host:8883, ws://host/mqtt, wss://host/mqtt or unix:///path. tcp:// means mqtt://, and ssl:// means mqtts://."

// urlFlags are the flags for targets that are given as URLs.
type urlFlags struct {
	username, passwordFile, caFile, certFile, keyFile, serverName, protocol, tlsMin, tlsMax *string
	insecure, commonName                                                                    *bool
	alpn                                                                                    *[]string
	keepalive                                                                               *time.Duration

	given map[string]*bool // by name, whether the flag is on the command line
}

// addURLFlags adds the flags to a command. keepalive is its default.
func addURLFlags(c *kingpin.CmdClause, keepalive time.Duration) urlFlags {
	given := map[string]*bool{}
	flag := func(name, help string) *kingpin.FlagClause {
		given[name] = new(bool)
		return c.Flag(name, help).IsSetByUser(given[name])
	}
	versions := []string{"1.0", "1.1", "1.2", "1.3"}
	return urlFlags{
		given:        given,
		username:     flag("username", "User name, for targets given as URLs.").String(),
		passwordFile: flag("password-file", "File that holds the password.").PlaceHolder("FILE").String(),
		caFile:       flag("ca-file", "PEM file with the certificates to trust. Default: those of the system.").PlaceHolder("FILE").String(),
		certFile:     flag("cert-file", "PEM file with the client certificate.").PlaceHolder("FILE").String(),
		keyFile:      flag("key-file", "PEM file with the key of the client certificate.").PlaceHolder("FILE").String(),
		serverName:   flag("server-name", "Name to verify and to send as SNI. Default: the host of the URL.").PlaceHolder("NAME").String(),
		insecure:     flag("insecure-skip-verify", "Do not verify the broker's certificate.").Bool(),
		commonName:   flag("verify-common-name", "Accept a certificate without Subject Alternative Names if its Common Name is right, as old devices do.").Bool(),
		tlsMin:       flag("tls-min-version", "Oldest TLS version to offer: 1.0, 1.1, 1.2 or 1.3. Default: 1.2, or --tls-max-version if that is older.").PlaceHolder("VERSION").HintOptions(versions...).Enum(versions...),
		tlsMax:       flag("tls-max-version", "Newest TLS version to offer. Default: 1.3.").PlaceHolder("VERSION").HintOptions(versions...).Enum(versions...),
		alpn:         flag("alpn", "Protocol to offer by ALPN, such as mqtt, or x-amzn-mqtt-ca for port 443 of AWS IoT Core. Repeat the flag for more. Default: none.").PlaceHolder("NAME").Strings(),
		protocol:     flag("protocol", "MQTT version: 5 or 3.1.1.").Default("5").Enum("5", "3.1.1"),
		keepalive:    flag("keepalive", "Keepalive, in whole seconds. 0s: none.").Default(keepalive.String()).Duration(),
	}
}

// options turns the flags into options of the configuration.
func (f urlFlags) options(e environment, catalog synthetic.Catalog, flags map[string]any) config.URLOptions {
	o := fileOptions(e, catalog, flags)
	o.Username, o.PasswordFile, o.Protocol, o.Keepalive = *f.username, *f.passwordFile, *f.protocol, f.keepalive
	o.CAFile, o.CertFile, o.KeyFile, o.ServerName, o.InsecureSkipVerify = *f.caFile, *f.certFile, *f.keyFile, *f.serverName, *f.insecure
	o.VerifyCommonName, o.TLSMinVersion, o.TLSMaxVersion, o.ALPN = *f.commonName, *f.tlsMin, *f.tlsMax, *f.alpn
	return o
}

// unused returns an error if one of the flags is given and no URL is.
func (f urlFlags) unused(urls []string) error {
	for _, name := range slices.Sorted(maps.Keys(f.given)) {
		if *f.given[name] && len(urls) == 0 {
			return usageError{hintedError{"--" + name + " has no effect without a URL", "give the URL of a broker, or set this in the configuration file"}}
		}
	}
	return nil
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
