package mqtt

import (
	"context"
	"net"
)

// DialFunc opens the raw connection, as [net.Dialer.DialContext] does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)
