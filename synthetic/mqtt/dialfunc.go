package mqtt

import (
	"context"
	"net"
)

// DialFunc opens the raw connection like [net.Dialer.DialContext].
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)
