// Package cloud signs people in by accounts that a cloud knows: an upstream one, or this house, whose own people are the accounts
// then. In that case it is the cloud for others, too: it gives out tokens of a cloud, whole or for one system (issue.go).
//
//	Login, Code, Plugin ─► signed in, or a ticket ─► Proof ─► signed in
//	Link, LinkByCode (while signed in) ─► linked, or a ticket ─► Proof ─► linked
//
// Upstream accounts are joined to ours by the id that the cloud gave them, never by an address alone: a cloud that lets somebody
// have an address must not thereby let her have an account here. What the cloud says of a password or a code is counted like what
// this house says. Whom the cloud vouches for still has to pass all that the sign-in machine asks.
package cloud

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/federation"
	"gatehouse/internal/core/login"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/token"
	"gatehouse/internal/factor/federated"
	"gatehouse/internal/factor/nxcloud"
	"gatehouse/internal/identity"
)

// Authority is who knows upstream accounts, in linked identities.
const Authority = "nx"

// Service is the way in by a cloud's accounts.
type Service struct {
	Upstream   *nxcloud.Client // nil: this house's people are the accounts
	ClientID   string          // ours, in what the browser is sent with
	Store      identity.Store
	SignIn     *signin.Service
	Sessions   *session.Service
	Manage     *manage.Service
	Federation *federation.Service
	Audit      *audit.Log
	Box        Box
	Log        *slog.Logger
	Now        func() time.Time
	Wall       func() time.Time // the clock by which contexts end, whatever Now says
	Rand       io.Reader

	// As the cloud of others.
	Door    identity.Door // of the cloud's own tokens, and of its page's one-time codes
	Form    token.Form    // reads them
	Systems func(identity.Organisation) []System
}

// Box seals what is kept, and derives what can be worked out again.
type Box interface {
	manage.Box
	MAC(purpose string, parts ...[]byte) []byte
}

const (
	proofPurpose = "cloud.proof"
	statePurpose = "cloud.state"
	codeAction   = "cloud.code"     // in the audit log: a state was spent
	stateTTL     = 10 * time.Minute // nx.md 5.2
	codeTTL      = time.Minute      // nx.md 5.3
	tokenTTL     = time.Minute      // from one step of ours to the next
)

// Refusals that a door has words of its own for; errors.Is finds them. All others are signin.Service's.
var (
	// ErrState: unknown, spent, stale, or another page's. One answer for all.
	ErrState = identity.TicketInvalid.Because("this sign-in is no longer open; begin again")
	// ErrAccountExists: the account's address is that of somebody here who has not linked it.
	ErrAccountExists = identity.Conflict.Because("an account with this address exists; sign in to it and link the cloud's")
	// ErrTaken: the account is linked to somebody else here.
	ErrTaken = identity.Conflict.Because("this account of the cloud is linked to another one")
	// ErrLinked: she has linked another one.
	ErrLinked = identity.Conflict.Because("another account of the cloud is linked; unlink that one first")
	// ErrNoUpstream: the accounts are this house's, so there is nothing to link.
	ErrNoUpstream = identity.NotFound.Because("accounts are linked here with no other cloud's")
	// ErrAway is inside what an upstream cloud failed to answer; the Kind is Unavailable.
	ErrAway = errors.New("the upstream cloud")
)

// away marks what the upstream cloud is to blame for. A call that was cut off because the whole operation ran out of time is one,
// too: asking leaves time to say so.
func away(err error) error {
	if errors.Is(err, identity.Unavailable) {
		e := *identity.Describe(err)
		e.Err = errors.Join(ErrAway, e.Err)
		return &e
	}
	return err
}

// asking bounds what is spent on the cloud, so that there is time left to say that it did not answer.
func (s *Service) asking(ctx context.Context) (context.Context, context.CancelFunc) {
	ends, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, ends.Sub(s.Wall())*4/5)
}

// LoginInput is a sign-in with a password.
type LoginInput struct {
	Caller   identity.Caller
	Email    string
	Password identity.Secret
}

// Login checks a password with whoever knows the accounts.
func (s *Service) Login(ctx context.Context, in LoginInput) (signin.Outcome, error) {
	if s.Upstream == nil {
		return s.SignIn.Password(ctx, signin.PasswordInput{
			Caller: in.Caller, Login: in.Email, Password: in.Password,
			Way: signin.Way{Landing: signin.LastOrFirst, Steps: signin.Steps{Proof: true}},
		})
	}
	return s.password(ctx, in, arrival{caller: in.Caller, login: in.Email})
}

// password asks the cloud, and goes on from there.
func (s *Service) password(ctx context.Context, in LoginInput, a arrival) (signin.Outcome, error) {
	ask, cancel := s.asking(ctx)
	defer cancel()
	g, err := s.guess(ctx, ask, in)
	if err != nil {
		return signin.Outcome{}, err
	}
	return s.arrive(ctx, ask, g, a)
}

// guess has the cloud judge a password and counts what it says.
func (s *Service) guess(ctx, ask context.Context, in LoginInput) (nxcloud.Grant, error) {
	guess := signin.Guess{Caller: in.Caller, Login: in.Email}
	if err := s.SignIn.MayGuess(ctx, guess); err != nil {
		return nxcloud.Grant{}, err
	}
	g, err := s.Upstream.Password(ask, in.Email, in.Password, "")
	right := err == nil || refuses(err) && !errors.Is(err, identity.BadCredential)
	if !right && !errors.Is(err, identity.BadCredential) {
		return nxcloud.Grant{}, away(err)
	}
	var refusal error
	wrong := err
	if err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		refusal, err = s.SignIn.GuessedIn(ctx, tx, guess, right)
		return err
	}); err != nil {
		return nxcloud.Grant{}, err
	}
	if refusal != nil {
		return nxcloud.Grant{}, refusal
	}
	return g, wrong
}

// arrival is somebody whom the cloud let in, on her way in here.
type arrival struct {
	caller  identity.Caller
	login   string             // as typed; "": none was
	subject identity.SubjectID // who links; "": signs in
	session identity.SessionID // of whoever links
	ticket  identity.TicketID  // that her last step spends; "": she came in one
	amr     []string
	refresh identity.Secret // of the cloud, kept with the session
}

// arrive asks whose token it is, and lets her in; while a second factor is due she gets a ticket.
func (s *Service) arrive(ctx, ask context.Context, g nxcloud.Grant, a arrival) (signin.Outcome, error) {
	a.amr, a.refresh = []string{federated.AMR}, g.Refresh
	if g.FactorDue() {
		return s.wait(ctx, g, a)
	}
	who, err := s.Upstream.Account(ask, g.Access)
	if err != nil {
		return signin.Outcome{}, away(err)
	}
	return s.enter(ctx, who, a)
}

// waiting is what a ticket remembers until the code comes.
type waiting struct {
	Login   string             `json:"login"`
	Limited []byte             `json:"limited"` // the cloud's tokens, sealed for the ticket
	Refresh []byte             `json:"refresh,omitempty"`
	Session identity.SessionID `json:"session,omitempty"`
}

func sealedFor(hash []byte) string { return "cloud-proof:" + hex.EncodeToString(hash) }

// wait makes the ticket for the code step. It holds what the cloud gave, sealed: nobody else ever sees that.
func (s *Service) wait(ctx context.Context, g nxcloud.Grant, a arrival) (signin.Outcome, error) {
	secret, err := s.random()
	if err != nil {
		return signin.Outcome{}, err
	}
	hash := sha256.Sum256([]byte(secret.Reveal()))
	limits := s.SignIn.Limits
	w := waiting{Login: a.login, Session: a.session, Limited: s.Box.Seal(sealedFor(hash[:]), []byte(g.Limited.Reveal()))}
	if g.Refresh != "" {
		w.Refresh = s.Box.Seal(sealedFor(hash[:]), []byte(g.Refresh.Reveal()))
	}
	out := signin.Outcome{Ticket: &signin.Ticket{
		Secret: secret, Purpose: proofPurpose, Factors: []identity.CredentialKind{identity.TOTP}, TriesLeft: limits.TicketTries,
	}}
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		t, err := s.open(ctx, tx, a.caller, hash[:], proofPurpose, a.subject, limits.TicketTTL, limits.TicketTries, w)
		if err != nil {
			return err
		}
		out.Ticket.ID, out.Ticket.CreatedAt, out.Ticket.ExpiresAt = t.ID, t.CreatedAt, t.ExpiresAt
		return s.Audit.Record(ctx, tx, a.caller, audit.Entry{Action: proofPurpose, SubjectID: a.subject, SessionID: a.session})
	})
	return out, err
}

// open makes a ticket that its holder finds by a hash.
func (s *Service) open(ctx context.Context, tx identity.Tx, caller identity.Caller, hash []byte, purpose string, subject identity.SubjectID, ttl time.Duration, tries int, memory any) (identity.Ticket, error) {
	data, err := json.Marshal(memory)
	if err != nil {
		return identity.Ticket{}, err
	}
	id, err := identity.NewID(s.Now(), s.Rand)
	if err != nil {
		return identity.Ticket{}, err
	}
	t := identity.Ticket{
		ID: identity.TicketID(id), Hash: hash, Purpose: purpose, Door: caller.Door, SubjectID: subject, Data: data, TriesLeft: tries,
		CreatedAt: s.Now(), ExpiresAt: s.Now().Add(ttl),
	}
	return t, tx.CreateTicket(ctx, t)
}

// find gives an open ticket, or NotFound.
func (s *Service) find(ctx context.Context, r identity.Reader, caller identity.Caller, secret identity.Secret, purpose string, memory any) (identity.Ticket, error) {
	hash := sha256.Sum256([]byte(secret.Reveal()))
	t, err := r.TicketByHash(ctx, hash[:])
	if err != nil {
		return t, err
	}
	if t.Purpose != purpose || t.Door != caller.Door || !t.SpentAt.IsZero() || !s.Now().Before(t.ExpiresAt) {
		return t, identity.NotFound
	}
	return t, json.Unmarshal(t.Data, memory)
}

func (s *Service) random() (identity.Secret, error) {
	var b [32]byte
	if _, err := io.ReadFull(s.Rand, b[:]); err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}
	return identity.Secret(base64.RawURLEncoding.EncodeToString(b[:])), nil
}

// ProofInput is the code step.
type ProofInput struct {
	Caller identity.Caller
	Ticket identity.Secret
	Code   string
}

// Proof takes the second factor: this house's, or the cloud's where that is whom the ticket waits for. A link that it finishes has
// neither session nor ticket in its outcome.
func (s *Service) Proof(ctx context.Context, in ProofInput) (signin.Outcome, error) {
	var t identity.Ticket
	var w waiting
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		t, err = s.find(ctx, r, in.Caller, in.Ticket, proofPurpose, &w)
		return err
	})
	if errors.Is(err, identity.NotFound) {
		return s.SignIn.Proof(ctx, signin.ProofInput{Caller: in.Caller, Ticket: signin.TicketRef{Secret: in.Ticket}, Code: in.Code})
	}
	if err != nil {
		return signin.Outcome{}, err
	}
	guess := signin.Guess{Caller: in.Caller, Login: w.Login}
	left, err := s.try(ctx, t, guess)
	if err != nil {
		return signin.Outcome{}, err
	}
	limited, err := s.Box.Open(sealedFor(t.Hash), w.Limited)
	if err != nil {
		return signin.Outcome{}, fmt.Errorf("open the cloud's limited token: %w", err)
	}
	ask, cancel := s.asking(ctx)
	defer cancel()
	err = s.Upstream.TOTP(ask, identity.Secret(limited), in.Code)
	right := err == nil
	if !right && !errors.Is(err, identity.BadCode) {
		return signin.Outcome{}, away(err)
	}
	if err := s.Store.Update(ctx, func(tx identity.Tx) error { return s.SignIn.GuessedCodeIn(ctx, tx, guess, right) }); err != nil {
		return signin.Outcome{}, err
	}
	if !right {
		return signin.Outcome{}, &identity.Error{Kind: identity.BadCode, Public: "the code is wrong or was used before", TriesLeft: left}
	}
	who, err := s.Upstream.Account(ask, identity.Secret(limited))
	if err != nil {
		return signin.Outcome{}, away(err)
	}
	a := arrival{
		caller: in.Caller, login: w.Login, subject: t.SubjectID, session: w.Session, ticket: t.ID, amr: []string{federated.AMR, "otp", "mfa"},
	}
	if w.Refresh != nil {
		refresh, err := s.Box.Open(sealedFor(t.Hash), w.Refresh)
		if err != nil {
			return signin.Outcome{}, fmt.Errorf("open the cloud's refresh token: %w", err)
		}
		a.refresh = identity.Secret(refresh)
	}
	return s.enter(ctx, who, a)
}

var ticketRefused = identity.TicketInvalid.Because("this step is no longer open; sign in again")

// try takes one try from a ticket, before the cloud is asked.
func (s *Service) try(ctx context.Context, t identity.Ticket, guess signin.Guess) (left int, err error) {
	var refusal error
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		refusal = nil
		n, tried, err := tx.TryTicket(ctx, t.ID, s.Now())
		if err != nil {
			return err
		}
		if left = n; !tried {
			return ticketRefused
		}
		refusal, err = s.SignIn.MayGuessCodeIn(ctx, tx, guess)
		return err
	})
	if err != nil {
		return 0, err
	}
	return left, refusal
}

// enter lets in whom the cloud vouches for, or links her.
func (s *Service) enter(ctx context.Context, who nxcloud.Account, a arrival) (signin.Outcome, error) {
	var pass identity.Secret
	var refusal error
	var err error
	for try := 0; ; try++ {
		err = s.Store.Update(ctx, func(tx identity.Tx) (err error) {
			pass, refusal = "", nil
			if a.ticket != "" {
				spent, err := tx.SpendTicket(ctx, a.ticket, s.Now())
				if err != nil {
					return err
				}
				if !spent {
					return ticketRefused
				}
			}
			if a.subject != "" {
				refusal, err = s.link(ctx, tx, who, a)
			} else {
				pass, refusal, err = s.admit(ctx, tx, who, a)
			}
			if err == nil && refusal != nil {
				err = s.refused(ctx, tx, who, a, refusal)
			}
			return err
		})
		if try == 0 && errors.Is(err, identity.Conflict) {
			continue // somebody was first with the same account or address: look again
		}
		break
	}
	if err == nil {
		err = refusal
	}
	if err != nil || a.subject != "" {
		s.drop(ctx, a.refresh) // nobody will use what the cloud gave
		return signin.Outcome{}, err
	}
	attributes, err := s.keep(a.refresh)
	if err != nil {
		return signin.Outcome{}, err
	}
	out, err := s.SignIn.Token(ctx, signin.TokenInput{
		Caller: a.caller, Token: pass,
		Way: signin.Way{Landing: signin.LastOrFirst, Steps: signin.Steps{Proof: true}, Attributes: attributes},
	})
	if err != nil {
		s.drop(ctx, a.refresh)
	}
	return out, err
}

func (s *Service) refused(ctx context.Context, tx identity.Tx, who nxcloud.Account, a arrival, refusal error) error {
	action := "identity.signin"
	if a.subject != "" {
		action = "identity.link"
	}
	return s.Audit.Record(ctx, tx, a.caller, audit.Entry{
		Action: action, Outcome: identity.KindOf(refusal).Error(), SubjectID: a.subject, Reason: identity.Describe(refusal).Public,
		After: map[string]any{"authority": Authority, "id": who.ID},
	})
}

// admit finds whose account it is, or makes one here, and gives a token to sign in with.
func (s *Service) admit(ctx context.Context, tx identity.Tx, who nxcloud.Account, a arrival) (pass identity.Secret, refusal, err error) {
	stands, err := tx.LinkedIdentity(ctx, Authority, who.ID)
	id := stands.SubjectID
	if errors.Is(err, identity.NotFound) {
		id, refusal, err = s.create(ctx, tx, who, a.caller)
	}
	if err != nil || refusal != nil {
		return "", refusal, err
	}
	if err := tx.TouchLinkedIdentity(ctx, Authority, who.ID, s.Now()); err != nil {
		return "", nil, err
	}
	pass, err = s.SignIn.IssueIn(ctx, tx, a.caller, id, tokenTTL, a.amr...)
	return pass, nil, err
}

// create makes an account without a password for one that nobody here has.
func (s *Service) create(ctx context.Context, tx identity.Tx, who nxcloud.Account, caller identity.Caller) (id identity.SubjectID, refusal, err error) {
	folded, err := login.Fold(who.Email)
	if err != nil || !login.ValidEmail(who.Email) {
		return "", identity.Unverified.Because("the cloud gave no address that can be used"), nil
	}
	if _, err := tx.SubjectByLogin(ctx, string(folded)); err == nil {
		return "", ErrAccountExists, nil
	} else if !errors.Is(err, identity.NotFound) {
		return "", nil, err
	}
	// An account of the cloud is activated by a link in a mail, so the address is hers.
	subject, err := s.Manage.CreateIn(ctx, tx, caller, manage.NewSubject{
		Email: who.Email, Name: strings.TrimSpace(audit.Line(who.Name, 200)), Verified: true,
	})
	switch {
	case errors.Is(err, identity.Conflict):
		return "", ErrAccountExists, nil // an address that looks like this one
	case err != nil:
		return "", nil, err
	}
	return subject.ID, nil, s.Manage.LinkIn(ctx, tx, caller, linked(subject.ID, who), "account made at first sign-in")
}

func linked(id identity.SubjectID, who nxcloud.Account) identity.LinkedIdentity {
	return identity.LinkedIdentity{Authority: Authority, ExternalID: who.ID, SubjectID: id, Email: who.Email}
}

// refuses says whether err is an answer to the request rather than trouble in the house or in the cloud.
func refuses(err error) bool {
	k := identity.KindOf(err)
	return k != identity.Internal && k != identity.Unavailable && k != identity.Busy
}
