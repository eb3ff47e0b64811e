package status

import (
	"regexp"
	"strings"

	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/synthetic"
)

// command returns the shell command that repeats a run by hand. Without a configuration file the target was
// given by its URL.
func command(t *synthetic.Target, p *history.Probe, file string) string {
	if file != "" {
		return "pingreq probe --config.file=" + quote(file) + " --only=" + quote(p.Identity.String())
	}
	args := []string{"pingreq", "probe", "--kind=" + p.Kind}
	for _, flag := range []struct{ name, value string }{{"username", t.Username}, {"password-file", t.PasswordFile}, {"ca-file", t.TLS.CAFile},
		{"cert-file", t.TLS.CertFile}, {"key-file", t.TLS.KeyFile}, {"server-name", t.TLS.ServerName}} {
		if flag.value != "" {
			args = append(args, "--"+flag.name+"="+quote(flag.value))
		}
	}
	if t.TLS.InsecureSkipVerify {
		args = append(args, "--insecure-skip-verify")
	}
	return strings.Join(append(args, quote(address(t))), " ")
}

// plain matches words that a shell takes as they are.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quote makes one word of a text for a shell.
func quote(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
