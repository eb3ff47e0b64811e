package sys

import "strings"

// Topic gives a topic of Rows or Marks in full: Prefix stands before those that do not begin with `$SYS`.
func (d Dialect) Topic(topic string) string {
	if strings.HasPrefix(topic, "$SYS") {
		return topic
	}
	return d.Prefix + topic
}
