package licence

import (
	"errors"
	"testing"
	"time"
)

// Property: whatever is done to the clock and however often the device restarts, a document that was over stays over, one in its grace
// does not become valid again while the process runs, and none is accepted on a clock behind its issue.
func FuzzClock(f *testing.F) {
	f.Add([]byte{0x00, 0x4a, 0x00, 0x9e, 0x00})
	f.Add([]byte{0x01, 0x65, 0x01, 0x8f, 0x01, 0xc0, 0x01})
	f.Add([]byte{0x00, 0x7f, 0x02, 0xbf, 0x00, 0xc0, 0x02, 0x41, 0x01})
	f.Fuzz(func(t *testing.T, actions []byte) {
		if len(actions) > 200 {
			return
		}
		var documents []Claims
		var texts []string
		for i := range 3 {
			c := claims()
			shift := time.Duration(i) * 20 * day
			c.IssuedAt, c.NotBefore, c.ExpiresAt, c.GraceEndsAt = c.IssuedAt.Add(shift), c.NotBefore.Add(shift), c.ExpiresAt.Add(shift), c.GraceEndsAt.Add(shift)
			documents, texts = append(documents, c), append(texts, sign(t, Type, c))
		}
		store, at, k := &countingStore{}, issuedAt, keys(t)
		boot := func() *Verifier { return &Verifier{Keys: k, Now: func() time.Time { return at }, Store: store} }
		v := boot()
		var over, grace [3]bool
		for _, a := range actions {
			amount := time.Duration(a & 0x3f)
			switch a >> 6 {
			case 1:
				at = at.Add(amount * day)
			case 2:
				at = at.Add(-amount * 17 * time.Hour)
			case 3:
				if amount != 0 {
					at = at.Add((amount - 32) * time.Minute)
					continue
				}
				v, grace = boot(), [3]bool{} // what it saw in the last minutes may not be on the disk
			default:
				i := int(amount) % 3
				c, state, err := v.Verify(texts[i], theCamera)
				switch {
				case err == nil && over[i]:
					t.Fatalf("document %d was over and is %v again", i, state)
				case state == Valid && grace[i]:
					t.Fatalf("document %d was in its grace and is valid again", i)
				case err == nil && at.Before(documents[i].IssuedAt.Add(-defaultTolerance)):
					t.Fatalf("document %d is %v before its issue", i, state)
				case err == nil && (!at.Before(c.GraceEndsAt) || state == Valid && !at.Before(c.ExpiresAt)):
					t.Fatalf("document %d is %v at %v", i, state, at)
				}
				over[i] = over[i] || errors.Is(err, ErrOver)
				grace[i] = grace[i] || state == InGrace
			}
		}
	})
}
