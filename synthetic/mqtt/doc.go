// Package mqtt runs one MQTT session over one connection and controls every packet of it.
//
// [Dial] connects in phases, measures each phase, and returns a [Session]. One goroutine owns the
// session and drives it with [Session.Next]. Next waits in Read until data arrives, a PINGREQ is
// due, an answer is overdue, or the time that the owner asked for has come. A session needs no
// timer and no channel. An [End] keeps everything that is known about how a connection ended.
//
// A small interface over the packet codecs of Eclipse Paho serves both MQTT 5 and 3.1.1. The
// session loop, the framing and the time stamps are our own, because ready-made clients hide what
// is measured here. [Link] is a connection that reconnects by itself.
package mqtt
