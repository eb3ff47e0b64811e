package bench

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"golang.org/x/sync/errgroup"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// BenchmarkConnect measures how many times a second a client can connect and disconnect, eight at
// a time. It compares pingreq with paho.Client. Both use the same broker, in turns.
func BenchmarkConnect(b *testing.B) {
	br := startBroker(b)
	u := &url.URL{Scheme: "mqtt", Host: br.plain}
	ours := func(ctx context.Context, i int) error {
		s, err := mqtt.Dial(ctx, mqtt.Options{URL: u, ClientID: fmt.Sprintf("ours-%d", i), CleanStart: true, Keepalive: time.Minute, TCP: mqtt.TCPOptions{NoDelay: true}})
		if err == nil {
			s.Disconnect(0)
		}
		return err
	}
	theirs := func(ctx context.Context, i int) error {
		conn, err := net.Dial("tcp", br.plain)
		if err != nil {
			return err
		}
		max := uint16(16)
		c := paho.NewClient(paho.ClientConfig{Conn: conn})
		if _, err := c.Connect(ctx, &paho.Connect{ClientID: fmt.Sprintf("paho-%d", i), CleanStart: true, KeepAlive: 60,
			Properties: &paho.ConnectProperties{ReceiveMaximum: &max}}); err != nil {
			return err
		}
		if err := c.Disconnect(&paho.Disconnect{}); err != nil {
			return err
		}
		<-c.Done()
		return nil
	}
	const batch, parallel = 200, 8
	var took, pahoTook time.Duration
	run := func(f func(context.Context, int) error, n int) time.Duration {
		g, ctx := errgroup.WithContext(b.Context())
		g.SetLimit(parallel)
		start := time.Now()
		for i := range n {
			g.Go(func() error { return f(ctx, i) })
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	run(ours, 20) // warm up
	run(theirs, 20)
	n := 0
	for b.Loop() {
		took += run(ours, batch)
		pahoTook += run(theirs, batch)
		n += batch
	}
	rate, pahoRate := float64(n)/took.Seconds(), float64(n)/pahoTook.Seconds()
	b.ReportMetric(0, "ns/op") // covers two batches, so it means nothing
	b.ReportMetric(rate, "connects/s")
	b.ReportMetric(pahoRate, "paho-connects/s")
	table(b, []string{fmt.Sprintf("connect and disconnect, %d each", n), "per second"},
		[]string{"pingreq", fmt.Sprintf("%.0f", rate)}, []string{"paho.Client", fmt.Sprintf("%.0f", pahoRate)}, []string{"ratio", fmt.Sprintf("%.2f", rate/pahoRate)})
}
