// Package scrape knows what Prometheus adds to what it scrapes.
package scrape

// PodLabels returns the labels that the Prometheus operator and common scrape configurations for pods
// add, besides job and instance. They change when an agent moves to another pod.
func PodLabels() []string {
	return []string{"namespace", "pod", "service", "container", "endpoint"}
}
