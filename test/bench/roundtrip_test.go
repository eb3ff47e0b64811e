package bench

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// BenchmarkPing measures the round trip of a PINGREQ with the timestamps of the engine. It compares
// the engine with a bare loop that writes and reads the same bytes, without engine and deadlines.
// Both use the same broker, in turns.
func BenchmarkPing(b *testing.B) {
	ours, bare := connectBoth(b)
	pingreq, pingresp := []byte{0xc0, 0}, make([]byte, 2)
	measure(b, "PING", func() (time.Duration, error) {
		if err := ours.Ping(); err != nil {
			return 0, err
		}
		e, err := ours.Next(time.Now().Add(30 * time.Second))
		if err == nil && e.Kind != mqtt.Pong {
			err = fmt.Errorf("got %+v, want a Pong", e)
		}
		return e.RTT, err
	}, func() (time.Duration, error) {
		start := time.Now()
		if _, err := bare.Write(pingreq); err != nil {
			return 0, err
		}
		_, err := io.ReadFull(bare, pingresp)
		return time.Since(start), err
	})
}

// BenchmarkEcho measures the time from writing a QoS 0 message to receiving it on the same
// connection. Its payload has 64 bytes. It compares the engine with the bare loop.
func BenchmarkEcho(b *testing.B) {
	ours, bare := connectBoth(b)
	if _, err := ours.Subscribe(mqtt.Filter{Topic: "bench/ours"}); err != nil {
		b.Fatal(err)
	}
	if e, err := ours.Next(time.Now().Add(30 * time.Second)); err != nil || e.Kind != mqtt.Suback {
		b.Fatal(e, err)
	}
	const topic = "bench/bare"
	subscribe := []byte{0x82, byte(2 + 1 + 2 + len(topic) + 1), 0, 1, 0, 0, byte(len(topic))}
	subscribe = append(append(subscribe, topic...), 0)
	if _, err := bare.Write(subscribe); err != nil {
		b.Fatal(err)
	}
	if _, err := readPacket(bare); err != nil {
		b.Fatal(err)
	}
	payload := bytes.Repeat([]byte("x"), 64)
	publish := binary.BigEndian.AppendUint16([]byte{0x30, byte(2 + len(topic) + 1 + len(payload))}, uint16(len(topic)))
	publish = append(append(append(publish, topic...), 0), payload...)
	echo := make([]byte, len(publish))
	measure(b, "QoS 0 echo", func() (time.Duration, error) {
		_, start, err := ours.Publish(mqtt.Message{Topic: "bench/ours", Payload: payload})
		if err != nil {
			return 0, err
		}
		e, err := ours.Next(time.Now().Add(30 * time.Second))
		if err == nil && e.Kind != mqtt.Delivery {
			err = fmt.Errorf("got %+v, want a Delivery", e)
		}
		return e.At.Sub(start), err
	}, func() (time.Duration, error) {
		start := time.Now()
		if _, err := bare.Write(publish); err != nil {
			return 0, err
		}
		_, err := io.ReadFull(bare, echo)
		return time.Since(start), err
	})
}

// connectBoth connects a pingreq session and a bare connection to the same broker.
func connectBoth(b *testing.B) (*mqtt.Session, net.Conn) {
	b.Helper()
	br := startBroker(b)
	s, err := mqtt.Dial(b.Context(), mqtt.Options{URL: &url.URL{Scheme: "mqtt", Host: br.plain}, ClientID: "ours", CleanStart: true, Keepalive: time.Minute,
		TCP: mqtt.TCPOptions{NoDelay: true}})
	if err != nil {
		b.Fatal(err)
	}
	bare, err := net.Dial("tcp", br.plain)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		s.Disconnect(0)
		bare.Close()
	})
	if _, err := bare.Write([]byte("\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x04bare")); err != nil {
		b.Fatal(err)
	}
	if _, err := readPacket(bare); err != nil {
		b.Fatal(err)
	}
	return s, bare
}

// readPacket reads one packet. It reads byte by byte, so that it reads nothing of the next packet.
func readPacket(r io.Reader) ([]byte, error) {
	br := bufio.NewReaderSize(oneByte{r}, 16)
	if _, err := br.ReadByte(); err != nil {
		return nil, err
	}
	n, err := binary.ReadUvarint(br)
	if err != nil {
		return nil, err
	}
	body := make([]byte, n)
	_, err = io.ReadFull(br, body)
	return body, err
}

type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:min(1, len(p))]) }

// measure runs batches of the engine (ours) and of the bare loop (bare) in turns, and compares
// their results.
func measure(b *testing.B, what string, ours, bare func() (time.Duration, error)) {
	b.Helper()
	const batch = 50
	var a, z []time.Duration
	run := func(f func() (time.Duration, error), out *[]time.Duration, n int) {
		for range n {
			d, err := f()
			if err != nil {
				b.Fatal(err)
			}
			if out != nil {
				*out = append(*out, d)
			}
		}
	}
	run(ours, nil, 500) // warm up
	run(bare, nil, 500)
	for b.Loop() {
		run(ours, &a, batch)
		run(bare, &z, batch)
	}
	b.ReportMetric(0, "ns/op") // covers two batches, so it means nothing
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	quantile := func(d []time.Duration, q float64) float64 { return us(d[int(q*float64(len(d)-1))]) }
	slices.Sort(a)
	slices.Sort(z)
	p50, p99, bare50, bare99 := quantile(a, .5), quantile(a, .99), quantile(z, .5), quantile(z, .99)
	b.ReportMetric(p50, "p50-µs")
	b.ReportMetric(p99, "p99-µs")
	b.ReportMetric(bare50, "bare-p50-µs")
	b.ReportMetric(bare99, "bare-p99-µs")
	cells := func(name string, format string, x, y float64) []string {
		return []string{name, fmt.Sprintf(format, x), fmt.Sprintf(format, y)}
	}
	table(b, []string{fmt.Sprintf("%s round trip, %d each", what, len(a)), "p50 µs", "p99 µs"},
		cells("pingreq", "%.1f", p50, p99), cells("bare socket loop", "%.1f", bare50, bare99),
		cells("ratio", "%.2f", p50/bare50, p99/bare99), cells("difference", "%+.1f", p50-bare50, p99-bare99), cells("goal", "≤ +%.0f", 5, 50))
}
