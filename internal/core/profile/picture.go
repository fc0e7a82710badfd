package profile

import (
	"context"
	"errors"

	"gatehouse/internal/identity"
)

// May says whether who asks may do what is about to be done: nil, or the refusal. It is asked in the snapshot or the transaction
// of the verb, so that what it found still holds when the verb acts.
type May func(ctx context.Context, r identity.Reader) error

// Picture gives somebody's picture. Where held says that the caller has the one of this tag already, it comes without its bytes,
// and they are not loaded; held may be nil.
func (s *Service) Picture(ctx context.Context, id identity.SubjectID, may May, held func(tag string) bool) (identity.Picture, error) {
	return view(ctx, s, func(r identity.Reader) (p identity.Picture, err error) {
		if err = may(ctx, r); err != nil {
			return p, err
		}
		if held != nil {
			p, err = r.PictureHead(ctx, id)
		}
		if held == nil || err == nil && !held(p.Tag) {
			p, err = r.Picture(ctx, id)
		}
		if errors.Is(err, identity.NotFound) {
			return p, identity.NotFound.Because("there is no picture of this person")
		}
		return p, err
	})
}
