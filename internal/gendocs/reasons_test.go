package main

import "testing"

func TestReasonsDocIsUpToDate(t *testing.T) {
	if read(t, root+"/docs/reasons.md") != string(reasonsDoc()) {
		t.Error("docs/reasons.md is out of date: run go generate ./...")
	}
}
