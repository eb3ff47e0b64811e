package main

import (
	"bytes"
	"os"
	"testing"
)

func TestReasonsDocIsUpToDate(t *testing.T) {
	committed, err := os.ReadFile("../../docs/reasons.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, reasonsDoc()) {
		t.Error("docs/reasons.md is out of date: run go generate ./...")
	}
}
