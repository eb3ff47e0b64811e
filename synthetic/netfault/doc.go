// Package netfault makes one TCP socket of our own look to its peer like a client that vanished: no FIN, no RST, no
// DISCONNECT. Nothing else on the machine is touched.
//
// # Modes
//
// Three ways differ in which segments still pass, and in what they need.
//
//	            what we send      what the broker sends   needs
//	silent      passes            passes                  nothing: the client merely says nothing more
//	deaf        passes            dropped in our kernel   Linux; CAP_NET_ADMIN on current kernels
//	mute        dies on the way   passes                  Linux; a router between us and the broker
//
// Silent is a hung device: its TCP stack lives and acknowledges, so only the keepalive of MQTT can find it. Deaf is a
// pulled cable, made by a classic BPF filter that accepts no segment (SO_ATTACH_FILTER). Mute is a path that died in
// one direction, made by a TTL or hop limit of 1. Deaf and mute look alike to the broker: what it sends is never
// acknowledged.
//
// Below, a client with keepalive K falls and the broker gives it up after 1.5 K [MQTT-3.1.2-24]:
//
//	        fall                              1.5 K
//	silent  |---------------------------------|-- DISCONNECT, FIN  -> acknowledged, seen by us
//	deaf    |---------------------------------|-- DISCONNECT, FIN  x  sent again and again: FIN_WAIT1 at the broker
//	mute    |---------------------------------|-- DISCONNECT, FIN  -> seen by us; sent again and again all the same
//
// What the broker sends before, such as a PUBLISH, fares like its FIN. Where the broker's own TCP gives up first
// (TCP_USER_TIMEOUT, or about 15 minutes of retransmissions on Linux) it learns of the loss from there.
//
// # A run
//
// [Supported] says what this process can do. Whether a path lets a client be mute shows on the path alone: on loopback
// and on a shared link it is heard all the same.
//
// In the run, [Apply] is the fall. A deaf client writes nothing after it: its packets would still arrive. A mute client
// may write one PINGREQ, which never arrives, and let [Fault.Verify] prove from TCP_INFO that it does not. At the end
// [Fault.Held] says whether the fault was there all the time; a run without that proof says nothing about the broker.
//
// Behind a proxy or balancer that ends TCP it is the balancer for which the client vanishes: to the broker every mode
// is silent.
//
// # Closing
//
// A fault holds its socket open: when the session above reads the broker's FIN, or loses patience, its close changes
// nothing on the wire and takes no proof away. [Fault.Reset] ends the connection so that neither side keeps anything: our
// kernel sends a RST that passes the fault. An ordinary close would leave the socket in FIN_WAIT1, sending its FIN for
// minutes. For the same reason Apply makes every close abortive (SO_LINGER 0), also the kernel's own when the process is
// killed; a mute socket's RST is then lost, and the broker gets one in answer to the next thing it sends.
//
// Apply also stops the socket's TCP keepalive and TCP_USER_TIMEOUT: they would end the connection in the middle of a run,
// with a RST that no vanished client sends. [Fault.Heal] puts everything back: the connection goes on where it stopped.
package netfault
