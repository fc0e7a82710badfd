package cloud

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/url"
	"strings"

	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
)

// opened is what a state remembers.
type opened struct {
	Redirect string `json:"redirect"`
}

// OpenState begins a sign-in at the cloud's page, which will send the browser back to redirect. Whether it may is asked before.
func (s *Service) OpenState(ctx context.Context, caller identity.Caller, redirect string) (identity.Secret, error) {
	secret, err := s.random()
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(secret.Reveal()))
	return secret, s.Store.Update(ctx, func(tx identity.Tx) error {
		_, err := s.open(ctx, tx, caller, hash[:], statePurpose, "", stateTTL, 0, opened{redirect})
		return err
	})
}

// spendState gives the redirect of a state, once.
func (s *Service) spendState(ctx context.Context, caller identity.Caller, secret identity.Secret, origin string) (string, error) {
	var state opened
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		state = opened{}
		t, err := s.find(ctx, tx, caller, secret, statePurpose, &state)
		if errors.Is(err, identity.NotFound) {
			return ErrState
		}
		if err != nil {
			return err
		}
		// It stays good for its own page: whoever saw it in an address cannot end the sign-in that it is for.
		if origin != "" && !sameOrigin(origin, state.Redirect) {
			return ErrState
		}
		spent, err := tx.SpendTicket(ctx, t.ID, s.Now())
		if err == nil && !spent {
			return ErrState
		}
		return err
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
	redirect, err := s.spendState(ctx, in.Caller, in.State, in.Origin)
	if err != nil {
		return signin.Outcome{}, err
	}
	if s.Upstream == nil {
		elsewhere := false
		out, err := s.SignIn.Token(ctx, signin.TokenInput{
			Caller: in.Caller, Token: in.Code, From: s.Door, Landing: signin.LastOrFirst, Steps: signin.Steps{Proof: true},
			Bound: func(b signin.Bound) bool {
				elsewhere = b.Redirect != redirect
				return b.Client == s.ClientID && !elsewhere
			},
		})
		if err != nil && elsewhere {
			return out, ErrState // the state of one page with the code of another
		}
		return out, err
	}
	ask, cancel := s.asking(ctx)
	defer cancel()
	g, err := s.Upstream.Code(ask, in.Code)
	if err != nil {
		if errors.Is(err, identity.TicketInvalid) {
			err = identity.BadCredential.Wrap(err)
		}
		return signin.Outcome{}, away(err)
	}
	return s.arrive(ctx, ask, g, arrival{caller: in.Caller})
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
			Caller: in.Caller, Landing: signin.LastOrFirst, Steps: signin.Steps{Proof: true}, Admit: s.admits(in.System),
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
