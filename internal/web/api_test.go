package web

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestAPI holds the answers against the description of the API.
func TestAPI(t *testing.T) {
	committed, err := os.ReadFile("../../docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f := exampleFleet()
		h := New(f.options())
		served := do(h, "GET", "/api/openapi.json").Body.Bytes()
		if !bytes.Equal(served, committed) {
			t.Error("docs/openapi.json is not what is served: run go generate ./internal/status")
		}
		description, err := jsonschema.UnmarshalJSON(bytes.NewReader(committed))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := c.AddResource("openapi.json", description); err != nil {
			t.Fatal(err)
		}
		for path, at := range map[string]string{
			"/api/v1/status":                    "/api/v1/status 200",
			"/api/v1/targets":                   "/api/v1/targets 200",
			"/api/v1/targets?state=warning&q=z": "/api/v1/targets 200",
			"/api/v1/targets?q=nothing":         "/api/v1/targets 200",
			"/api/v1/targets?state=bad":         "/api/v1/targets 4XX",
			"/api/v1/targets/gone":              "/api/v1/targets/{name} 200",
			"/api/v1/targets/plant":             "/api/v1/targets/{name} 200",
			"/api/v1/targets/new":               "/api/v1/targets/{name} 200",
			"/api/v1/targets/zombie":            "/api/v1/targets/{name} 200",
			"/api/v1/targets/dark":              "/api/v1/targets/{name} 200",
			"/api/v1/targets/nobody":            "/api/v1/targets/{name} 4XX",
		} {
			where, code, _ := strings.Cut(at, " ")
			pointer := "openapi.json#/paths/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(where) + "/get/responses/" + code + "/content/application~1json/schema"
			schema, err := c.Compile(pointer)
			if err != nil {
				t.Fatal(err)
			}
			w := do(h, "GET", path)
			answer, err := jsonschema.UnmarshalJSON(bytes.NewReader(w.Body.Bytes()))
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			if err := schema.Validate(answer); err != nil {
				t.Errorf("%s: %v\n%s", path, err, w.Body)
			}
			if got := w.Header().Get("Content-Type"); got != "application/json" || (w.Code == 200) != (code == "200") {
				t.Errorf("%s: %d, type %s", path, w.Code, got)
			}
		}
		var status struct {
			Targets map[string]int
			Probes  map[string]int
		}
		if err := json.Unmarshal(do(h, "GET", "/api/v1/status").Body.Bytes(), &status); err != nil {
			t.Fatal(err)
		}
		if status.Targets["all"] != 7 || status.Targets["warning"] != 3 || status.Targets["down"] != 1 || status.Probes["all"] != 9 || status.Probes["failing"] != 2 || status.Probes["unknown"] != 1 {
			t.Errorf("%+v", status)
		}
	})
}
