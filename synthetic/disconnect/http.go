package disconnect

import (
	"fmt"
	"net/http"
)

// fromHTTP handles the answer to a websocket upgrade or to a proxy's CONNECT, unless it is the
// expected one.
func fromHTTP(o *Observation) (Ending, bool) {
	status, proxy := o.HTTPStatus, o.Phase == PhaseProxy
	switch {
	case status == 0,
		!proxy && o.Phase != PhaseWebsocket, // from an earlier phase, which succeeded
		status == http.StatusSwitchingProtocols && !proxy,
		status >= 200 && status < 300 && proxy:
		return Ending{}, false
	}
	detail := fmt.Sprintf("HTTP %d", status)
	if text := http.StatusText(status); text != "" {
		detail += " " + text
	}
	if proxy {
		detail += " from the proxy"
	}
	e := ending(WebsocketError, ByServer, FromHTTPStatus, detail)
	switch {
	case status >= 300 && status < 400:
		e.Reason = Redirected
	case status == http.StatusUnauthorized:
		e.Reason = AuthenticationFailed
	case status == http.StatusProxyAuthRequired && proxy:
		e.Reason = AuthenticationFailed
	case status == http.StatusForbidden:
		e.Reason = NotAuthorized
	case status == http.StatusTooManyRequests:
		e.Reason = RateOrQuota
	case status == http.StatusServiceUnavailable:
		e.Reason = ServerBusy
	case status == http.StatusGatewayTimeout && proxy:
		e.Reason, e.Initiator = NetworkTimeout, ByNetwork
	case proxy:
		e.Reason = ConnectionRefused
	}
	return e, true
}
