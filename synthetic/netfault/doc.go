// Package netfault makes one TCP socket of our own look to its peer like a client that vanished: no
// FIN, no RST, no DISCONNECT. It changes nothing else on the machine.
//
// # Modes
//
// The three modes differ in which segments still pass, and in what they need.
//
//	          what we send      what the broker sends   needs
//	silent    passes            passes                  nothing: the client sends nothing more
//	deaf      passes            dropped in our kernel   Linux; CAP_NET_ADMIN on current kernels
//	mute      dies on the way   passes                  Linux; a router between us and the broker
//
// Silent is a device that hangs. Its TCP stack still acknowledges, so only the keepalive of MQTT
// can detect it. Deaf is an unplugged cable. A classic BPF filter that accepts no segment
// (SO_ATTACH_FILTER) makes a socket deaf. Mute is a path that died in one direction. A TTL or hop
// limit of 1 makes a socket mute. Deaf and mute look the same to the broker: what it sends is never
// acknowledged.
//
// Here, a client with keepalive K vanishes at "fall", and the broker gives it up after 1.5 K
// [MQTT3-3.1.2-24, MQTT5-3.1.2-22]:
//
//	        fall                              1.5 K
//	silent  |---------------------------------|-- DISCONNECT, FIN  -> acknowledged, seen by us
//	deaf    |---------------------------------|-- DISCONNECT, FIN  x  retransmitted: FIN_WAIT1
//	mute    |---------------------------------|-- DISCONNECT, FIN  -> seen by us, retransmitted
//
// FIN_WAIT1 is the state of the broker's socket. The same happens to everything that the broker
// sends between the fall and 1.5 K, such as a PUBLISH. If the broker's own TCP gives up first
// (TCP_USER_TIMEOUT, or about 15 minutes of retransmissions on Linux), the broker learns of the
// loss from its TCP.
//
// # A run
//
// [Supported] says what this process can do. Whether a client can be mute also depends on the path:
// on loopback and on a shared link, everything that it sends still arrives.
//
// In a run, [Apply] makes the client vanish. After it, a deaf client must write nothing, because
// its packets would still arrive. A mute client may write one PINGREQ, which never arrives.
// [Fault.Verify] proves from TCP_INFO that it does not arrive. At the end, [Fault.Held] says
// whether the fault was in effect all the time. A run without that proof says nothing about the
// broker.
//
// Behind a proxy or balancer that ends TCP, the client vanishes only for the balancer: to the
// broker every mode is silent.
//
// # Closing
//
// A fault holds its socket open. When the session above reads the broker's FIN or gives up waiting,
// its close changes nothing on the wire and destroys no proof. [Fault.Reset] ends the connection so
// that neither side keeps anything: our kernel sends a RST that passes the fault. An ordinary close
// would leave the socket in FIN_WAIT1, where it sends its FIN for minutes. For the same reason
// Apply makes every close abortive (SO_LINGER 0). This also applies to the kernel's own close when
// the process is killed. The RST of a mute socket is then lost, and the broker gets one in answer
// to the next thing that it sends.
//
// Apply also turns off the socket's TCP keepalive and TCP_USER_TIMEOUT. They would end the
// connection in the middle of a run, with a RST that no vanished client sends. [Fault.Heal]
// restores everything, and the connection continues where it stopped.
package netfault
