package manage_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
	"gatehouse/internal/picture"
	"gatehouse/internal/store/storetest"
)

const pictureDoor identity.Door = "portraits"

func anybody(context.Context, identity.Reader) error { return nil }

func nobody(context.Context, identity.Reader) error {
	return identity.Denied.Because("no")
}

func marker(text string) identity.Attributes {
	return identity.Attributes{pictureDoor: []byte(`{"avatar":"` + text + `"}`)}
}

func pngOf(width int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewRGBA(image.Rect(0, 0, width, 8))); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// portrayed is a house with ada, and what is stored of her picture.
func portrayed(t *testing.T, store identity.Store) (h *house, ada identity.Subject, caller identity.Caller, stored func() (identity.Picture, error)) {
	h = newHouse(t, store)
	h.Pictures = picture.New(picture.Options{})
	ada = h.create(manage.NewSubject{Email: "ada@example.test", Attributes: identity.Attributes{pictureDoor: []byte(`{"role":"csr"}`)}})
	return h, ada, identity.Caller{Door: pictureDoor, SubjectID: ada.ID}, func() (p identity.Picture, err error) {
		err = store.View(t.Context(), func(r identity.Reader) error {
			p, err = r.Picture(t.Context(), ada.ID)
			return err
		})
		return p, err
	}
}

func TestSetAndRemovePicture(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, ada, caller, stored := portrayed(t, store)
		ctx := t.Context()
		var told []identity.Change
		store.OnCommit(func(changes []identity.Change) { told = append(told, changes...) })
		remembers := func(want string) {
			t.Helper()
			h.core.View(func(r identity.Reader) error {
				s, err := r.Subject(ctx, ada.ID)
				if err == nil && !manage.SameJSON(s.Attributes[pictureDoor], []byte(want)) {
					t.Errorf("the door remembers %s, want %s", s.Attributes[pictureDoor], want)
				}
				if err == nil && s.UpdatedAt != h.core.Clock.Now() {
					t.Errorf("changed at %v", s.UpdatedAt)
				}
				return err
			})
			if len(told) != 1 || told[0].Kind != identity.SubjectChanged || told[0].ID != string(ada.ID) {
				t.Errorf("other nodes hear %+v", told)
			}
			told = nil
		}

		hidden := append(pngOf(8), "<script>"...)
		if err := h.SetPicture(ctx, caller, ada.ID, manage.NewPicture{Data: hidden, Merge: marker("1"), May: anybody}); err != nil {
			t.Fatal(err)
		}
		remembers(`{"role":"csr","avatar":"1"}`)
		first, err := stored()
		if err != nil || first.MediaType != picture.PNG || first.Tag == "" || bytes.Contains(first.Bytes, []byte("script")) || first.UpdatedAt != h.core.Clock.Now() {
			t.Errorf("stored %s of %d bytes, %v", first.MediaType, len(first.Bytes), err)
		}
		if e := h.recorded("subject.picture.set"); e.SubjectID != ada.ID || e.ActorID != ada.ID || !bytes.Contains(e.Detail, []byte(first.Tag)) {
			t.Errorf("recorded %+v", e)
		}

		h.core.Clock.Advance(time.Minute)
		if err := h.SetPicture(ctx, caller, ada.ID, manage.NewPicture{Data: pngOf(9), Merge: marker("2"), May: anybody}); err != nil {
			t.Fatal(err)
		}
		remembers(`{"role":"csr","avatar":"2"}`)
		if second, err := stored(); err != nil || second.Tag == first.Tag || bytes.Equal(second.Bytes, first.Bytes) {
			t.Errorf("the second one is %+v, %v", second, err)
		}

		if err := h.RemovePicture(ctx, caller, ada.ID, anybody, marker("0")); err != nil {
			t.Fatal(err)
		}
		remembers(`{"role":"csr","avatar":"0"}`)
		if _, err := stored(); !errors.Is(err, identity.NotFound) {
			t.Errorf("after its removal: %v", err)
		}
		h.recorded("subject.picture.remove")

		if err := h.RemovePicture(ctx, caller, ada.ID, anybody, marker("x")); !errors.Is(err, identity.NotFound) {
			t.Errorf("removing none: %v", err)
		}
		if len(told) > 0 {
			t.Errorf("removing none is told: %+v", told)
		}
	})
}

// What is refused leaves nothing, and costs nothing where she may not.
func TestPictureRefused(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, ada, caller, stored := portrayed(t, store)
		ctx := t.Context()
		const unknown = "01a0c000-0000-7000-8000-00000000dead"
		svg := []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>`)
		for _, tt := range []struct {
			name   string
			target identity.SubjectID
			data   []byte
			may    profile.May
			want   error
		}{
			{"no picture", ada.ID, []byte("x"), anybody, identity.Invalid},
			{"a picture that acts", ada.ID, svg, anybody, identity.Invalid},
			{"too large", ada.ID, make([]byte, 2_000_000), anybody, identity.TooLarge},
			{"not allowed, and no picture", ada.ID, []byte("x"), nobody, identity.Denied},
			{"nobody there", unknown, pngOf(8), anybody, identity.NotFound},
			{"nobody there, for whoever may not know", unknown, pngOf(8), nobody, identity.Denied},
		} {
			if err := h.SetPicture(ctx, caller, tt.target, manage.NewPicture{Data: tt.data, Merge: marker("1"), May: tt.may}); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
			if tt.want == identity.Invalid || tt.want == identity.TooLarge {
				continue
			}
			if err := h.RemovePicture(ctx, caller, tt.target, tt.may, marker("0")); !errors.Is(err, tt.want) {
				t.Errorf("%s, removing: %v, want %v", tt.name, err, tt.want)
			}
		}
		if _, err := stored(); !errors.Is(err, identity.NotFound) {
			t.Errorf("something is stored: %v", err)
		}
		h.core.View(func(r identity.Reader) error {
			s, err := r.Subject(ctx, ada.ID)
			if string(s.Attributes[pictureDoor]) != `{"role":"csr"}` {
				t.Errorf("the door remembers %s", s.Attributes[pictureDoor])
			}
			events, err2 := r.Events(ctx, identity.EventFilter{Limit: 10})
			if len(events) != 1 { // that ada was made
				t.Errorf("rows %+v", events)
			}
			return errors.Join(err, err2)
		})
	})
}

// Whether she may is asked in the transaction too: decoding takes a while, and rights end.
func TestPictureAsksAgain(t *testing.T) {
	h, ada, caller, stored := portrayed(t, storetest.SQLite(t))
	asked := 0
	may := func(context.Context, identity.Reader) error {
		if asked++; asked > 1 {
			return identity.Denied.Because("not any more")
		}
		return nil
	}
	if err := h.SetPicture(t.Context(), caller, ada.ID, manage.NewPicture{Data: pngOf(8), May: may}); !errors.Is(err, identity.Denied) {
		t.Errorf("got %v", err)
	}
	if _, err := stored(); !errors.Is(err, identity.NotFound) {
		t.Errorf("it is stored: %v", err)
	}
}

func TestPictureAtOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, ada, caller, stored := portrayed(t, store)
		h.Pictures = picture.New(picture.Options{Queue: 16})
		var group sync.WaitGroup
		for i := range 16 {
			group.Go(func() {
				if err := h.SetPicture(t.Context(), caller, ada.ID, manage.NewPicture{Data: pngOf(8 + i), May: anybody}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		p, err := stored()
		if err != nil {
			t.Fatal(err)
		}
		if m, err := png.Decode(bytes.NewReader(p.Bytes)); err != nil || m.Bounds().Dy() != 8 {
			t.Errorf("one of them stands: %v", err)
		}
		var removed atomic.Int32
		for range 16 {
			group.Go(func() {
				switch err := h.RemovePicture(t.Context(), caller, ada.ID, anybody, marker("0")); {
				case err == nil:
					removed.Add(1)
				case !errors.Is(err, identity.NotFound):
					t.Error(err)
				}
			})
		}
		group.Wait()
		if removed.Load() != 1 {
			t.Errorf("removed %d times", removed.Load())
		}
	})
}
