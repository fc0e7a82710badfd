package argon2

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"golang.org/x/crypto/blake2b"
)

// Version is the only one spoken: 1.3.
const Version = 0x13

// Type is the variant, with the numbers of RFC 9106, section 3.2. Argon2d is left out: its timing depends on the password.
type Type uint32

const (
	I  Type = 1
	ID Type = 2
)

// Params is what a hash costs.
type Params struct {
	Type    Type
	Time    uint32 // passes
	Memory  uint32 // KiB
	Threads uint32 // lanes
}

const (
	slices    = 4   // RFC 9106, section 3.4: synchronisation points of a pass
	wordCount = 128 // a block is 1024 bytes
)

type block [wordCount]uint64

// Scratch is the memory of one hash after another. It is not safe for concurrent use.
type Scratch struct {
	blocks  []block
	release func()
}

// Free gives the memory back. The next hash takes new memory.
func (s *Scratch) Free() {
	if s.release != nil {
		s.release()
	}
	s.blocks, s.release = nil, nil
}

// Bytes says how much memory is held.
func (s *Scratch) Bytes() int { return len(s.blocks) * wordCount * 8 }

func (s *Scratch) take(n uint32) []block {
	if uint32(len(s.blocks)) < n {
		s.Free()
		s.blocks, s.release = allocate(int(n))
	}
	return s.blocks[:n]
}

// Valid says whether the parameters are within RFC 9106, section 3.1. It knows no upper bound of cost.
func (p Params) Valid() error {
	switch {
	case p.Type != I && p.Type != ID:
		return errors.New("unknown argon2 type")
	case p.Time < 1:
		return errors.New("argon2 needs one pass")
	case p.Threads < 1 || p.Threads >= 1<<24:
		return errors.New("argon2 needs 1 to 2^24-1 lanes")
	case p.Memory < 8*p.Threads:
		return errors.New("argon2 needs 8 KiB of memory for each lane")
	}
	return nil
}

// Key fills key, which must have 4 bytes or more. Parameters that are not Valid panic.
func (s *Scratch) Key(key, password, salt []byte, p Params) {
	if err := p.Valid(); err != nil {
		panic("argon2: " + err.Error())
	}
	if len(key) < 4 {
		panic("argon2: key is shorter than 4 bytes")
	}
	h := instance{
		Params:  p,
		segment: p.Memory / (slices * p.Threads),
	}
	h.lane = h.segment * slices
	h.blocks = s.take(h.lane * p.Threads)

	seed := p.seed(uint32(len(key)), password, salt)
	h.start(&seed)
	for pass := range p.Time {
		for slice := range uint32(slices) {
			for lane := range p.Threads {
				h.fill(pass, slice, lane)
			}
		}
	}
	h.finish(key)
}

// seed is H_0 of RFC 9106, section 3.2, with room for the two counters that follow it in start.
func (p Params) seed(keyLen uint32, password, salt []byte) [blake2b.Size + 8]byte {
	hash, _ := blake2b.New512(nil) // fails for a long key only
	var word [4]byte
	put := func(n uint32) {
		binary.LittleEndian.PutUint32(word[:], n)
		hash.Write(word[:])
	}
	for _, n := range []uint32{p.Threads, keyLen, p.Memory, p.Time, Version, uint32(p.Type)} {
		put(n)
	}
	for _, text := range [][]byte{password, salt, nil, nil} { // no secret, no associated data
		put(uint32(len(text)))
		hash.Write(text)
	}
	var seed [blake2b.Size + 8]byte
	hash.Sum(seed[:0])
	return seed
}

type instance struct {
	Params
	blocks  []block
	lane    uint32 // blocks of a lane
	segment uint32 // blocks of a lane within a slice
	temp    block
}

// start makes the first two blocks of each lane.
func (h *instance) start(seed *[blake2b.Size + 8]byte) {
	var raw [wordCount * 8]byte
	for lane := range h.Threads {
		binary.LittleEndian.PutUint32(seed[blake2b.Size+4:], lane)
		for column := range uint32(2) {
			binary.LittleEndian.PutUint32(seed[blake2b.Size:], column)
			longHash(raw[:], seed[:])
			to := &h.blocks[lane*h.lane+column]
			for i := range to {
				to[i] = binary.LittleEndian.Uint64(raw[i*8:])
			}
		}
	}
}

// fill computes one segment (RFC 9106, sections 3.4 and 3.5).
func (h *instance) fill(pass, slice, lane uint32) {
	independent := h.Type == I || pass == 0 && slice < slices/2
	var addresses, input, zero block
	if independent {
		input = block{uint64(pass), uint64(lane), uint64(slice), uint64(len(h.blocks)), uint64(h.Time), uint64(h.Type)}
	}
	next := func() {
		input[6]++
		compress(&addresses, &input, &zero, &h.temp, false)
		compress(&addresses, &addresses, &zero, &h.temp, false)
	}

	from := uint32(0)
	if pass == 0 && slice == 0 {
		from = 2 // made by start
		if independent {
			next()
		}
	}
	base := lane * h.lane
	for i := from; i < h.segment; i++ {
		column := slice*h.segment + i
		before := column - 1
		if column == 0 {
			before = h.lane - 1
		}
		previous := &h.blocks[base+before]

		random := previous[0]
		if independent {
			if i%wordCount == 0 {
				next()
			}
			random = addresses[i%wordCount]
		}
		reference := &h.blocks[h.reference(random, pass, slice, lane, i)]
		// The memory is not cleared between hashes, so the first pass must overwrite; later ones add.
		compress(&h.blocks[base+column], previous, reference, &h.temp, pass > 0)
	}
}

// reference maps a pseudo-random word to a block that is ready (RFC 9106, section 3.4.2).
func (h *instance) reference(random uint64, pass, slice, lane, i uint32) uint32 {
	from := uint32(random>>32) % h.Threads
	if pass == 0 && slice == 0 {
		from = lane
	}
	ready, first := slice*h.segment, uint32(0) // finished segments, and where the oldest one begins
	if pass > 0 {
		ready = 3 * h.segment
		first = (slice + 1) % slices * h.segment
	}
	switch {
	case from == lane:
		ready += i - 1 // this segment as far as it is, without the previous block
	case i == 0:
		ready--
	}
	x := uint64(uint32(random))
	x = x * x >> 32
	back := uint64(ready) * x >> 32
	at := uint64(first) + uint64(ready) - 1 - back
	return from*h.lane + uint32(at%uint64(h.lane))
}

// finish folds the last column into the key.
func (h *instance) finish(key []byte) {
	last := h.blocks[h.lane-1]
	for lane := uint32(1); lane < h.Threads; lane++ {
		for i, word := range h.blocks[lane*h.lane+h.lane-1] {
			last[i] ^= word
		}
	}
	var raw [wordCount * 8]byte
	for i, word := range last {
		binary.LittleEndian.PutUint64(raw[i*8:], word)
	}
	longHash(key, raw[:])
}

// longHash is H' of RFC 9106, section 3.3: BLAKE2b of any length.
func longHash(out, in []byte) {
	var size [4]byte
	binary.LittleEndian.PutUint32(size[:], uint32(len(out)))
	sum := func(to []byte, parts ...[]byte) {
		hash, _ := blake2b.New(len(to), nil) // fails for sizes out of 1 to 64 only
		for _, part := range parts {
			hash.Write(part)
		}
		hash.Sum(to[:0])
	}
	if len(out) <= blake2b.Size {
		sum(out, size[:], in)
		return
	}
	var v [blake2b.Size]byte
	sum(v[:], size[:], in)
	for {
		out = out[copy(out, v[:blake2b.Size/2]):]
		if len(out) <= blake2b.Size {
			sum(out, v[:])
			return
		}
		sum(v[:], v[:])
	}
}

// compressGeneric is G of RFC 9106, section 3.5: out = P(x^y) ^ x ^ y, or added to what out holds.
func compressGeneric(out, x, y, temp *block, add bool) {
	for i := range temp {
		temp[i] = x[i] ^ y[i]
	}
	for i := 0; i < wordCount; i += 16 {
		t := temp[i : i+16 : i+16]
		permute(&t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7],
			&t[8], &t[9], &t[10], &t[11], &t[12], &t[13], &t[14], &t[15])
	}
	for i := 0; i < 16; i += 2 {
		t := temp[i : i+114 : i+114]
		permute(&t[0], &t[1], &t[16], &t[17], &t[32], &t[33], &t[48], &t[49],
			&t[64], &t[65], &t[80], &t[81], &t[96], &t[97], &t[112], &t[113])
	}
	if add {
		for i := range out {
			out[i] ^= x[i] ^ y[i] ^ temp[i]
		}
		return
	}
	for i := range out {
		out[i] = x[i] ^ y[i] ^ temp[i]
	}
}

// permute is P of RFC 9106, section 3.6: a BLAKE2b round with multiplications.
func permute(v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15 *uint64) {
	mix(v0, v4, v8, v12)
	mix(v1, v5, v9, v13)
	mix(v2, v6, v10, v14)
	mix(v3, v7, v11, v15)
	mix(v0, v5, v10, v15)
	mix(v1, v6, v11, v12)
	mix(v2, v7, v8, v13)
	mix(v3, v4, v9, v14)
}

func mix(pa, pb, pc, pd *uint64) {
	a, b, c, d := *pa, *pb, *pc, *pd
	a += b + 2*uint64(uint32(a))*uint64(uint32(b))
	d = bits.RotateLeft64(d^a, -32)
	c += d + 2*uint64(uint32(c))*uint64(uint32(d))
	b = bits.RotateLeft64(b^c, -24)
	a += b + 2*uint64(uint32(a))*uint64(uint32(b))
	d = bits.RotateLeft64(d^a, -16)
	c += d + 2*uint64(uint32(c))*uint64(uint32(d))
	b = bits.RotateLeft64(b^c, -63)
	*pa, *pb, *pc, *pd = a, b, c, d
}
