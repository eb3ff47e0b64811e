package web

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/internal/status"
)

// apiHandlers adds the JSON API.
func apiHandlers(mux *http.ServeMux, o Options, shared *pages) {
	v := o.View
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, r *http.Request) {
		shared.serve(w, r, "status", func(w http.ResponseWriter) {
			now := time.Now()
			writeJSON(w, http.StatusOK, v.Agent(v.Targets(now), now))
		})
	})
	mux.HandleFunc("GET /api/v1/targets", func(w http.ResponseWriter, r *http.Request) {
		f, _, err := readFilter(r)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, status.Problem{Error: err.Error()})
			return
		}
		shared.serve(w, r, "targets?"+r.URL.Query().Encode(), func(w http.ResponseWriter) {
			writeJSON(w, http.StatusOK, status.TargetList{Targets: status.Select(v.Targets(time.Now()), f)})
		})
	})
	mux.HandleFunc("GET /api/v1/targets/{name}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		shared.serve(w, r, "target/"+name, func(w http.ResponseWriter) {
			t, ok := v.Target(name, time.Now())
			if !ok {
				writeJSON(w, http.StatusNotFound, status.Problem{Error: noTarget(name)})
				return
			}
			writeJSON(w, http.StatusOK, t)
		})
	})
	mux.HandleFunc("GET /api/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		shared.serve(w, r, "openapi", func(w http.ResponseWriter) {
			text, err := status.OpenAPI()
			if err != nil {
				writeJSON(w, http.StatusInternalServerError, status.Problem{Error: err.Error()})
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(text) // it is recorded, so it cannot fail
		})
	})
}

// noTarget says that a target does not exist.
func noTarget(name string) string { return "there is no target named " + history.Printable(name) }

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the reader may have disconnected
}
