package mqtt

import "io"

// The sizes of the framer's buffer: small while a session idles, and given back after a large packet.
const (
	frameBufMin  = 128
	frameBufKeep = 4096
)

// framer cuts a byte stream into control packets. It keeps what it has across a read that timed out.
//
// A packet that a server never sends is refused at its first byte, one that is larger than the limit when its length is
// known, before anything is allocated for it. The buffer of a permitted one grows with the bytes that really came: an
// announced length alone costs nothing.
type framer struct {
	limit uint32 // largest packet, header included
	buf   []byte
	r, w  int   // unread bytes are buf[r:w]
	need  int   // bytes that are missing at least, as parse found
	total int64 // bytes read
	full  bool  // the last read filled the buffer: there is likely more
}

// next gives the next packet: its first byte and its body, which is valid until the next call. It reads from src only
// when no whole packet is buffered. Errors are those of src as they are, or malformed.
func (f *framer) next(src io.Reader) (header byte, body []byte, err error) {
	for {
		header, body, ok, err := f.parse()
		if err != nil || ok {
			return header, body, err
		}
		if err := f.fill(src); err != nil {
			return 0, nil, err
		}
	}
}

// fill reads once.
func (f *framer) fill(src io.Reader) error {
	f.room()
	n, err := src.Read(f.buf[f.w:])
	f.w += n
	f.full = f.w == len(f.buf)
	f.total += int64(n)
	if n > 0 {
		return nil // an error with data comes again with the next read
	}
	return err
}

// parse looks for a whole packet in the buffer.
func (f *framer) parse() (header byte, body []byte, ok bool, err error) {
	b := f.buf[f.r:f.w]
	if len(b) > 0 {
		if err := checkHeader(b[0]); err != nil {
			return 0, nil, false, err
		}
	}
	if f.need = 2 - len(b); f.need > 0 {
		return 0, nil, false, nil
	}
	length, size := 0, 0
	for i := 1; ; i++ {
		if i > 4 {
			return 0, nil, false, malformed("a packet length of more than 4 bytes") // [MQTT-2.2.3]
		}
		if i == len(b) {
			f.need = 1
			return 0, nil, false, nil
		}
		length |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			size = 1 + i + length
			break
		}
	}
	if uint32(size) > f.limit {
		return 0, nil, false, malformed("a %s of %d bytes, more than the %d that we accept", Type(b[0]>>4), size, f.limit)
	}
	if f.need = size - len(b); f.need > 0 {
		return 0, nil, false, nil
	}
	f.r += size
	return b[0], b[size-length : size : size], true, nil
}

// room makes space to read into: at least one byte, and for what is missing, but no more than has come already. A burst of
// packets soon gets the whole of what a buffer may keep, so that it takes few reads.
func (f *framer) room() {
	have := f.w - f.r
	want := have + max(1, min(f.need, max(have, frameBufMin)))
	if f.full {
		want = max(want, min(2*len(f.buf), frameBufKeep))
	}
	switch {
	case have == 0 && (len(f.buf) < frameBufMin || len(f.buf) > frameBufKeep):
		f.buf = make([]byte, frameBufMin)
		f.r, f.w = 0, 0
	case want > len(f.buf):
		bigger := make([]byte, want)
		copy(bigger, f.buf[f.r:f.w])
		f.buf, f.r, f.w = bigger, 0, have
	case f.r > 0 && (have == 0 || f.r+want > len(f.buf)):
		copy(f.buf, f.buf[f.r:f.w])
		f.r, f.w = 0, have
	}
}
