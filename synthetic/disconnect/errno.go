package disconnect

import (
	"errors"
	"os"
	"syscall"
)

// errnoClass groups error numbers that mean the same for a connection.
type errnoClass byte

const (
	errnoReset       errnoClass = iota + 1 // the peer's RST, or a write after it
	errnoRefused                           // nothing listens at the address
	errnoUnreachable                       // no route, or a link is down
	// TCP gave up: SYN or data was never acknowledged, or its keepalive or user timeout passed.
	errnoTimedOut
	errnoDenied  // not permitted
	errnoMissing // no such file
	errnoOwnSide // limits and settings of our own machine
)

// NoDescriptors says that this process may open no more file descriptors, and what to do.
const NoDescriptors = "no file descriptors left: raise the limit of open files (LimitNOFILE of systemd, ulimit -n of a shell)"

// errnos classifies the error numbers that package syscall has on all systems.
var errnos = map[syscall.Errno]errnoClass{
	syscall.ECONNRESET:    errnoReset,
	syscall.ECONNABORTED:  errnoReset,
	syscall.EPIPE:         errnoReset,
	syscall.ECONNREFUSED:  errnoRefused,
	syscall.EHOSTUNREACH:  errnoUnreachable,
	syscall.ENETUNREACH:   errnoUnreachable,
	syscall.ENETDOWN:      errnoUnreachable,
	syscall.EHOSTDOWN:     errnoUnreachable,
	syscall.ETIMEDOUT:     errnoTimedOut,
	syscall.EACCES:        errnoDenied,
	syscall.EPERM:         errnoDenied,
	syscall.ENOENT:        errnoMissing,
	syscall.EMFILE:        errnoOwnSide,
	syscall.ENFILE:        errnoOwnSide,
	syscall.EADDRNOTAVAIL: errnoOwnSide,
	syscall.EADDRINUSE:    errnoOwnSide,
	syscall.ENOBUFS:       errnoOwnSide,
	syscall.ENOMEM:        errnoOwnSide,
	syscall.EAFNOSUPPORT:  errnoOwnSide,
}

// errno returns the operating system's error number in err.
func errno(err error) (syscall.Errno, bool) { return errors.AsType[syscall.Errno](err) }

// fromErrno handles an error of the operating system.
func fromErrno(o *Observation) (Ending, bool) {
	number, ok := errno(o.Err)
	if !ok {
		return Ending{}, false
	}
	detail := number.Error()
	if call, ok := errors.AsType[*os.SyscallError](o.Err); ok {
		detail = call.Error()
	}
	class, ok := errnos[number]
	if !ok {
		class = winsock[number]
	}
	unix := o.Transport == "unix"
	switch class {
	case errnoReset:
		// After FIN or close_notify, a reset is only the answer to our own write.
		switch {
		case o.CloseNotify:
			return closed(o, FromCloseNotify, "close_notify, then "+detail), true
		case o.RawEOF:
			return closed(o, FromFIN, "FIN, then "+detail), true
		}
		return closed(o, FromRST, detail), true
	case errnoRefused:
		return ending(ConnectionRefused, ByServer, FromErrno, detail), true
	case errnoUnreachable:
		return ending(NetworkUnreachable, ByNetwork, FromErrno, detail), true
	case errnoTimedOut:
		if o.When.OthersAnswered && o.Phase == PhaseTCP {
			return queueFull(FromErrno, detail), true
		}
		return ending(NetworkTimeout, ByNetwork, FromErrno, detail), true
	case errnoDenied:
		if unix {
			return ending(NotAuthorized, ByServer, FromErrno, detail), true
		}
		return ending(Other, ByClient, FromLocal, detail+" (this machine's own firewall or policy)"), true
	case errnoMissing:
		if unix {
			return ending(ConnectionRefused, ByServer, FromErrno, detail), true
		}
	case errnoOwnSide:
		switch number {
		case syscall.EMFILE:
			detail = NoDescriptors
		case syscall.ENFILE:
			detail = "this machine has no file descriptors left: raise fs.file-max"
		}
		return ending(Other, ByClient, FromLocal, detail), true
	}
	return Ending{}, false
}
