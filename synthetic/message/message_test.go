package message

import (
	"bytes"
	"testing"
)

func TestPayloadIgnoresForeignMessages(t *testing.T) {
	a, b := NewPayload(), NewPayload()
	for _, tc := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"ours", a.Make(7, 100), true},
		{"of another run", b.Make(7, 100), false},
		{"empty", nil, false},
		{"random", bytes.Repeat([]byte{0xff}, 200), false},
		{"no number", []byte("pingreq x "), false},
		{"no code", []byte("pingreq 7 "), false},
		{"negative", bytes.Replace(a.Make(7, 0), []byte(" 7 "), []byte(" -7 "), 1), false},
		{"the code of another message", bytes.Replace(a.Make(7, 0), []byte(" 7 "), []byte(" 8 "), 1), false},
		{"another way to write the number", bytes.Replace(a.Make(7, 0), []byte(" 7 "), []byte(" 07 "), 1), false},
		{"cut off", a.Make(7, 0)[:20], false},
	} {
		seq, ok := a.Seq(tc.body)
		if ok != tc.ok || ok && seq != 7 {
			t.Errorf("%s: %d %v", tc.name, seq, ok)
		}
	}
	if n := len(a.Make(1, 500)); n != 500 {
		t.Errorf("%d bytes, want 500", n)
	}
}
