// Command gendocs writes the parts of the documentation that are derived from declarations.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/internal/status"
	"github.com/pingreq/pingreq/synthetic/probe"
)

func main() {
	metrics := flag.String("metrics", "", "write the reference of the metrics to this file")
	reasons := flag.String("reasons", "", "write the reference of reasons, initiators and evidence to this file")
	configuration := flag.String("configuration", "", "write the schema and the reference of the configuration to this directory, and fill in the regions of its pages")
	brokers := flag.String("brokers", "", "fill in the generated regions of the pages in this directory")
	openapi := flag.String("openapi", "", "write the description of the JSON API to this file")
	diagnoses := flag.String("diagnoses", "", "write a page for each diagnosis to this directory")
	flag.Parse()
	if *diagnoses != "" {
		if err := writeDiagnoses(*diagnoses); err != nil {
			fmt.Fprintln(os.Stderr, "gendocs:", err)
			os.Exit(1)
		}
		return
	}
	if *openapi != "" {
		if err := writeOpenAPI(*openapi); err != nil {
			fmt.Fprintln(os.Stderr, "gendocs:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*metrics, *reasons, *configuration, *brokers); err != nil {
		fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}

func writeOpenAPI(file string) error {
	text, err := status.OpenAPI()
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

func run(metrics, reasons, configuration, brokers string) error {
	if metrics == "" && reasons == "" && configuration == "" && brokers == "" {
		return fmt.Errorf("nothing to write: name a file with -metrics or -reasons, or a directory with -configuration or -brokers")
	}
	if metrics != "" {
		var b bytes.Buffer
		if err := collector.WriteDocs(&b, probe.Catalog().Kinds); err != nil {
			return err
		}
		if err := os.WriteFile(metrics, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if reasons != "" {
		if err := os.WriteFile(reasons, reasonsDoc(), 0o644); err != nil {
			return err
		}
	}
	if configuration != "" {
		if err := writeConfiguration(configuration); err != nil {
			return err
		}
	}
	if brokers != "" {
		return fillPages(brokers, brokerRegion)
	}
	return nil
}
