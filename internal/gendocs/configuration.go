package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pingreq/pingreq/alerts"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic/probe"
)

//go:generate go run . -configuration ../../docs

// writeConfiguration writes the schemas and the references of the configurations of the agent, and of
// rules and dashboards, to a directory, and fills in the regions of its pages.
func writeConfiguration(dir string) error {
	catalog := probe.Catalog()
	schema, err := config.Schema(catalog)
	if err != nil {
		return err
	}
	reference := config.Reference(catalog)
	all, err := alerts.Defaults()
	if err != nil {
		return err
	}
	monitoringSchema, err := config.MonitoringSchema(all)
	if err != nil {
		return err
	}
	monitoringReference := config.MonitoringReference(all)
	for name, content := range map[string][]byte{
		"config.schema.json": schema, "reference.yaml": reference,
		"monitoring.schema.json": monitoringSchema, "monitoring.yaml": monitoringReference,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return fillPages(dir, func(name string) (string, error) {
		switch name {
		case "reference":
			return codeBlock("yaml", reference), nil
		case "monitoring reference":
			return codeBlock("yaml", monitoringReference), nil
		case "overview":
			return fileBlock("yaml", filepath.Join(dir, "../internal/config/testdata/good/overview.yaml"))
		case "example":
			return fileBlock("go", filepath.Join(dir, "../synthetic/internal/rtt/rtt.go"))
		}
		return "", fmt.Errorf("no region is called %s", name)
	})
}

// fileBlock returns a file as a block of Markdown.
func fileBlock(language, path string) (string, error) {
	content, err := os.ReadFile(path)
	return codeBlock(language, content), err
}

// codeBlock returns a text as a block of Markdown.
func codeBlock(language string, text []byte) string {
	return fmt.Sprintf("```%s\n%s```", language, text)
}
