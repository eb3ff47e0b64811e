// Package diagnosis says what all that is known of a target means together: one state, one cause,
// one sentence.
//
// A [Board] is a sink of reports and events. It keeps a bounded number of facts of each target. The
// rules of [Rules] are pure functions over these [Facts]. Each rule knows one cause. The rule that
// explains most of what is wrong wins, and the other causes that fit are named with it. A rule never
// claims what the facts do not show. What is not known is [Unknown], and never [Healthy].
package diagnosis
