package disconnect

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// winsock classifies the error numbers that Windows reports instead of the usual ones.
var winsock = map[syscall.Errno]errnoClass{
	windows.WSAECONNRESET:         errnoReset,
	windows.WSAECONNABORTED:       errnoReset,
	windows.WSAESHUTDOWN:          errnoReset,
	windows.ERROR_NETNAME_DELETED: errnoReset,
	windows.WSAECONNREFUSED:       errnoRefused,
	windows.WSAEHOSTUNREACH:       errnoUnreachable,
	windows.WSAENETUNREACH:        errnoUnreachable,
	windows.WSAENETDOWN:           errnoUnreachable,
	windows.WSAEHOSTDOWN:          errnoUnreachable,
	windows.WSAETIMEDOUT:          errnoTimedOut,
	windows.WSAEACCES:             errnoDenied,
	windows.ERROR_FILE_NOT_FOUND:  errnoMissing,
	windows.WSAEMFILE:             errnoOwnSide,
	windows.WSAEADDRNOTAVAIL:      errnoOwnSide,
	windows.WSAEADDRINUSE:         errnoOwnSide,
	windows.WSAENOBUFS:            errnoOwnSide,
	windows.WSAEAFNOSUPPORT:       errnoOwnSide,
}
