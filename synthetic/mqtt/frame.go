package mqtt

import (
	"encoding/binary"
	"io"
)

// The sizes of the framer's buffer in bytes. It stays small while a session idles. A buffer above
// frameBufKeep is released when it is empty.
const (
	frameBufMin  = 32
	frameBufKeep = 4096
)

// controlLimit is the size in bytes of the largest packet except PUBLISH that is accepted. It allows
// for two strings of the greatest length and many user properties.
const controlLimit = 256 << 10

// framer cuts a byte stream into control packets. A read that times out loses no data.
//
// A packet that a server never sends is refused at its first byte. A packet above the limit is
// refused as soon as its length is known, before memory is allocated for it. For other packets the
// buffer grows only with the bytes that have arrived, so that a large announced length alone costs
// no memory. The rest of a message that is too large to be kept is read and thrown away.
type framer struct {
	limit   uint32  // size of the largest packet that is accepted, header included
	keep    uint32  // size of the largest PUBLISH that is kept; 0 means limit
	budget  *Budget // for a buffer above frameBufKeep; nil means no limit
	charged int     // bytes of the budget in use
	skip    int     // bytes still to be thrown away
	cut     bool    // the packet that parse returned ends before its properties and payload

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

// fill makes space and reads once.
func (f *framer) fill(src io.Reader) error {
	if err := f.room(); err != nil {
		return err
	}
	return f.read(src)
}

// read reads once, into the space that room made.
func (f *framer) read(src io.Reader) error {
	n, err := src.Read(f.buf[f.w:])
	f.w += n
	f.full = f.w == len(f.buf)
	f.total += int64(n)
	if n > 0 {
		return nil // an error that came with data is returned again by the next read
	}
	return err
}

// first returns the first bytes that came, if they are still buffered, at most 16.
func (f *framer) first() []byte {
	if f.total > int64(f.w) {
		return nil
	}
	return f.buf[:min(f.w, 16)]
}

// parse returns a packet if the buffer holds a whole one, or the kept part of one.
func (f *framer) parse() (header byte, body []byte, ok bool, err error) {
	f.throwAway()
	if f.need = f.skip; f.need > 0 {
		return 0, nil, false, nil
	}
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
	t, limit := Type(b[0]>>4), f.limit
	if t != PUBLISH {
		limit = min(limit, controlLimit)
	}
	if uint32(size) > limit {
		return 0, nil, false, malformed("a %s of %d bytes, more than the %d that we accept", t, size, limit)
	}
	whole, start := size, size-length
	if f.cut = t == PUBLISH && f.keep > 0 && uint32(size) > f.keep; f.cut {
		if size = head(b, start, size); size == 0 {
			f.need = start + 2 - len(b)
			return 0, nil, false, nil
		}
	}
	if f.need = size - len(b); f.need > 0 {
		return 0, nil, false, nil
	}
	f.r += size
	f.skip = whole - size
	return b[0], b[start:size:size], true, nil
}

// head returns the size of a PUBLISH up to and including its packet identifier. It returns 0 if the
// length of the topic has not arrived.
func head(b []byte, start, size int) int {
	if len(b) < start+2 {
		return 0
	}
	n := start + 2 + int(binary.BigEndian.Uint16(b[start:]))
	if b[0]&6 != 0 {
		n += 2
	}
	return min(n, size)
}

// throwAway throws away what is buffered of the rest of a message that is not kept.
func (f *framer) throwAway() {
	n := min(f.skip, f.w-f.r)
	f.r, f.skip = f.r+n, f.skip-n
}

// charge takes memory for a buffer of a size from the budget, or gives some back.
func (f *framer) charge(size int) error {
	if size <= frameBufKeep {
		size = 0
	}
	err := f.budget.take(size - f.charged)
	if err == nil {
		f.charged = size
	}
	return err
}

// room makes space for the next read: at least one byte, at most the missing part of the packet,
// and at most as much as has already arrived. After a read that filled the buffer, room doubles it
// up to frameBufKeep, so that a burst of packets needs few reads.
func (f *framer) room() error {
	have := f.w - f.r
	want := have + max(1, min(f.need, max(have, frameBufMin)))
	if f.full {
		want = max(want, min(2*len(f.buf), frameBufKeep))
	} else if free := len(f.buf) - have; free >= frameBufMin {
		want = min(want, len(f.buf)) // a source of small pieces need not make a large buffer grow each time
	}
	switch {
	case have == 0 && (len(f.buf) < frameBufMin || len(f.buf) > frameBufKeep):
		if err := f.charge(frameBufMin); err != nil {
			return err
		}
		f.buf = make([]byte, frameBufMin)
		f.r, f.w = 0, 0
	case want > len(f.buf):
		if err := f.charge(want); err != nil {
			return err
		}
		bigger := make([]byte, want)
		copy(bigger, f.buf[f.r:f.w])
		f.buf, f.r, f.w = bigger, 0, have
	case f.r > 0 && (have == 0 || f.r+want > len(f.buf)):
		copy(f.buf, f.buf[f.r:f.w])
		f.r, f.w = 0, have
	}
	return nil
}
