package sys

import "strings"

// Topic returns a topic of Rows or Marks in full. Prefix comes before topics that do not begin with
// `$SYS`.
func (d Dialect) Topic(topic string) string {
	if strings.HasPrefix(topic, "$SYS") {
		return topic
	}
	return d.Prefix + topic
}
