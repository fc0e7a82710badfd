package profile

import (
	"context"
	"errors"

	"gatehouse/internal/identity"
)

// May says whether one person may do something with another, her picture for example: nil, or why not. Where there is no such
// person it is asked about one who has nothing but the id, so that who may not know learns nothing.
type May func(ctx context.Context, r identity.Reader, caller, target identity.Subject) error

// Meet gives the person with whom somebody is about to do something, if she may. Inside another verb's transaction what it
// found still holds when the verb acts.
func Meet(ctx context.Context, r identity.Reader, caller, target identity.SubjectID, may May) (identity.Subject, error) {
	asks, err := r.Subject(ctx, caller)
	if errors.Is(err, identity.NotFound) {
		return identity.Subject{}, identity.TokenRevoked.Because("this account is gone")
	}
	if err != nil {
		return identity.Subject{}, err
	}
	about, nobody := asks, false
	if target != caller {
		about, err = r.Subject(ctx, target)
		if nobody = errors.Is(err, identity.NotFound); nobody {
			about = identity.Subject{ID: target}
		} else if err != nil {
			return identity.Subject{}, err
		}
	}
	if err := may(ctx, r, asks, about); err != nil {
		return identity.Subject{}, err
	}
	if nobody {
		return identity.Subject{}, identity.NotFound.Because("no such person")
	}
	return about, nil
}

// Picture gives somebody's picture to whoever may see it. Where held says that the caller has the one of this tag already, it
// comes without its bytes, and they are not loaded; held may be nil.
func (s *Service) Picture(ctx context.Context, caller, target identity.SubjectID, may May, held func(tag string) bool) (identity.Picture, error) {
	return view(ctx, s, func(r identity.Reader) (p identity.Picture, err error) {
		if _, err = Meet(ctx, r, caller, target, may); err != nil {
			return p, err
		}
		if held != nil {
			p, err = r.PictureHead(ctx, target)
		}
		if held == nil || err == nil && !held(p.Tag) {
			p, err = r.Picture(ctx, target)
		}
		if errors.Is(err, identity.NotFound) {
			return p, identity.NotFound.Because("there is no picture of this person")
		}
		return p, err
	})
}
