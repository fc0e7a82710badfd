package argon2

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	reference "golang.org/x/crypto/argon2"
)

func want(password, salt []byte, p Params, size int) []byte {
	f := reference.IDKey
	if p.Type == I {
		f = reference.Key
	}
	return f(password, salt, p.Time, p.Memory, uint8(p.Threads), uint32(size))
}

func TestKeyAgreesWithReference(t *testing.T) {
	var scratch Scratch // shared by all rows: what one leaves behind must not show in the next
	defer scratch.Free()
	for _, kind := range []Type{I, ID} {
		for _, p := range []Params{
			{kind, 1, 8, 1}, {kind, 2, 9, 1}, {kind, 3, 31, 1}, {kind, 1, 64, 4}, {kind, 4, 100, 3}, {kind, 2, 1024, 2},
			{kind, 3, 4099, 5}, {kind, 2, 19456, 1}, {kind, 1, 33, 4},
		} {
			for _, size := range []int{4, 16, 32, 64, 65, 100, 128, 200} {
				if p.Memory > 2000 && size != 32 {
					continue
				}
				password, salt := []byte("correct horse"), []byte("battery staple")
				got := make([]byte, size)
				scratch.Key(got, password, salt, p)
				if w := want(password, salt, p, size); !bytes.Equal(got, w) {
					t.Errorf("%+v, %d bytes: %x, want %x", p, size, got, w)
				}
			}
		}
	}
}

// The vectors are of the reference implementation's own test (P-H-C/phc-winner-argon2, src/test.c), version 0x13.
func TestKeyVectors(t *testing.T) {
	for _, tt := range []struct {
		password, salt string
		p              Params
		want           string
	}{
		{"password", "somesalt", Params{I, 2, 65536, 1}, "c1628832147d9720c5bd1cfd61367078729f6dfb6f8fea9ff98158e0d7816ed0"},
		{"password", "somesalt", Params{I, 2, 256, 1}, "89e9029f4637b295beb027056a7336c414fadd43f6b208645281cb214a56452f"},
		{"password", "somesalt", Params{ID, 2, 65536, 1}, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"},
		{"password", "somesalt", Params{ID, 2, 256, 1}, "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"},
		{"password", "somesalt", Params{ID, 2, 256, 2}, "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"},
		{"differentpassword", "somesalt", Params{ID, 2, 65536, 1}, "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde"},
		{"password", "diffsalt", Params{ID, 2, 65536, 1}, "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c"},
	} {
		var scratch Scratch
		got := make([]byte, 32)
		scratch.Key(got, []byte(tt.password), []byte(tt.salt), tt.p)
		scratch.Free()
		if hex.EncodeToString(got) != tt.want {
			t.Errorf("%q %q %+v: %x, want %s", tt.password, tt.salt, tt.p, got, tt.want)
		}
	}
}

func TestCompressAgreesWithGeneric(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	fill := func() (b block) {
		for i := range b {
			b[i] = random.Uint64()
		}
		return b
	}
	for range 200 {
		x, y, out := fill(), fill(), fill()
		for _, add := range []bool{false, true} {
			got, want := out, out
			var temp block
			compress(&got, &x, &y, &temp, add)
			compressGeneric(&want, &x, &y, &temp, add)
			if got != want {
				t.Fatalf("add %v: the fast compression differs from the plain one", add)
			}
			got, want = x, x
			compress(&got, &got, &y, &temp, add) // the address blocks are made in place
			compressGeneric(&want, &want, &y, &temp, add)
			if got != want {
				t.Fatalf("add %v, in place: the fast compression differs from the plain one", add)
			}
		}
	}
}

func TestScratch(t *testing.T) {
	var scratch Scratch
	key := make([]byte, 32)
	scratch.Key(key, nil, nil, Params{ID, 1, 1024, 1})
	if got := scratch.Bytes(); got != 1024*1024 {
		t.Errorf("held %d bytes, want 1 MiB", got)
	}
	scratch.Key(key, nil, nil, Params{ID, 1, 64, 1})
	if got := scratch.Bytes(); got != 1024*1024 {
		t.Errorf("a smaller hash changed the memory to %d bytes", got)
	}
	allocations := testing.AllocsPerRun(10, func() { scratch.Key(key, key, key, Params{ID, 1, 1024, 1}) })
	if allocations > 100 { // BLAKE2b states; none of them grows with the memory
		t.Errorf("%v allocations for a hash in used memory", allocations)
	}
	scratch.Free()
	scratch.Free()
	if scratch.Bytes() != 0 {
		t.Error("memory is held after Free")
	}
}

func TestValid(t *testing.T) {
	for _, p := range []Params{{}, {0, 1, 8, 1}, {ID, 0, 8, 1}, {ID, 1, 7, 1}, {ID, 1, 8, 0}, {ID, 1, 15, 2}, {3, 1, 8, 1}} {
		if p.Valid() == nil {
			t.Errorf("%+v passed", p)
		}
	}
}

func FuzzKey(f *testing.F) {
	f.Add([]byte("password"), []byte("salt"), uint8(1), uint8(8), uint8(1), false)
	f.Add([]byte{}, []byte{}, uint8(3), uint8(77), uint8(2), true)
	var scratch Scratch
	f.Fuzz(func(t *testing.T, password, salt []byte, time, memory, threads uint8, i bool) {
		p := Params{Type: ID, Time: 1 + uint32(time%4), Memory: uint32(memory), Threads: 1 + uint32(threads%4)}
		if i {
			p.Type = I
		}
		p.Memory += 8 * p.Threads
		got := make([]byte, 32)
		scratch.Key(got, password, salt, p)
		if w := want(password, salt, p, 32); !bytes.Equal(got, w) {
			t.Errorf("%+v: %x, want %x", p, got, w)
		}
	})
}

func BenchmarkKey(b *testing.B) {
	key, password, salt := make([]byte, 32), []byte("correct horse"), make([]byte, 16)
	p := Params{ID, 2, 19456, 1}
	b.Run("ours", func(b *testing.B) {
		var scratch Scratch
		defer scratch.Free()
		for b.Loop() {
			scratch.Key(key, password, salt, p)
		}
	})
	b.Run("x/crypto", func(b *testing.B) {
		for b.Loop() {
			want(password, salt, p, 32)
		}
	})
}
