package mqtt

import "io"

// The sizes of the framer's buffer in bytes. It stays small while a session idles. A buffer above
// frameBufKeep is released when it is empty.
const (
	frameBufMin  = 128
	frameBufKeep = 4096
)

// framer cuts a byte stream into control packets. A read that times out loses no data.
//
// A packet that a server never sends is refused at its first byte. A packet above the limit is
// refused as soon as its length is known, before memory is allocated for it. For other packets the
// buffer grows only with the bytes that have arrived, so that a large announced length alone costs
// no memory.
type framer struct {
	limit uint32 // size of the largest packet that is accepted, header included
	buf   []byte
	r, w  int   // unread bytes are buf[r:w]
	need  int   // lower bound of the bytes that are missing, set by parse
	total int64 // bytes read so far
	full  bool  // the last read filled the buffer, so more data is likely waiting
}

// next returns the next packet: its first byte and its body, which is valid until the next call. It
// reads from src only if no whole packet is buffered. Errors of src are returned unchanged; other
// errors are made by malformed.
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
		return nil // an error that came with data is returned again by the next read
	}
	return err
}

// parse returns a packet if the buffer holds a whole one.
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
			// [MQTT3-2.2.3, MQTT5-2.1.4]
			return 0, nil, false, malformed("a packet length of more than 4 bytes")
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

// room makes space for the next read: at least one byte, at most the missing part of the packet,
// and at most as much as has already arrived. After a read that filled the buffer, room doubles it
// up to frameBufKeep, so that a burst of packets needs few reads.
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
