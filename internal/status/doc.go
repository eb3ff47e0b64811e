// Package status says how the agent, its targets and their probes are, and how they were: what the web
// pages show and what the JSON API answers. Both come from the same values, so they cannot differ.
//
// The fields of the exported types are the keys of the API. Durations are in seconds and times are in
// RFC 3339. docs/openapi.json describes them.
package status
