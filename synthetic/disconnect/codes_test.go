package disconnect

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var packetTypes = []PacketType{Connack, Puback, Pubrec, Pubrel, Pubcomp, Suback, Unsuback, Disconnect, Auth}

type codeRow struct {
	version byte
	code    byte
	reason  Reason // "-" if the code ends nothing
	packets []PacketType
	name    string
}

func readCodes(t *testing.T) []codeRow {
	t.Helper()
	data, err := os.ReadFile("testdata/codes.txt")
	if err != nil {
		t.Fatal(err)
	}
	var rows []codeRow
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		version, err := strconv.ParseUint(f[0], 10, 8)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		code, err := strconv.ParseUint(f[1], 0, 8)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		row := codeRow{byte(version), byte(code), Reason(f[2]), nil, strings.Join(f[4:], " ")}
		for name := range strings.SplitSeq(f[3], ",") {
			i := slices.IndexFunc(packetTypes, func(p PacketType) bool { return p.String() == name })
			if i < 0 {
				t.Fatalf("%q: no packet %s", line, name)
			}
			row.packets = append(row.packets, packetTypes[i])
		}
		rows = append(rows, row)
	}
	return rows
}

// packetEvidence is the evidence that each packet counts as.
var packetEvidence = map[PacketType]Evidence{
	Connack: FromConnack, Disconnect: FromDisconnectPacket, Suback: FromSuback, Unsuback: FromSuback,
	Puback: FromPuback, Pubrec: FromPuback, Pubrel: FromPuback, Pubcomp: FromPuback,
}

// TestCodes checks every code of both standards in every packet that may carry it.
func TestCodes(t *testing.T) {
	seen := map[byte]bool{}
	for _, row := range readCodes(t) {
		if row.version == 5 && row.code >= 0x80 {
			seen[row.code] = true
		}
		for _, p := range row.packets {
			t.Run(fmt.Sprintf("v%d %s %#02x", row.version, p, row.code), func(t *testing.T) {
				if got := CodeName(row.version, p, row.code); got != row.name {
					t.Errorf("name %q, want %q", got, row.name)
				}
				e := Classify(Observation{Phase: PhaseEstablished, Version: row.version, Packet: p, Code: row.code})
				if row.reason == "-" {
					if e.Evidence != FromLocal || e.Code != -1 {
						t.Errorf("a code that ends nothing counts as evidence: %s", e)
					}
					return
				}
				want := Ending{Reason: row.reason, Initiator: ByServer, Evidence: packetEvidence[p], Phase: PhaseEstablished, Code: int(row.code),
					Detail: fmt.Sprintf("%s 0x%02X %s", p, row.code, row.name)}
				if e != want {
					t.Errorf("got  %#v\nwant %#v", e, want)
				}
			})
		}
	}
	for _, code := range slices.Sorted(maps.Keys(failures)) {
		if !seen[code] {
			t.Errorf("%#02x is not in testdata/codes.txt", code)
		}
	}
}

// TestUndefinedCodes checks all codes that neither standard defines.
func TestUndefinedCodes(t *testing.T) {
	defined := map[string]bool{}
	for _, row := range readCodes(t) {
		for _, p := range row.packets {
			defined[fmt.Sprint(row.version, p, row.code)] = true
			if row.code >= 0x80 { // name and meaning are the same in every packet
				for _, p := range packetTypes {
					defined[fmt.Sprint(4, p, row.code)], defined[fmt.Sprint(5, p, row.code)] = true, true
				}
			} else if p == Connack || p == Disconnect {
				// The ranges do not overlap, so the meaning is the same in both versions.
				defined[fmt.Sprint(4, p, row.code)], defined[fmt.Sprint(5, p, row.code)] = true, true
			}
			if row.version == 5 && p != Suback {
				defined[fmt.Sprint(4, p, row.code)] = true
			}
		}
	}
	for _, version := range []byte{4, 5} {
		for _, p := range append([]PacketType{0, 3}, packetTypes...) {
			for n := range 256 {
				code := byte(n)
				if defined[fmt.Sprint(version, p, code)] || code >= 0x80 && failures[code].name != "" || p == 3 && code == 0 {
					continue
				}
				if got, want := CodeName(version, p, code), fmt.Sprintf("reason code 0x%02X", code); got != want {
					t.Errorf("v%d %s: %q, want %q", version, p, got, want)
				}
				e := Classify(Observation{Version: version, Packet: p, Code: code})
				switch evidence := packetEvidence[p]; {
				case evidence == "" || p != Connack && p != Disconnect && code < 0x80:
					if e.Code != -1 {
						t.Errorf("v%d %s %#02x ends nothing, but: %s", version, p, code, e)
					}
				case e.Evidence != evidence || e.Code != n || e.Initiator != ByServer:
					t.Errorf("v%d %s %#02x: %s", version, p, code, e)
				case p == Disconnect && code < 0x80:
					if e.Reason != PeerClosed {
						t.Errorf("v%d %s %#02x: %s", version, p, code, e)
					}
				case p == Connack && strayReturnCodes[code].name != "":
					// These are rows of the table in classify_test.go.
				case e.Reason != Other:
					t.Errorf("v%d %s %#02x: %s", version, p, code, e)
				}
			}
		}
	}
}
