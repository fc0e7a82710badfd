package cloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/factor/nxcloud"
	"gatehouse/internal/identity"
)

// What follows makes this house a cloud for others: tokens for its people, whole or for one system each. They are the house's
// sessions like all others, of a door of their own, so that no other door takes them. A refresh token that was spent stays good:
// programs hand theirs to each other (nx.md 5.2, plugin), and who refreshes must not thereby end it for its owner.

// System is what accounts may enter.
type System struct {
	ID, Name, Status, Version string
	WantsFactor               bool // of everybody who enters
}

// ErrForbidden: a system that she may not enter, or a scope that is wider than what is shown.
var ErrForbidden = identity.Denied.Because("this system cannot be entered with these credentials")

// ScopeOf is the scope of a system.
func ScopeOf(system string) string { return scopePrefix + system }

const scopePrefix = "cloudSystemId="

// covers says whether one may ask with these scopes for a system's; with none one may for all.
func covers(scopes []string, asked string) bool {
	return len(scopes) == 0 || slices.ContainsFunc(scopes, func(s string) bool { return strings.EqualFold(s, asked) })
}

// systemsOf lists those of her organisations, each once.
func (s *Service) systemsOf(ctx context.Context, r identity.Reader, id identity.SubjectID) ([]System, error) {
	memberships, err := r.Memberships(ctx, id)
	if err != nil {
		return nil, err
	}
	var all []System
	seen := map[identity.OrganisationID]bool{}
	for _, m := range memberships {
		if seen[m.OrganisationID] {
			continue
		}
		seen[m.OrganisationID] = true
		o, err := r.Organisation(ctx, m.OrganisationID)
		if err != nil {
			return nil, err
		}
		if o.ExpiredAt(s.Now()) {
			continue
		}
		for _, system := range s.Systems(o) {
			if !slices.ContainsFunc(all, func(have System) bool { return strings.EqualFold(have.ID, system.ID) }) {
				all = append(all, system)
			}
		}
	}
	return all, nil
}

// admits asks whether somebody may enter the system of a scope; "": the whole cloud, for which nothing is asked.
func (s *Service) admits(scope string) func(context.Context, identity.Reader, identity.Subject) (identity.Demand, error) {
	return func(ctx context.Context, r identity.Reader, who identity.Subject) (identity.Demand, error) {
		if scope == "" {
			return "", nil
		}
		all, err := s.systemsOf(ctx, r, who.ID)
		if err != nil {
			return "", err
		}
		for _, system := range all {
			if strings.EqualFold(ScopeOf(system.ID), scope) {
				if system.WantsFactor {
					return identity.FactorNeeded, nil
				}
				return "", nil
			}
		}
		return "", ErrForbidden
	}
}

// AuthorizeInput is somebody at the cloud's page.
type AuthorizeInput struct {
	Caller   identity.Caller // at Door
	Login    string
	Password identity.Secret
	Client   string
	Redirect string
}

// Authorize takes the first step at the page. Its outcome, or Prove's, has the code for the client as Token.
func (s *Service) Authorize(ctx context.Context, in AuthorizeInput) (signin.Outcome, error) {
	return s.SignIn.Password(ctx, signin.PasswordInput{
		Caller: in.Caller, Login: in.Login, Password: in.Password,
		Hand: &signin.Bound{Client: in.Client, Redirect: in.Redirect, TTL: codeTTL},
		Way:  signin.Way{Steps: signin.Steps{Proof: true}},
	})
}

// GrantInput is what a client asks tokens for.
type GrantInput struct {
	Caller     identity.Caller // at Door
	Client     string
	Scope      string // ScopeOf a system; "": the whole cloud, or what the refresh token is for
	Attributes []byte // the door's own, for the session
}

func (in GrantInput) scopes() []string {
	if in.Scope == "" {
		return nil
	}
	return []string{in.Scope}
}

// Granted is a session to print tokens of, or a limited token that a second factor will lift.
type Granted struct {
	Session identity.Session
	Subject identity.Subject
	Limited *signin.Ticket
	// LimitedRefresh is the refresh token that goes with Limited: good as soon as that one is lifted.
	LimitedRefresh string
}

func (s *Service) granted(out signin.Outcome) Granted {
	g := Granted{Session: out.Session, Subject: out.Subject, Limited: out.Ticket}
	if g.Limited != nil {
		g.LimitedRefresh = s.refreshOf(g.Limited.Secret)
	}
	return g
}

// refreshOf is the refresh token of a limited token: worked out, so that it can be told before it is good.
func (s *Service) refreshOf(limited identity.Secret) string {
	return hex.EncodeToString(s.Box.MAC("cloud-limited", []byte(limited.Reveal())))
}

// way is that of all who ask for tokens of the cloud.
func (s *Service) way(in GrantInput) signin.Way {
	return signin.Way{Scopes: in.scopes(), KeepsSpent: true, Steps: signin.Steps{Proof: true}, Attributes: in.Attributes, Admit: s.admits(in.Scope)}
}

// GrantPassword gives tokens for a password; code is that of a second factor, if the client has asked for it already.
func (s *Service) GrantPassword(ctx context.Context, in GrantInput, login string, password identity.Secret, code string) (Granted, error) {
	out, err := s.SignIn.Password(ctx, signin.PasswordInput{
		Caller: in.Caller, Login: login, Password: password, Way: s.way(in),
	})
	if err == nil && out.Ticket != nil && code != "" {
		out, err = s.SignIn.Proof(ctx, signin.ProofInput{Caller: in.Caller, Ticket: signin.TicketRef{Secret: out.Ticket.Secret}, Code: code})
	}
	return s.granted(out), err
}

// GrantCode gives tokens for a code of the page. Of a client that names where the browser was sent, it must be there that the code was
// given for; one that names nothing ("") is bound by its id alone.
func (s *Service) GrantCode(ctx context.Context, in GrantInput, code identity.Secret, redirect string) (Granted, error) {
	out, err := s.SignIn.Token(ctx, signin.TokenInput{
		Caller: in.Caller, Token: code, Way: s.way(in),
		Bound: func(b signin.Bound) bool {
			return b.Client != "" && b.Client == in.Client && (redirect == "" || redirect == b.Redirect)
		},
	})
	return s.granted(out), err
}

// GrantRefresh gives new tokens for a refresh token. For one system of a token for the whole cloud they are another session's, which
// lives no longer than this one; a scope is never widened.
func (s *Service) GrantRefresh(ctx context.Context, in GrantInput, raw identity.Secret) (Granted, error) {
	ask := session.RefreshInput{Caller: in.Caller, Form: s.Form, Raw: raw.Reveal()}
	parent, err := s.Sessions.Refresh(ctx, ask)
	if err != nil {
		return Granted{}, err
	}
	if !covers(parent.Session.Scopes, in.Scope) && in.Scope != "" {
		return Granted{}, ErrForbidden
	}
	if in.Scope == "" || len(parent.Session.Scopes) > 0 {
		if err := s.stillEnters(ctx, parent); err != nil {
			return Granted{}, err
		}
		ask.Rotate = true
		live, err := s.Sessions.Refresh(ctx, ask)
		if err != nil {
			return Granted{}, err
		}
		return Granted{Session: live.Session, Subject: live.Subject}, nil
	}
	out, err := s.derive(ctx, parent, signin.TokenInput{
		Caller: in.Caller, Until: parent.Session.AbsoluteAt, Way: s.way(in),
	})
	return s.granted(out), err
}

// Stands asks of a token that was checked whether it is worth anything still: whoever has left since her token for one system was given
// enters it no more. Of a token for the whole cloud nothing is asked, which costs nothing.
func (s *Service) Stands(ctx context.Context, live *session.Live) error {
	if len(live.Session.Scopes) == 0 {
		return nil
	}
	return s.stillEnters(ctx, live)
}

// stillEnters asks again what was asked when a session for one system began: whoever has left meanwhile gets nothing new.
func (s *Service) stillEnters(ctx context.Context, live *session.Live) error {
	return s.Store.View(ctx, func(r identity.Reader) error {
		for _, scope := range live.Session.Scopes {
			demand, err := s.admits(scope)(ctx, r, live.Subject)
			if err != nil {
				return err
			}
			if demand == identity.FactorNeeded && !slices.Contains(live.Session.AMR, "mfa") {
				return identity.FactorRequired.Because("this system wants a second factor")
			}
		}
		return nil
	})
}

// derive signs in by a session of the cloud.
func (s *Service) derive(ctx context.Context, parent *session.Live, in signin.TokenInput) (signin.Outcome, error) {
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		in.Token, err = s.SignIn.DeriveIn(ctx, tx, in.Caller, parent.Session.ID, tokenTTL)
		return err
	})
	if err != nil {
		return signin.Outcome{}, err
	}
	return s.SignIn.Token(ctx, in)
}

// Lift makes a limited token one like all others, by a code of a second factor. Its refusals are signin.Service.Proof's.
func (s *Service) Lift(ctx context.Context, caller identity.Caller, limited identity.Secret, code string) error {
	_, err := s.SignIn.Proof(ctx, signin.ProofInput{
		Caller: caller, Ticket: signin.TicketRef{Secret: limited}, Code: code,
		Begun: func(ctx context.Context, tx identity.Tx, begun identity.Session) error {
			for kind, text := range map[identity.TokenKind]string{identity.AccessToken: limited.Reveal(), identity.RefreshToken: s.refreshOf(limited)} {
				hash := sha256.Sum256([]byte(text))
				ends := begun.ExpiresAt
				if kind == identity.AccessToken {
					ends = s.Sessions.AccessEnds(begun)
				}
				if err := tx.CreateOpaqueToken(ctx, identity.OpaqueToken{
					Hash: hash[:], SessionID: begun.ID, Kind: kind, Generation: begun.Generation, CreatedAt: begun.RefreshedAt, ExpiresAt: ends,
				}); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return err
}

// Access checks an access token of the cloud. Beside session.Service's refusals it has those of Stands.
func (s *Service) Access(ctx context.Context, raw string) (*session.Live, error) {
	live, err := s.Sessions.Check(ctx, s.Form, raw, identity.AccessToken)
	if err != nil {
		return nil, err
	}
	return live, s.Stands(ctx, live)
}

// either is a token of either kind, whether it stands or not.
func (s *Service) either(ctx context.Context, raw string) (*session.Live, error) {
	live, err := s.Sessions.Check(ctx, s.Form, raw, identity.AccessToken)
	if errors.Is(err, identity.TokenInvalid) {
		return s.Sessions.Check(ctx, s.Form, raw, identity.RefreshToken)
	}
	return live, err
}

var noToken = identity.NotFound.Because("no such token")

// Look tells somebody who shows a token about one of hers, which may be the same.
func (s *Service) Look(ctx context.Context, bearer, raw string) (*session.Live, error) {
	asks, err := s.either(ctx, bearer)
	if err == nil {
		err = s.Stands(ctx, asks)
	}
	if err != nil {
		return nil, err
	}
	live, err := s.hers(ctx, asks, raw)
	if err == nil {
		err = s.Stands(ctx, live)
	}
	if err != nil && refuses(err) {
		err = noToken
	}
	return live, err
}

// hers gives a token of somebody's, or NotFound.
func (s *Service) hers(ctx context.Context, asks *session.Live, raw string) (*session.Live, error) {
	live, err := s.either(ctx, raw)
	if err != nil && refuses(err) || err == nil && live.Subject.ID != asks.Subject.ID {
		return nil, noToken
	}
	return live, err
}

// Revoke ends the session of a token, with all of its tokens. Whoever shows a token may end it, and others of hers, be it that she
// has left the system which it is for.
func (s *Service) Revoke(ctx context.Context, caller identity.Caller, bearer, raw string) error {
	asks, err := s.either(ctx, bearer)
	if err != nil {
		return err
	}
	live, err := s.hers(ctx, asks, raw)
	if err != nil {
		return err
	}
	caller.SubjectID, caller.ActorID, caller.SessionID = live.Subject.ID, live.Subject.ID, live.Session.ID
	if _, err := s.Sessions.End(ctx, caller, live.Session.ID, "token revoked"); err != nil {
		return err
	}
	return nil
}

// SystemsFor lists what a token's holder may enter with it.
func (s *Service) SystemsFor(ctx context.Context, live *session.Live) (list []System, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) error {
		all, err := s.systemsOf(ctx, r, live.Subject.ID)
		list = slices.DeleteFunc(all, func(system System) bool { return !covers(live.Session.Scopes, ScopeOf(system.ID)) })
		return err
	})
	return list, err
}

// FactorOf says whether somebody has a second factor by which the cloud's tokens are lifted.
func (s *Service) FactorOf(ctx context.Context, id identity.SubjectID) (has bool, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) error {
		all, err := r.Credentials(ctx, id)
		has = slices.ContainsFunc(all, func(c identity.Credential) bool { return c.Kind == identity.TOTP })
		return err
	})
	return has, err
}

// AccessEnds is the end of the access token that a session prints now.
func (s *Service) AccessEnds(session identity.Session) time.Time {
	return s.Sessions.AccessEnds(session)
}

// Scope is the scope of a system by its id. An id that cannot be one is identity.Invalid.
func Scope(system string) (string, error) { return nxcloud.SystemScope(system) }
