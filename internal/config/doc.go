// Package config reads the configuration of pingreq. The configuration is a YAML file. Environment
// variables and flags override it. The package checks everything strictly and expands it into the
// plan of probes.
//
// There are four layers, and a later one overrides an earlier one: defaults, the file, environment
// variables (PINGREQ_AGENT__ID for agent.id), flags. An environment variable cannot set a key
// inside a list. The package reports every fault at once, with its place and a remedy. No fault,
// warning or print contains a secret.
//
// The sections of the file are structs with tags: `koanf` is the key, `validate` the limits, `desc`
// the documentation. Decoding, checks, [Reference] and [Schema] all use these tags, and the options
// that the kinds of probes declare.
package config
