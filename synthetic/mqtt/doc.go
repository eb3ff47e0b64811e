// Package mqtt is one MQTT session over one connection, with every packet under control.
//
// [Dial] connects in phases, each of them timed, and gives a [Session]. Its owner, one goroutine, drives it: [Session.Next]
// sits in Read until something arrives, until a PINGREQ has to leave or an answer is overdue, or until the moment
// that the owner asked for. There is no timer and no channel for each session. How a connection ended is kept whole in an [End].
//
// MQTT 5 and 3.1.1 are spoken through one small interface over the packet codecs of Eclipse Paho; the session
// loop, the framing and the stamps are our own, because ready-made clients hide what is measured here.
// [Link] is a connection that comes back by itself.
package mqtt
