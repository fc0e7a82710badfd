package profile_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// looking notes which questions about pictures reach the store.
type looking struct {
	identity.Store
	asked []string
}

type lookingReader struct {
	identity.Reader
	at *looking
}

func (l *looking) View(ctx context.Context, read func(identity.Reader) error) error {
	return l.Store.View(ctx, func(r identity.Reader) error { return read(lookingReader{r, l}) })
}

func (r lookingReader) Picture(ctx context.Context, id identity.SubjectID) (identity.Picture, error) {
	r.at.asked = append(r.at.asked, "picture")
	return r.Reader.Picture(ctx, id)
}

func (r lookingReader) PictureHead(ctx context.Context, id identity.SubjectID) (identity.Picture, error) {
	r.at.asked = append(r.at.asked, "head")
	return r.Reader.PictureHead(ctx, id)
}

// Who has the picture already makes nobody load it.
func TestPictureLoadsItsBytesWhenNeeded(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		core := coretest.New(t, store)
		at := &looking{Store: store}
		s := profile.Service{Store: at, Policies: core.Policies, Now: core.Clock.Now}
		ada, bob := core.Person(func(*identity.Subject, *identity.Credential) {}), core.Person(func(*identity.Subject, *identity.Credential) {})
		core.Update(func(tx identity.Tx) error {
			return tx.SavePicture(t.Context(), identity.Picture{SubjectID: ada.ID, MediaType: "image/png", Tag: "t1", Bytes: []byte("bytes"), UpdatedAt: core.Clock.Now()})
		})
		may := func(err error) profile.May {
			return func(context.Context, identity.Reader) error { return err }
		}
		has := func(tag string) func(string) bool { return func(t string) bool { return t == tag } }
		for _, tt := range []struct {
			name   string
			target identity.SubjectID
			may    error
			held   func(string) bool
			asked  []string
			bytes  string
			want   error
		}{
			{"first time", ada.ID, nil, nil, []string{"picture"}, "bytes", nil},
			{"the caller has it", ada.ID, nil, has("t1"), []string{"head"}, "", nil},
			{"the caller has an older one", ada.ID, nil, has("t0"), []string{"head", "picture"}, "bytes", nil},
			{"there is none", bob.ID, nil, has("t1"), []string{"head"}, "", identity.NotFound},
			{"there is none, first time", bob.ID, nil, nil, []string{"picture"}, "", identity.NotFound},
			{"not allowed", ada.ID, identity.Denied, nil, nil, "", identity.Denied},
			{"not allowed, by its tag", ada.ID, identity.Denied, has("t1"), nil, "", identity.Denied},
		} {
			at.asked = nil
			p, err := s.Picture(t.Context(), tt.target, may(tt.may), tt.held)
			if !errors.Is(err, tt.want) || string(p.Bytes) != tt.bytes || err == nil && p.Tag != "t1" {
				t.Errorf("%s: %+v, %v, want %v", tt.name, p, err, tt.want)
			}
			if !slices.Equal(at.asked, tt.asked) {
				t.Errorf("%s: asked for %v, want %v", tt.name, at.asked, tt.asked)
			}
		}
	})
}
