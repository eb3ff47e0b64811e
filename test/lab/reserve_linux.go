package lab

import "net"

// reserve reserves a name for this process among all processes of the machine. The name is an
// abstract unix socket: the kernel frees it with the process, so nothing can be left behind.
func reserve(name string) (release func(), ok bool) {
	l, err := net.Listen("unix", "@pingreq-lab/"+name)
	if err != nil {
		return nil, false
	}
	return func() { l.Close() }, true
}
