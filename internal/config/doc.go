// Package config reads the configuration of pingreq: YAML with layers of environment and flags above it, checked
// strictly, and expanded into the plan of what to probe.
//
// Layers, the later ones winning: defaults, the file, environment variables (PINGREQ_AGENT__ID for agent.id), flags.
// Lists cannot be reached from the environment. Every fault is reported at once, with the place where it stands and
// what would be right; no fault, warning or print repeats a secret.
//
// The sections of the file are structs with tags: `koanf` is the key, `validate` the limits, `desc` the documentation.
// Decoding, checks, [Reference] and [Schema] all derive from them, and from the options that the kinds of probes declare.
package config
