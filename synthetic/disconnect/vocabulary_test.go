package disconnect

import (
	"regexp"
	"strings"
	"testing"
)

var word = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

// checkWords checks one vocabulary: its words are well formed and distinct, each call returns a new
// list, and each word has a sentence of its own.
func checkWords[T ~string](t *testing.T, list func() []T, valid func(T) bool, sentence func(T) string) {
	t.Helper()
	words := list()
	seen := map[string]bool{}
	for _, w := range words {
		if !word.MatchString(string(w)) || seen[string(w)] || !valid(w) {
			t.Errorf("%q: malformed, listed twice or not valid", w)
		}
		seen[string(w)] = true
		if sentence == nil {
			continue
		}
		s := sentence(w)
		if n := len(regexp.MustCompile(`[.!?]( |$)`).FindAllString(s, -1)); n < 1 || n > 2 {
			t.Errorf("%s: %d sentences, want one or two: %q", w, n, s)
		}
		if !strings.HasSuffix(s, ".") || strings.Contains(s, "  ") || strings.TrimSpace(s) != s {
			t.Errorf("%s: untidy sentence: %q", w, s)
		}
		if seen[s] {
			t.Errorf("%s: another word has the same sentence: %q", w, s)
		}
		seen[s] = true
	}
	words[0] = "changed"
	if list()[0] == "changed" {
		t.Error("two calls returned the same list")
	}
	for _, w := range []T{"", "nonsense"} {
		if valid(w) {
			t.Errorf("%q is valid", w)
		}
		if sentence != nil && sentence(w) != "" {
			t.Errorf("%q has a sentence", w)
		}
	}
}

func TestVocabulary(t *testing.T) {
	t.Run("reasons", func(t *testing.T) { checkWords(t, Reasons, Reason.Valid, Reason.Sentence) })
	t.Run("findings", func(t *testing.T) { checkWords(t, Findings, Finding.Valid, Finding.Sentence) })
	t.Run("evidences", func(t *testing.T) { checkWords(t, Evidences, Evidence.Valid, Evidence.Sentence) })
	t.Run("initiators", func(t *testing.T) { checkWords(t, Initiators, Initiator.Valid, nil) })
	t.Run("phases", func(t *testing.T) { checkWords(t, Phases, Phase.Valid, nil) })
	for table, n := range map[string][2]int{
		"reasons": {len(reasonSentences), len(reasons)}, "findings": {len(findingSentences), len(findings)},
		"evidences": {len(evidenceSentences), len(evidences)},
	} {
		if n[0] != n[1] {
			t.Errorf("%d sentences for %d %s", n[0], n[1], table)
		}
	}
	// A failure's reason is an ending's or a finding: the two must not overlap.
	for _, f := range Findings() {
		if Reason(f).Valid() {
			t.Errorf("%s is both a reason and a finding", f)
		}
	}
}

func TestEndingSentence(t *testing.T) {
	of := func(r Reason, i Initiator, e Evidence) string {
		return Ending{Reason: r, Initiator: i, Evidence: e}.Sentence()
	}
	network := of(PingrespTimeout, ByNetwork, FromDeadline)
	server := of(PingrespTimeout, ByServer, FromDeadline)
	for _, c := range []struct{ got, want string }{
		{network, "the path or the whole host is down"},
		{server, "the broker is stopped or stuck"},
		{of(PingrespTimeout, ByUnknown, FromDeadline), "does not show which side"},
		{of(PingrespTimeout, ByClient, FromDeadline), "says nothing about the server"},
		{of(Other, ByClient, FromLocal), "says nothing about the server"},
		{of(CertificateError, ByServer, FromTLSAlert), "refused the client's certificate"},
		{of(CertificateError, ByServer, FromLocal), "could not verify the server's certificate"},
		{of(PeerClosed, ByServer, FromCloseNotify), "The TLS peer itself"},
		{of(KeepaliveTimeout, ByServer, FromFIN), "FIN"},
		{of(KeepaliveTimeout, ByServer, FromEvent), "client event"},
	} {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("%q does not say %q", c.got, c.want)
		}
	}
	if s := of(ClientDisconnect, ByClient, FromDisconnectPacket); strings.Contains(s, "fault") {
		t.Errorf("an end on purpose is called a fault: %q", s)
	}
	for _, s := range []string{network, server} {
		if !strings.HasPrefix(s, PingrespTimeout.Sentence()+" ") || !strings.HasSuffix(s, ".") {
			t.Errorf("badly composed: %q", s)
		}
	}
}

func TestEndingString(t *testing.T) {
	e := Ending{Reason: KeepaliveTimeout, Initiator: ByServer, Evidence: FromFIN, Code: -1}
	if got, want := e.String(), "keepalive_timeout (server, fin)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e.Detail = "FIN 15 s after our last packet"
	if got, want := e.String(), "keepalive_timeout (server, fin): FIN 15 s after our last packet"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
