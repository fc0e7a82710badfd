package federation

import (
	"context"
	"errors"
	"strings"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/login"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/factor/federated"
	"gatehouse/internal/identity"
)

// link gives the identity to whoever asked for it while she was signed in.
func (s *Service) link(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, open flow, who federated.Identity) (Outcome, error, error) {
	if err := s.alive(ctx, tx, open.Session); err != nil {
		if errors.Is(err, identity.TicketInvalid) {
			return Outcome{}, err, nil
		}
		return Outcome{}, nil, err
	}
	out := Outcome{SubjectID: id, Linked: true}
	stands, err := tx.LinkedIdentity(ctx, who.Authority, who.ExternalID)
	switch {
	case errors.Is(err, identity.NotFound):
	case err != nil:
		return Outcome{}, nil, err
	case stands.SubjectID != id:
		return Outcome{}, ErrTaken, nil
	default:
		return out, nil, nil // hers already
	}
	herself := caller
	herself.SubjectID, herself.ActorID, herself.SessionID = id, id, open.Session
	err = s.Manage.LinkIn(ctx, tx, herself, linked(id, open.Provider, who), "linked by herself")
	if errors.Is(err, identity.Conflict) || errors.Is(err, identity.Invalid) {
		return Outcome{}, err, nil
	}
	return out, nil, err
}

func linked(id identity.SubjectID, provider string, who federated.Identity) identity.LinkedIdentity {
	return identity.LinkedIdentity{
		Authority: who.Authority, ExternalID: who.ExternalID, SubjectID: id, Provider: provider, Email: who.Email,
	}
}

// enter finds whose identity it is, or whose it becomes, and makes the token to sign in with. Whether she may is signin's to say.
func (s *Service) enter(ctx context.Context, tx identity.Tx, caller identity.Caller, p identity.IdentityProvider, who federated.Identity) (Outcome, error, error) {
	var id identity.SubjectID
	stands, err := tx.LinkedIdentity(ctx, who.Authority, who.ExternalID)
	switch {
	case err == nil:
		id = stands.SubjectID
	case !errors.Is(err, identity.NotFound):
		return Outcome{}, nil, err
	default:
		var refusal error
		if id, refusal, err = s.adopt(ctx, tx, caller, p, who); err != nil || refusal != nil {
			return Outcome{}, refusal, err
		}
	}
	if err := tx.TouchLinkedIdentity(ctx, who.Authority, who.ExternalID, s.Now()); err != nil {
		return Outcome{}, nil, err
	}
	token, err := s.SignIn.IssueIn(ctx, tx, caller, id, tokenTTL, federated.AMR)
	return Outcome{SubjectID: id, Token: token}, nil, err
}

// adopt gives an identity that nobody has to the person whose address came with it, or to a new one.
func (s *Service) adopt(ctx context.Context, tx identity.Tx, caller identity.Caller, p identity.IdentityProvider, who federated.Identity) (id identity.SubjectID, refusal, err error) {
	email := strings.TrimSpace(who.Email)
	believed := p.EmailTrust == identity.TrustAlways || p.EmailTrust == identity.TrustVerified && who.Verified
	folded, foldErr := login.Fold(email)
	if !believed || foldErr != nil || !login.ValidEmail(email) {
		return "", ErrUnverified, nil
	}
	subject, err := tx.SubjectByLogin(ctx, string(folded))
	switch {
	case errors.Is(err, identity.NotFound):
		return s.create(ctx, tx, caller, p, who, email)
	case err != nil:
		return "", nil, err
	}
	// An address that the account's owner never confirmed may have been typed by a stranger who waits for her (signup.Register); an
	// alias proves nothing about its holder either.
	own, foldErr := login.Fold(subject.Email)
	if subject.VerifiedAt.IsZero() || foldErr != nil || own != folded || !s.Sessions.Rules[caller.Door].Admits(subject.Kind) {
		return "", ErrAccountExists, nil
	}
	if !subject.Active() {
		return "", ErrNoAccount, nil
	}
	err = s.Manage.LinkIn(ctx, tx, caller, linked(subject.ID, p.Key, who), "same confirmed address")
	if errors.Is(err, identity.Conflict) || errors.Is(err, identity.Invalid) {
		return "", err, nil
	}
	return subject.ID, nil, err
}

// create makes an account without a password.
func (s *Service) create(ctx context.Context, tx identity.Tx, caller identity.Caller, p identity.IdentityProvider, who federated.Identity, email string) (identity.SubjectID, error, error) {
	if !p.CreateAccounts {
		return "", ErrNoAccount, nil
	}
	subject, err := s.Manage.CreateIn(ctx, tx, caller, manage.NewSubject{
		Email: email, Name: name(who.Name), GivenName: name(who.GivenName), FamilyName: name(who.FamilyName), Verified: true,
	})
	switch {
	case errors.Is(err, identity.Conflict):
		return "", ErrAccountExists, nil // an address that looks like this one
	case errors.Is(err, identity.Invalid):
		return "", ErrUnverified, nil
	case err != nil:
		return "", nil, err
	}
	err = s.Manage.LinkIn(ctx, tx, caller, linked(subject.ID, p.Key, who), "account made at first sign-in")
	return subject.ID, nil, err
}

// name makes what a provider says fit for a page and a mail.
func name(text string) string { return strings.TrimSpace(audit.Line(text, 200)) }

// Identities lists those of a person.
func (s *Service) Identities(ctx context.Context, id identity.SubjectID) (all []identity.LinkedIdentity, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) (err error) {
		all, err = r.LinkedIdentitiesOf(ctx, id)
		return err
	})
	return all, err
}

// Configured lists the providers.
func (s *Service) Configured(ctx context.Context) (all []identity.IdentityProvider, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) (err error) {
		all, err = r.IdentityProviders(ctx)
		return err
	})
	return all, err
}

// Unlink takes an identity away from a person and ends her sessions but the caller's own: they may rest on it. Whoever could not
// come in without it is refused with ErrOnlyWay: she, or an operator for her, sets a password first. Somebody who acts as her is
// refused too.
func (s *Service) Unlink(ctx context.Context, caller identity.Caller, id identity.SubjectID, authority, externalID string) error {
	if caller.Acting() || caller.SubjectID != "" && caller.SubjectID != id {
		return identity.Denied.Because("identities are their owner's to unlink")
	}
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		all, err := tx.LinkedIdentitiesOf(ctx, id)
		if err != nil {
			return err
		}
		found, others := false, false
		for _, l := range all {
			if l.Authority == authority && l.ExternalID == externalID {
				found = true
				continue
			}
			opens, err := s.opens(ctx, tx, l)
			if err != nil {
				return err
			}
			others = others || opens
		}
		if !found {
			return identity.NotFound.Because("this identity is not linked")
		}
		if !others {
			_, err := tx.Credential(ctx, id, identity.Password)
			if errors.Is(err, identity.NotFound) {
				return ErrOnlyWay
			}
			if err != nil {
				return err
			}
		}
		return s.Manage.UnlinkIn(ctx, tx, caller, id, authority, externalID, caller.SessionID)
	})
}

// opens says whether an identity can be signed in with now.
func (s *Service) opens(ctx context.Context, r identity.Reader, l identity.LinkedIdentity) (bool, error) {
	if l.Provider == "" {
		return true, nil // another way than ours; whoever made it answers for it
	}
	p, err := r.IdentityProvider(ctx, l.Provider)
	if errors.Is(err, identity.NotFound) {
		return false, nil
	}
	return p.SuspendedAt.IsZero(), err
}
