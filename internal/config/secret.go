package config

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

var (
	envRef = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
	// expands matches the paths of the values in which variables are replaced.
	expands = regexp.MustCompile(`^targets\[\d+\]\.password$|^discovery\[\d+\]\.(http|template)\.password$|^modules\[\d+\]\.password$|^profiles\[\d+\]\.(proxy|websocket\.headers\..+)$`)
	envOnly = regexp.MustCompile(`^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`)
)

// expand replaces each ${NAME} in a text by the value of that environment variable, passed through
// escape.
func (l *loader) expand(path, text string, escape func(string) string) string {
	return envRef.ReplaceAllStringFunc(text, func(ref string) string {
		name := ref[2 : len(ref)-1]
		l.referenced[name] = true
		value := l.env[name]
		if value == "" {
			l.bad(path, "the environment variable %s is not set or is empty", name)
		}
		return escape(value)
	})
}

func asIs(s string) string { return s }

// password expands the variable in the password of a target.
func (l *loader) password(path, text string) mqtt.Secret {
	if text == "" || l.failed(path) {
		return ""
	}
	return mqtt.Secret(l.expand(path, text, asIs))
}

// proxyPattern matches the URL of a proxy. A password in it must be a variable.
const proxyPattern = `^(socks5h?|http)://([^:/@]*(:\$\{[A-Za-z_][A-Za-z0-9_]*\})?@)?(\[[^\]/@]+\]|[^:/@]+):[1-9][0-9]{0,4}/?$`

var (
	proxyURL      = regexp.MustCompile(proxyPattern)
	proxyPassword = regexp.MustCompile(`://[^/]*:[^/]*@`)
)

// proxy checks the URL of a proxy and expands the variable in it.
func (l *loader) proxy(path, text string) string {
	if text == "" {
		return ""
	}
	switch {
	case proxyURL.MatchString(text):
	case proxyPassword.MatchString(text):
		l.bad(path, "a password must not be written here").
			hint("write user:${NAME}@host:port with the environment variable that holds it")
		return ""
	default:
		l.badProxy(path)
		return ""
	}
	full := l.expand(path, text, func(s string) string { return strings.TrimPrefix(url.UserPassword("", s).String(), ":") })
	// The errors of url.Parse contain the URL, so they are not used.
	if u, err := url.Parse(full); err != nil || u.Hostname() == "" {
		l.badProxy(path)
	}
	return full
}

func (l *loader) badProxy(path string) {
	l.bad(path, "is not the URL of a proxy").hint("write socks5://host:port or http://host:port")
}

// credentialHeader matches the names of headers that contain secrets.
var credentialHeader = regexp.MustCompile(`(?i)^(proxy-)?authorization$|cookie|token|secret|password|credential|signature|api-?key`)

// handshakeHeader matches the headers that the websocket handshake sets itself [RFC 6455 4.1].
var handshakeHeader = regexp.MustCompile(`(?i)^(host|connection|upgrade|sec-websocket-.*)$`)
