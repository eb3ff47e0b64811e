package status

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
)

//go:generate go run ../gendocs -openapi ../../docs/openapi.json

// TargetList is the answer about all targets.
type TargetList struct {
	Targets []Target `json:"targets" jsonschema_description:"The worst first, then by name."`
}

// Problem is the answer to a request that cannot be answered.
type Problem struct {
	Error string `json:"error"`
}

// OpenAPI returns the description of the API (OpenAPI 3.1). Its schemas come from the types of this package.
func OpenAPI() ([]byte, error) {
	schemas := map[string]*jsonschema.Schema{}
	r := jsonschema.Reflector{Mapper: func(t reflect.Type) *jsonschema.Schema {
		if t == reflect.TypeFor[time.Time]() {
			return &jsonschema.Schema{Type: "string", Format: "date-time"}
		}
		return nil
	}}
	for _, v := range []any{Agent{}, TargetList{}, Target{}, Problem{}, Result{}} {
		s := r.Reflect(v)
		for name, def := range s.Definitions {
			schemas[name] = def
		}
	}
	b, err := json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{"title": "pingreq", "version": "1",
			"description": "How the agent, its targets and their probes are, and how they were. Durations are in seconds, times in RFC 3339. Keys may be added."},
		"paths": map[string]any{
			"/api/v1/status":         path("How the agent is, and how many targets and probes are how.", nil, "Agent"),
			"/api/v1/targets":        path("The targets, the worst first.", filterParameters(), "TargetList"),
			"/api/v1/targets/{name}": path("A target, and its probes with their latest runs.", []any{parameter("name", "path", "name of the target")}, "Target"),
		},
		"components": map[string]any{"schemas": schemas},
	}, "", "  ")
	return append([]byte(strings.ReplaceAll(string(b), "#/$defs/", "#/components/schemas/")), '\n'), err
}

// filterParameters are the parameters that select targets.
func filterParameters() []any {
	state := parameter("state", "query", "state; warning is healthy with warnings")
	state["schema"] = map[string]any{"type": "string", "enum": States()}
	return []any{
		parameter("q", "query", "text in the name, the address, the diagnosis or a label; case does not matter"),
		state,
		parameter("kind", "query", "kind of a probe that the target has"),
		parameter("label", "query", "label=value, several with commas between them"),
	}
}

func parameter(name, in, description string) map[string]any {
	return map[string]any{"name": name, "in": in, "required": in == "path", "description": description, "schema": map[string]any{"type": "string"}}
}

// path describes a path with one method. Faults of the request are answered by a Problem.
func path(summary string, parameters []any, schema string) map[string]any {
	content := func(schema string) map[string]any {
		return map[string]any{"application/json": map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/" + schema}}}
	}
	get := map[string]any{"summary": summary, "responses": map[string]any{"200": map[string]any{"description": "the answer", "content": content(schema)}}}
	if parameters != nil {
		get["parameters"] = parameters
		get["responses"].(map[string]any)["4XX"] = map[string]any{"description": "what is wrong with the request", "content": content("Problem")}
	}
	return map[string]any{"get": get}
}
