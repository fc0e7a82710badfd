package session

import (
	"cmp"
	"context"
	"errors"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
)

// ActingTTL is the longest that anybody acts as another person before she must ask again.
const ActingTTL = 8 * time.Hour

// Standing is what somebody is in an organisation, as far as acting as others goes.
type Standing int

const (
	Member        Standing = iota
	Administrator          // rules the organisation's technical side: nobody acts as one
	Owner                  // may act as members and as other owners
)

// ActInput is the wish to act as another person. What an organisation and its members are is said in a door's own words; it
// reads them for the house.
type ActInput struct {
	Caller  identity.Caller
	Session identity.SessionID // of whoever asks
	// Who it is to be: by id, or by what a door shows instead.
	Target identity.SubjectID
	Number int64
	Hash   string
	// Standing reads one of somebody's memberships in the organisation; of several the highest counts.
	Standing func(identity.Membership) Standing
	// Permits says whether the organisation lets its owners act as its members.
	Permits func(identity.Organisation) bool
}

// Act begins a session in which its subject is the target and its actor whoever asks (RFC 8693, section 1.1). It has the target's
// rights in the one organisation that the actor's session is in, and nothing that is the target's alone to change: see Herself. It
// ends with the session from which it began, when either of the two signs out, is suspended or leaves the organisation, and after
// ActingTTL. Its refusals are NotFound for whoever is not an active member there, Invalid for oneself, and Denied.
func (s *Service) Act(ctx context.Context, in ActInput) (identity.Session, error) {
	var acting identity.Session
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		acting, refusal = identity.Session{}, nil
		origin, err := s.MayEnterIn(ctx, tx, in.Caller, in.Session, "")
		if err != nil {
			return err
		}
		target, err := s.mayAct(ctx, tx, origin, in)
		if identity.KindOf(err) == identity.Internal && err != nil {
			return err
		}
		if refusal = err; refusal != nil {
			return s.Log.Record(ctx, tx, in.Caller, audit.Entry{
				Action: "impersonation.begin", Outcome: identity.KindOf(refusal).Error(), ActorID: origin.SubjectID, SubjectID: target.ID,
				SessionID: origin.ID, OrganisationID: origin.OrganisationID,
			})
		}
		organisations, err := organisationsOf(ctx, tx, target.ID)
		if err != nil {
			return err
		}
		policy, err := s.Policies.Of(ctx, tx, target, organisations)
		if err != nil {
			return err
		}
		acting, err = s.Begin(ctx, tx, Start{
			Caller: in.Caller, Subject: target, Policy: policy, ClientID: origin.ClientID, OrganisationID: origin.OrganisationID,
			AMR: origin.AMR, Scopes: origin.Scopes, Remember: origin.Remember, Origin: &origin,
		})
		if err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, in.Caller, audit.Entry{
			Action: "impersonation.begin", ActorID: origin.SubjectID, SubjectID: target.ID, SessionID: acting.ID, OrganisationID: origin.OrganisationID,
			After: map[string]any{"origin": origin.ID, "until": acting.ExpiresAt},
		})
	})
	if err != nil {
		return identity.Session{}, err
	}
	return acting, refusal
}

// mayAct gives the target, if the session's subject may act as her. Beside a refusal it is whoever was meant, if she may be known.
func (s *Service) mayAct(ctx context.Context, r identity.Reader, origin identity.Session, in ActInput) (identity.Subject, error) {
	var nobody identity.Subject
	if origin.OrganisationID == "" {
		return nobody, identity.Denied.Because("enter an organisation first")
	}
	if err := s.mayEnter(ctx, r, origin.SubjectID, origin.OrganisationID); err != nil {
		return nobody, err
	}
	organisation, err := r.Organisation(ctx, origin.OrganisationID)
	if err != nil {
		return nobody, err
	}
	standing, _, err := standingIn(ctx, r, origin.SubjectID, origin.OrganisationID, in.Standing)
	if err != nil {
		return nobody, err
	}
	if standing != Owner || !in.Permits(organisation) {
		return nobody, identity.Denied.Because("only owners of an organisation that allows it may act as others")
	}
	missing := identity.NotFound.Because("no such member")
	target, err := in.target(ctx, r)
	if errors.Is(err, identity.NotFound) {
		return nobody, missing
	}
	if err != nil {
		return nobody, err
	}
	if target.ID == origin.SubjectID {
		return target, identity.Invalid.Because("you are yourself already")
	}
	standing, member, err := standingIn(ctx, r, target.ID, origin.OrganisationID, in.Standing)
	if err != nil {
		return nobody, err
	}
	if !member || !target.Active() || !s.Rules[origin.Door].Admits(target.Kind) {
		return nobody, missing
	}
	actor, err := r.Subject(ctx, origin.SubjectID)
	if err != nil {
		return nobody, err
	}
	if standing == Administrator || target.Superadmin && !actor.Superadmin {
		return target, identity.Denied.Because("nobody may act as this person")
	}
	return target, nil
}

func (in ActInput) target(ctx context.Context, r identity.Reader) (identity.Subject, error) {
	switch {
	case in.Target != "":
		return r.Subject(ctx, in.Target)
	case in.Hash != "":
		return r.SubjectByHash(ctx, in.Hash)
	}
	return r.SubjectByNumber(ctx, in.Number)
}

// standingIn gives the highest standing of somebody's memberships in an organisation, and whether there are any.
func standingIn(ctx context.Context, r identity.Reader, id identity.SubjectID, organisation identity.OrganisationID, read func(identity.Membership) Standing) (highest Standing, member bool, err error) {
	memberships, err := r.Memberships(ctx, id)
	if err != nil {
		return 0, false, err
	}
	for _, m := range memberships {
		if m.OrganisationID == organisation {
			highest, member = max(highest, read(m)), true
		}
	}
	return highest, member, nil
}

func organisationsOf(ctx context.Context, r identity.Reader, id identity.SubjectID) ([]identity.Organisation, error) {
	memberships, err := r.Memberships(ctx, id)
	if err != nil {
		return nil, err
	}
	var all []identity.Organisation
	for _, m := range memberships { // those of one organisation stand together
		if last := len(all) - 1; last >= 0 && all[last].ID == m.OrganisationID {
			continue
		}
		o, err := r.Organisation(ctx, m.OrganisationID)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// StopActing ends a session in which somebody acts as another person and gives her own back, with a new generation. A session in
// which nobody acts comes back as it is.
func (s *Service) StopActing(ctx context.Context, caller identity.Caller, id identity.SessionID) (identity.Session, error) {
	var back identity.Session
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		gone := identity.TokenRevoked.Because("the session has ended")
		acting, err := tx.Session(ctx, id)
		if errors.Is(err, identity.NotFound) || err == nil && !acting.EndedAt.IsZero() {
			return gone
		}
		if err != nil {
			return err
		}
		if back = acting; acting.ActorID == "" {
			return nil
		}
		if ended, err := s.EndIn(ctx, tx, caller, acting, "impersonation over"); err != nil || !ended {
			return errors.Join(err, errIf(!ended, gone))
		}
		origin, err := tx.Session(ctx, acting.OriginID)
		if errors.Is(err, identity.NotFound) {
			return gone
		}
		if err != nil {
			return err
		}
		back, err = s.advance(ctx, tx, origin, s.Now())
		return err
	})
	return back, err
}

func errIf(is bool, err error) error {
	if is {
		return err
	}
	return nil
}

// SignOut ends a session at its holder's wish. Whoever acts as another person signs out altogether: her own session ends too. It
// answers false if the session had ended before.
func (s *Service) SignOut(ctx context.Context, caller identity.Caller, id identity.SessionID) (bool, error) {
	const reason = "signed out"
	var ended bool
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		ended = false
		session, err := tx.Session(ctx, id)
		if errors.Is(err, identity.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if ended, err = s.EndIn(ctx, tx, caller, session, reason); err != nil || !ended {
			return err
		}
		if session.ActorID == "" {
			return s.EndActingIn(ctx, tx, caller, identity.Acting{SubjectID: session.SubjectID}, "the person signed out")
		}
		origin, err := tx.Session(ctx, session.OriginID)
		if errors.Is(err, identity.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = s.EndIn(ctx, tx, caller, origin, reason)
		return err
	})
	return ended, err
}

// EndActingIn ends sessions in which somebody acts as another person, inside another verb's transaction.
func (s *Service) EndActingIn(ctx context.Context, tx identity.Tx, caller identity.Caller, which identity.Acting, reason string) error {
	ended, err := tx.EndActing(ctx, which, reason, s.Now())
	if err != nil {
		return err
	}
	return s.ended(ctx, tx, caller, ended, reason)
}

// ended tells other nodes and the audit log of sessions that ended.
func (s *Service) ended(ctx context.Context, tx identity.Tx, caller identity.Caller, sessions []identity.Session, reason string) error {
	for _, session := range sessions {
		if err := tx.Announce(ctx, identity.SessionChanged, string(session.ID), s.Now()); err != nil {
			return err
		}
		if err := s.Log.Record(ctx, tx, caller, audit.Entry{
			Action: "session.end", Reason: reason, SubjectID: session.SubjectID, ActorID: cmp.Or(caller.ActorID, session.ActorID), SessionID: session.ID,
			ClientID: session.ClientID, OrganisationID: session.OrganisationID,
		}); err != nil {
			return err
		}
	}
	return nil
}
