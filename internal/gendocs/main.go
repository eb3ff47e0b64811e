// Command gendocs writes the parts of the documentation that derive from declarations.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/synthetic"
)

func main() {
	metrics := flag.String("metrics", "", "write the reference of the metrics to this file")
	flag.Parse()
	if err := run(*metrics); err != nil {
		fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}

func run(metrics string) error {
	if metrics == "" {
		return fmt.Errorf("nothing to write: name a file with -metrics")
	}
	var b bytes.Buffer
	if err := collector.WriteDocs(&b, synthetic.Kinds()); err != nil {
		return err
	}
	return os.WriteFile(metrics, b.Bytes(), 0o644)
}
