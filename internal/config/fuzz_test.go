package config

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/pingreq/pingreq/synthetic/probe"
)

// FuzzLoad expects that Load does not panic, that every fault is inside the file, and that a
// printed configuration loads again with the same result.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"good", "bad"} {
		for _, file := range inputs(f, dir) {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Add([]byte("\r{{}}"))
	f.Add(Reference(probe.Catalog()))
	f.Add([]byte(uncommented()))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, _, err := Load(t.Context(), Source{Bytes: text, Name: "test.yaml", Env: testEnv(), Reserved: testReserved(), Catalog: probe.Catalog()})
		if err != nil {
			faults, ok := errors.AsType[Errors](err)
			if !ok || len(faults) == 0 || c != nil {
				t.Fatalf("error %T with %d faults, configuration %v", err, len(faults), c != nil)
			}
			inside(t, text, faults)
			return
		}
		var printed, again bytes.Buffer
		if err := c.Print(&printed); err != nil {
			t.Fatal(err)
		}
		c, _, err = Load(t.Context(), Source{Bytes: printed.Bytes(), Name: "test.yaml", Env: testEnv(), Reserved: testReserved(), Catalog: probe.Catalog()})
		if err != nil {
			t.Fatalf("%v\n%s", err, printed.Bytes())
		}
		if err := c.Print(&again); err != nil || !bytes.Equal(printed.Bytes(), again.Bytes()) {
			t.Fatalf("%v: printed\n%s\nand then\n%s", err, printed.Bytes(), again.Bytes())
		}
	})
}
