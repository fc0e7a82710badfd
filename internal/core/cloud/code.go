package cloud

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/url"
	"strings"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/factor/nxcloud"
	"gatehouse/internal/identity"
)

// opened is what a state remembers.
type opened struct {
	Redirect string             `json:"redirect"`
	Session  identity.SessionID `json:"session,omitempty"` // of whoever links; "": to sign in
}

// Links says whether accounts are linked here at all: where they are this house's own, there is nothing to link.
func (s *Service) Links() bool { return s.Upstream != nil }

// OpenState begins a sign-in at the cloud's page, which will send the browser back to redirect. Whether it may is asked before. With
// live it begins to link: what comes back is good for that session alone, so that nobody can have another's page finish it.
func (s *Service) OpenState(ctx context.Context, caller identity.Caller, live *session.Live, redirect string) (identity.Secret, error) {
	var subject identity.SubjectID
	memory := opened{Redirect: redirect}
	if live != nil {
		if err := live.Herself(); err != nil {
			return "", err
		}
		if !s.Links() {
			return "", ErrNoUpstream
		}
		subject, memory.Session = live.Subject.ID, live.Session.ID
	}
	secret, err := s.random()
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(secret.Reveal()))
	return secret, s.Store.Update(ctx, func(tx identity.Tx) error {
		if _, err := s.open(ctx, tx, caller, hash[:], statePurpose, subject, stateTTL, 0, memory); err != nil {
			return err
		}
		if subject == "" {
			return nil // whose it is will show: nothing is decided about anybody yet
		}
		return s.Audit.Record(ctx, tx, caller, audit.Entry{Action: statePurpose, SubjectID: subject, SessionID: memory.Session})
	})
}

// spendState gives the redirect of a state, once. a says who brings it: one that was opened to link is good for its session alone,
// and no other one is good to link.
func (s *Service) spendState(ctx context.Context, in CodeInput, a arrival) (string, error) {
	var state opened
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		state = opened{}
		t, err := s.find(ctx, tx, in.Caller, in.State, statePurpose, &state)
		if errors.Is(err, identity.NotFound) {
			return ErrState
		}
		if err != nil {
			return err
		}
		// It stays good for its own page and session: whoever saw it in an address cannot end the sign-in that it is for.
		if in.Origin != "" && !sameOrigin(in.Origin, state.Redirect) || state.Session != a.session {
			return ErrState
		}
		spent, err := tx.SpendTicket(ctx, t.ID, s.Now())
		if err != nil {
			return err
		}
		if !spent {
			return ErrState
		}
		return s.Audit.Record(ctx, tx, in.Caller, audit.Entry{Action: codeAction, SubjectID: a.subject, SessionID: a.session})
	})
	return state.Redirect, err
}

// SameState says whether a browser that arrives at the cloud's page with a state is being sent back to where that one was opened
// for. A state that this house does not know is another house's business.
func (s *Service) SameState(ctx context.Context, door identity.Door, state identity.Secret, redirect string) (same bool, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) error {
		var is opened
		_, err := s.find(ctx, r, identity.Caller{Door: door}, state, statePurpose, &is)
		if errors.Is(err, identity.NotFound) {
			same = true
			return nil
		}
		same = is.Redirect == redirect
		return err
	})
	return same, err
}

func sameOrigin(origin, address string) bool {
	a, errA := url.Parse(origin)
	b, errB := url.Parse(address)
	return errA == nil && errB == nil && Origin(a) == Origin(b)
}

// Origin is a URL's, in one spelling (RFC 6454, section 4).
func Origin(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	host = strings.TrimSuffix(host, map[string]string{"http": ":80", "https": ":443"}[scheme])
	return scheme + "://" + host
}

// CodeInput is what the browser brought back from the cloud's page.
type CodeInput struct {
	Caller identity.Caller
	Code   identity.Secret
	State  identity.Secret
	Origin string // of the page that brings it; "": not a browser's, or not said
}

// Code spends the state and exchanges the code.
func (s *Service) Code(ctx context.Context, in CodeInput) (signin.Outcome, error) {
	a := arrival{caller: in.Caller}
	redirect, err := s.spendState(ctx, in, a)
	if err != nil {
		return signin.Outcome{}, err
	}
	if s.Upstream == nil {
		elsewhere := false
		out, err := s.SignIn.Token(ctx, signin.TokenInput{
			Caller: in.Caller, Token: in.Code, From: s.Door,
			Bound: func(b signin.Bound) bool {
				elsewhere = b.Redirect != redirect
				return b.Client == s.ClientID && !elsewhere
			},
			Way: signin.Way{Landing: signin.LastOrFirst, Steps: signin.Steps{Proof: true}},
		})
		if err != nil && elsewhere {
			return out, ErrState // the state of one page with the code of another
		}
		return out, err
	}
	return s.exchange(ctx, in.Code, a)
}

// LinkByCode is Link by what a browser brought back from the cloud's page. The session that opened the state must be the one that
// spends it: a page that was made to post another's code and state would else give its user another's account.
func (s *Service) LinkByCode(ctx context.Context, live *session.Live, in CodeInput) (signin.Outcome, error) {
	if err := live.Herself(); err != nil {
		return signin.Outcome{}, err
	}
	if !s.Links() {
		return signin.Outcome{}, ErrNoUpstream
	}
	// Codes are counted by whoever links: nobody typed a login of the cloud's.
	a := arrival{caller: in.Caller, login: live.Subject.Email, subject: live.Subject.ID, session: live.Session.ID}
	if _, err := s.spendState(ctx, in, a); err != nil {
		return signin.Outcome{}, err
	}
	return s.exchange(ctx, in.Code, a)
}

// exchange has the cloud say whose code it is, and goes on from there.
func (s *Service) exchange(ctx context.Context, code identity.Secret, a arrival) (signin.Outcome, error) {
	ask, cancel := s.asking(ctx)
	defer cancel()
	g, err := s.Upstream.Code(ask, code)
	if err == nil {
		return s.arrive(ctx, ask, g, a)
	}
	refusal := away(err)
	if errors.Is(err, identity.TicketInvalid) {
		refusal = identity.BadCredential.Wrap(err)
	}
	if refuses(refusal) {
		err = s.Store.Update(ctx, func(tx identity.Tx) error { return s.refused(ctx, tx, nxcloud.Account{}, a, refusal) })
		if err != nil {
			return signin.Outcome{}, err
		}
	}
	return signin.Outcome{}, refusal
}

// PluginInput is a program that runs inside a system, with its user's refresh token of the cloud.
type PluginInput struct {
	Caller  identity.Caller
	Refresh identity.Secret
	System  string // scope of the system
}

// Plugin signs in whose refresh token it is, if she may enter the system. The token stays good.
func (s *Service) Plugin(ctx context.Context, in PluginInput) (signin.Outcome, error) {
	if s.Upstream == nil {
		cloud := in.Caller
		cloud.Door = s.Door
		parent, err := s.Sessions.Refresh(ctx, session.RefreshInput{Caller: cloud, Form: s.Form, Raw: in.Refresh.Reveal()})
		if err != nil {
			return signin.Outcome{}, err
		}
		if !covers(parent.Session.Scopes, in.System) {
			return signin.Outcome{}, ErrForbidden
		}
		return s.derive(ctx, parent, signin.TokenInput{
			Caller: in.Caller,
			Way:    signin.Way{Landing: signin.LastOrFirst, Steps: signin.Steps{Proof: true}, Admit: s.admits(in.System)},
		})
	}
	ask, cancel := s.asking(ctx)
	defer cancel()
	g, err := s.Upstream.Refresh(ask, in.Refresh, in.System)
	if err != nil {
		return signin.Outcome{}, away(err)
	}
	return s.arrive(ctx, ask, g, arrival{caller: in.Caller})
}
