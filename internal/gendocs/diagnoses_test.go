package main

import (
	"os"
	"testing"
)

// TestDiagnosesDoc expects a page for each cause, and no other page, so that no printed address leads
// nowhere.
func TestDiagnosesDoc(t *testing.T) {
	dir := root + "/docs/diagnoses"
	pages := diagnosisPages()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if pages[f.Name()] == nil {
			t.Errorf("%s is no page of a cause", f.Name())
		}
	}
	for name, page := range pages {
		if read(t, dir+"/"+name) != string(page) {
			t.Errorf("%s is out of date: run go generate ./...", name)
		}
	}
}
