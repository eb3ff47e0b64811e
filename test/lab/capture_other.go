//go:build !linux

package lab

func (c *Capture) open(CaptureOptions) {
	c.t.Helper()
	unavailable(c.t, "packet captures exist on Linux only")
}
