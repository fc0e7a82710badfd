package cloud

import (
	"context"
	"encoding/json"
	"errors"

	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/factor/nxcloud"
	"gatehouse/internal/identity"
)

// Link gives an account of the cloud to whoever is signed in and knows its password. Its outcome has a ticket where the cloud wants a
// second factor, and neither that nor a session where the account is linked.
func (s *Service) Link(ctx context.Context, live *session.Live, in LoginInput) (signin.Outcome, error) {
	if err := live.Herself(); err != nil {
		return signin.Outcome{}, err
	}
	if !s.Links() {
		return signin.Outcome{}, ErrNoUpstream
	}
	return s.password(ctx, in, arrival{caller: in.Caller, login: in.Email, subject: live.Subject.ID, session: live.Session.ID})
}

func (s *Service) link(ctx context.Context, tx identity.Tx, who nxcloud.Account, a arrival) (refusal, err error) {
	held, err := tx.Session(ctx, a.session)
	if errors.Is(err, identity.NotFound) || err == nil && (!held.EndedAt.IsZero() || !s.Now().Before(held.Ends()) || held.ActorID != "") {
		return ticketRefused, nil // she signed out while she looked for her code
	}
	if err != nil {
		return nil, err
	}
	stands, err := tx.LinkedIdentity(ctx, Authority, who.ID)
	switch {
	case err == nil && stands.SubjectID != a.subject:
		return ErrTaken, nil
	case err == nil:
		return nil, nil // hers already
	case !errors.Is(err, identity.NotFound):
		return nil, err
	}
	if id, err := accountOf(ctx, tx, a.subject); err != nil || id != "" {
		return ErrLinked, err
	}
	herself := a.caller
	herself.SubjectID, herself.ActorID, herself.SessionID = a.subject, a.subject, a.session
	err = s.Manage.LinkIn(ctx, tx, herself, linked(a.subject, who), "linked by herself")
	if errors.Is(err, identity.Invalid) {
		return err, nil
	}
	return nil, err
}

// Unlink takes the cloud's account away from whoever is signed in, with federation.Service's refusals.
func (s *Service) Unlink(ctx context.Context, caller identity.Caller, live *session.Live) error {
	if err := live.Herself(); err != nil {
		return err
	}
	if !s.Links() {
		return ErrNoUpstream
	}
	id, err := s.AccountID(ctx, live.Subject.ID)
	if err != nil {
		return err
	}
	if id == "" {
		return identity.NotFound.Because("no account of the cloud is linked")
	}
	return s.Federation.Unlink(ctx, caller, live.Subject.ID, Authority, id)
}

// AccountID is what the cloud calls somebody; "": it does not know her.
func (s *Service) AccountID(ctx context.Context, id identity.SubjectID) (account string, err error) {
	if s.Upstream == nil {
		return string(id), nil
	}
	err = s.Store.View(ctx, func(r identity.Reader) (err error) {
		account, err = accountOf(ctx, r, id)
		return err
	})
	return account, err
}

func accountOf(ctx context.Context, r identity.Reader, id identity.SubjectID) (string, error) {
	all, err := r.LinkedIdentitiesOf(ctx, id)
	for _, l := range all {
		if l.Authority == Authority {
			return l.ExternalID, err
		}
	}
	return "", err
}

// kept is what a session remembers of the cloud.
type kept struct {
	Refresh []byte `json:"cloud,omitempty"` // its refresh token, sealed
}

const keptPurpose = "cloud-refresh"

func (s *Service) keep(refresh identity.Secret) ([]byte, error) {
	if refresh == "" {
		return nil, nil
	}
	return json.Marshal(kept{s.Box.Seal(keptPurpose, []byte(refresh.Reveal()))})
}

// drop ends a refresh token of the cloud that nobody here needs any more. A cloud that cannot be asked keeps it until it ends by
// itself: what happens here does not wait for that.
func (s *Service) drop(ctx context.Context, refresh identity.Secret) {
	if refresh == "" {
		return
	}
	ask, cancel := s.asking(ctx)
	defer cancel()
	if err := s.Upstream.Revoke(ask, refresh); err != nil {
		s.Log.WarnContext(ctx, "a refresh token of the cloud was not revoked", "err", err)
	}
}

// Ended revokes what a session that has ended kept of the cloud.
func (s *Service) Ended(ctx context.Context, ended identity.Session) {
	if s.Upstream == nil || len(ended.Attributes) == 0 {
		return
	}
	var k kept
	if err := json.Unmarshal(ended.Attributes, &k); err != nil || k.Refresh == nil {
		return // a session that did not come from the cloud
	}
	refresh, err := s.Box.Open(keptPurpose, k.Refresh)
	if err != nil {
		s.Log.WarnContext(ctx, "a refresh token of the cloud cannot be opened", "err", err)
		return
	}
	s.drop(ctx, identity.Secret(refresh))
}

// cameFrom says whether a session was begun by the upstream cloud, which then is whom its password is asked of.
func cameFrom(live *session.Live) bool {
	var k kept
	return len(live.Session.Attributes) > 0 && json.Unmarshal(live.Session.Attributes, &k) == nil && k.Refresh != nil
}

// Confirm checks the password of somebody who is signed in, with whoever let her in.
func (s *Service) Confirm(ctx context.Context, caller identity.Caller, live *session.Live, password identity.Secret) error {
	if s.Upstream == nil || !cameFrom(live) {
		return s.SignIn.Confirm(ctx, caller, live.Subject.ID, password)
	}
	var address, id string
	err := s.Store.View(ctx, func(r identity.Reader) error {
		all, err := r.LinkedIdentitiesOf(ctx, live.Subject.ID)
		for _, l := range all {
			if l.Authority == Authority {
				address, id = l.Email, l.ExternalID
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	wrong := identity.BadCredential.Because("the password is wrong")
	if address == "" {
		return wrong // unlinked meanwhile
	}
	ask, cancel := s.asking(ctx)
	defer cancel()
	g, err := s.guess(ctx, ask, LoginInput{Caller: caller, Email: address, Password: password})
	if err != nil {
		return err
	}
	defer s.drop(ctx, g.Refresh)
	if g.FactorDue() {
		return nil // the password was right, and is all that was asked for
	}
	who, err := s.Upstream.Account(ask, g.Access)
	if err != nil {
		return away(err)
	}
	if who.ID != id {
		return wrong // the address went to somebody else
	}
	return nil
}

// Renew is Confirm for whoever wants new tokens for it.
func (s *Service) Renew(ctx context.Context, caller identity.Caller, live *session.Live, password identity.Secret) (identity.Session, error) {
	if err := live.Herself(); err != nil {
		return identity.Session{}, err
	}
	if s.Upstream == nil || !cameFrom(live) {
		return s.SignIn.Reconfirm(ctx, caller, live.Subject.ID, live.Session.ID, password)
	}
	if err := s.Confirm(ctx, caller, live, password); err != nil {
		return identity.Session{}, err
	}
	var renewed identity.Session
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		renewed, err = s.Sessions.RenewIn(ctx, tx, caller, live.Session.ID)
		return err
	})
	return renewed, err
}

// SignOut ends a session and what it kept of the cloud. A password, where one is given, is checked first, and nothing ends if it is
// wrong. ended is false where another sign-out was first.
func (s *Service) SignOut(ctx context.Context, caller identity.Caller, live *session.Live, password identity.Secret) (ended bool, err error) {
	if password != "" {
		if err := s.Confirm(ctx, caller, live, password); err != nil {
			return false, err
		}
	}
	if ended, err = s.Sessions.End(ctx, caller, live.Session.ID, "signed out"); err == nil && ended {
		s.Ended(ctx, live.Session)
	}
	return ended, err
}
