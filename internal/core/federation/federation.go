// Package federation lets people come in by an identity of theirs at another house, and lets them link one to their account.
//
//	Link, Login ─► state ─► Start ─► the browser goes to the provider ─► Callback ─► linked, or a one-time token for signin.Token
//
// A state is a ticket: ten minutes, 256 bit, one purpose, one person and session or one browser. Start spends it and opens a flow
// under the same name, for one provider and one browser; Callback spends that. So a state that is shown twice, at another
// provider's callback, or by another browser opens nothing (RFC 9700, sections 4.4 and 4.7).
package federation

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/factor/federated"
	"gatehouse/internal/identity"
)

// Providers talk to identity providers; federated.Service does.
type Providers interface {
	Begin(ctx context.Context, r federated.Registration, state string) (address string, ch federated.Challenge, err error)
	Finish(ctx context.Context, r federated.Registration, ch federated.Challenge, a federated.Answer) (federated.Identity, error)
}

// Service is the way in by another house.
type Service struct {
	Store     identity.Store
	Manage    *manage.Service
	SignIn    *signin.Service
	Sessions  *session.Service
	Providers Providers
	Log       *audit.Log
	Box       manage.Box
	Now       func() time.Time
	Rand      io.Reader
}

const (
	statePurpose = "federation.state"
	flowPurpose  = "federation.flow"
	stateTTL     = 10 * time.Minute // of a state, and again of the flow that it starts (titan.md 3.10)
	tokenTTL     = time.Minute      // titan.md 3.11
)

// The refusals that doors have words of their own for; errors.Is finds them. All others are those of federated.Service and of the
// house.
var (
	// ErrState: unknown, spent, stale, another provider's, purpose's or browser's, or its session has ended. One answer for all.
	ErrState = identity.TicketInvalid.Because("this sign-in is no longer open; begin again")
	// ErrProvider: none of this name is in use.
	ErrProvider = identity.NotFound.Because("there is no such identity provider")
	// ErrCancelled: she did not agree at the provider, or it did not let her.
	ErrCancelled = identity.Denied.Because("the identity provider did not confirm who you are")
	// ErrTaken: the identity is another person's here.
	ErrTaken = identity.Conflict.Because("this identity is linked to another account")
	// ErrUnverified: nobody here has this identity, and the address that comes with it proves nothing.
	ErrUnverified = identity.Unverified.Because("the identity provider does not vouch for your address")
	// ErrNoAccount: nobody here has this identity or address, and no account is made.
	ErrNoAccount = identity.Denied.Because("there is no account for this identity")
	// ErrAccountExists: the address is that of an account which never showed that it is hers: she must sign in there and link.
	ErrAccountExists = identity.Conflict.Because("an account with this address exists; sign in to it and link the identity")
	// ErrOnlyWay: without this identity she could not come in.
	ErrOnlyWay = identity.Conflict.Because("this is the only way to sign in to the account")
)

// State is what a browser shows to start.
type State struct {
	Secret    identity.Secret
	Browser   identity.Secret // what the browser must show as well, kept from the page
	ExpiresAt time.Time
}

// opened is what a state remembers.
type opened struct {
	Session identity.SessionID `json:"session,omitempty"` // "": to sign in
	Browser []byte             `json:"browser"`           // hash of what the browser shows
}

// flow is what an open flow remembers.
type flow struct {
	opened
	Provider  string `json:"provider"`
	Challenge []byte `json:"challenge"` // sealed for the flow's ticket
}

// Link opens a state to link an identity to whoever is signed in.
func (s *Service) Link(ctx context.Context, caller identity.Caller, live *session.Live) (State, error) {
	if err := live.Herself(); err != nil {
		return State{}, err
	}
	return s.open(ctx, caller, live.Subject.ID, live.Session.ID)
}

// Login opens a state to sign in with.
func (s *Service) Login(ctx context.Context, caller identity.Caller) (State, error) {
	return s.open(ctx, caller, "", "")
}

func (s *Service) open(ctx context.Context, caller identity.Caller, subject identity.SubjectID, session identity.SessionID) (State, error) {
	secret, err := s.random()
	if err != nil {
		return State{}, err
	}
	browser, err := s.random()
	if err != nil {
		return State{}, err
	}
	out := State{Secret: secret, Browser: browser, ExpiresAt: s.Now().Add(stateTTL)}
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		if _, err := s.ticket(ctx, tx, caller, secret, statePurpose, subject, opened{session, hashOf("browser", browser)}); err != nil {
			return err
		}
		if subject == "" {
			return nil // whose it is will show: nothing is decided about anybody yet
		}
		return s.Log.Record(ctx, tx, caller, audit.Entry{Action: statePurpose, SubjectID: subject})
	})
	return out, err
}

// StartInput is a browser that is to be sent to a provider.
type StartInput struct {
	Caller   identity.Caller
	Provider string // key
	State    identity.Secret
	Browser  identity.Secret // what it shows; "": nothing
	// Lured says that another site sent the browser. Then a link state must come with what its browser was given, or a stranger
	// could have somebody link her identity to his account.
	Lured       bool
	RedirectURI string // of the door's callback for this provider
}

// Started is where to send the browser.
type Started struct {
	Address   string
	Browser   identity.Secret // what it must show at the callback
	ExpiresAt time.Time
}

// Start spends a state and opens the flow. A provider that cannot be asked leaves the state open. Its refusals are ErrState and
// ErrProvider, and federated.Service's.
func (s *Service) Start(ctx context.Context, in StartInput) (Started, error) {
	var t identity.Ticket
	var state opened
	var reg federated.Registration
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		if reg, err = s.registration(ctx, r, in.Provider, in.RedirectURI); err != nil {
			return err
		}
		t, err = s.find(ctx, r, in.Caller, in.State, statePurpose, &state)
		return err
	})
	if err != nil {
		return Started{}, err
	}
	browser := in.Browser
	if !shows(state.Browser, browser) {
		if state.Session == "" || in.Lured {
			return Started{}, ErrState
		}
		// The page that asked for the state may be another origin's, whose browser keeps no cookie of ours: from here on it does.
		if browser, err = s.random(); err != nil {
			return Started{}, err
		}
	}
	address, ch, err := s.Providers.Begin(ctx, reg, in.State.Reveal())
	if err != nil {
		return Started{}, err
	}
	plain, err := json.Marshal(ch)
	if err != nil {
		return Started{}, err
	}
	out := Started{Address: address, Browser: browser, ExpiresAt: s.Now().Add(stateTTL)}
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		spent, err := tx.SpendTicket(ctx, t.ID, s.Now())
		if err != nil {
			return err
		}
		if !spent {
			return ErrState
		}
		if err := s.alive(ctx, tx, state.Session); err != nil {
			return err
		}
		sealed := s.Box.Seal(sealedFor(in.State), plain)
		ticket, err := s.ticket(ctx, tx, in.Caller, in.State, flowPurpose, t.SubjectID, flow{
			opened: opened{state.Session, hashOf("browser", browser)}, Provider: in.Provider, Challenge: sealed,
		})
		if err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, in.Caller, audit.Entry{
			Action: flowPurpose, SubjectID: ticket.SubjectID, SessionID: state.Session, After: map[string]any{"provider": in.Provider},
		})
	})
	return out, err
}

// CallbackInput is what a browser brings back from a provider.
type CallbackInput struct {
	Caller      identity.Caller
	Provider    string // key: whose callback it is
	State       identity.Secret
	Browser     identity.Secret
	Code        identity.Secret
	Issuer      string // RFC 9207
	Refusal     string // error of RFC 6749, section 4.1.2.1
	RedirectURI string
}

// Outcome is linked, or a token to sign in with.
type Outcome struct {
	SubjectID identity.SubjectID
	Linked    bool
	Token     identity.Secret
}

// Callback spends the flow, asks the provider who came, and links or prepares to sign in.
func (s *Service) Callback(ctx context.Context, in CallbackInput) (Outcome, error) {
	var t identity.Ticket
	var open flow
	var reg federated.Registration
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		open, reg = flow{}, federated.Registration{}
		if t, err = s.find(ctx, tx, in.Caller, in.State, flowPurpose, &open); err != nil {
			return err
		}
		// Neither spends it: whoever stole a state must not be able to end the flow of its owner.
		if open.Provider != in.Provider || !shows(open.Browser, in.Browser) {
			return ErrState
		}
		spent, err := tx.SpendTicket(ctx, t.ID, s.Now())
		if err != nil {
			return err
		}
		if !spent {
			return ErrState
		}
		if reg, err = s.registration(ctx, tx, in.Provider, in.RedirectURI); errors.Is(err, identity.NotFound) {
			return nil // said below; the flow is spent
		}
		return err
	})
	if err != nil {
		return Outcome{}, err
	}
	who, err := s.finish(ctx, in, open, reg)
	if err != nil {
		return Outcome{}, errors.Join(err, s.refused(ctx, in, t, who, err))
	}
	var out Outcome
	var refusal error
	for try := 0; ; try++ {
		err = s.Store.Update(ctx, func(tx identity.Tx) (err error) {
			if t.SubjectID != "" {
				out, refusal, err = s.link(ctx, tx, in.Caller, t.SubjectID, open, who)
			} else {
				out, refusal, err = s.enter(ctx, tx, in.Caller, reg.Provider, who)
			}
			if err == nil && refusal != nil {
				err = s.record(ctx, tx, in, t, who, refusal)
			}
			return err
		})
		if try == 0 && errors.Is(err, identity.Conflict) {
			continue // somebody was first with the same identity or address: look again
		}
		break
	}
	if err != nil {
		return Outcome{}, err
	}
	return out, refusal
}

func (s *Service) finish(ctx context.Context, in CallbackInput, open flow, reg federated.Registration) (federated.Identity, error) {
	if reg.Provider.Key == "" {
		return federated.Identity{}, ErrProvider // taken out of use since
	}
	if in.Refusal != "" || in.Code == "" {
		return federated.Identity{}, ErrCancelled
	}
	plain, err := s.Box.Open(sealedFor(in.State), open.Challenge)
	if err != nil {
		return federated.Identity{}, fmt.Errorf("open the flow's challenge: %w", err)
	}
	var ch federated.Challenge
	if err := json.Unmarshal(plain, &ch); err != nil {
		return federated.Identity{}, err
	}
	return s.Providers.Finish(ctx, reg, ch, federated.Answer{Code: in.Code, Issuer: in.Issuer})
}

// refused records a refusal in a transaction of its own.
func (s *Service) refused(ctx context.Context, in CallbackInput, t identity.Ticket, who federated.Identity, refusal error) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.record(ctx, tx, in, t, who, refusal) })
}

func (s *Service) record(ctx context.Context, tx identity.Tx, in CallbackInput, t identity.Ticket, who federated.Identity, refusal error) error {
	action := "identity.signin"
	if t.SubjectID != "" {
		action = "identity.link"
	}
	return s.Log.Record(ctx, tx, in.Caller, audit.Entry{
		Action: action, Outcome: identity.KindOf(refusal).Error(), SubjectID: t.SubjectID, Reason: identity.Describe(refusal).Public,
		After: map[string]any{"provider": in.Provider, "authority": who.Authority, "id": who.ExternalID},
	})
}

// registration is what was agreed with a provider that is in use.
func (s *Service) registration(ctx context.Context, r identity.Reader, key, redirect string) (federated.Registration, error) {
	p, err := r.IdentityProvider(ctx, key)
	if errors.Is(err, identity.NotFound) || err == nil && !p.SuspendedAt.IsZero() {
		return federated.Registration{}, ErrProvider
	}
	if err != nil {
		return federated.Registration{}, err
	}
	secret, err := s.Manage.ProviderSecret(p)
	if err != nil {
		return federated.Registration{}, fmt.Errorf("open the client secret of provider %s: %w", key, err)
	}
	return federated.Registration{Provider: p, Secret: secret, RedirectURI: redirect}, nil
}

// alive refuses a flow whose session has ended since, or in which another acts as the person.
func (s *Service) alive(ctx context.Context, r identity.Reader, id identity.SessionID) error {
	if id == "" {
		return nil
	}
	held, err := r.Session(ctx, id)
	if errors.Is(err, identity.NotFound) || err == nil && (!held.EndedAt.IsZero() || !s.Now().Before(held.Ends()) || held.ActorID != "") {
		return ErrState
	}
	return err
}

// ticket makes one that its holder finds by the secret and the purpose.
func (s *Service) ticket(ctx context.Context, tx identity.Tx, caller identity.Caller, secret identity.Secret, purpose string, subject identity.SubjectID, memory any) (identity.Ticket, error) {
	data, err := json.Marshal(memory)
	if err != nil {
		return identity.Ticket{}, err
	}
	id, err := identity.NewID(s.Now(), s.Rand)
	if err != nil {
		return identity.Ticket{}, err
	}
	t := identity.Ticket{
		ID: identity.TicketID(id), Hash: hashOf(purpose, secret), Purpose: purpose, Door: caller.Door, SubjectID: subject, Data: data,
		CreatedAt: s.Now(), ExpiresAt: s.Now().Add(stateTTL),
	}
	return t, tx.CreateTicket(ctx, t)
}

func (s *Service) find(ctx context.Context, r identity.Reader, caller identity.Caller, secret identity.Secret, purpose string, memory any) (identity.Ticket, error) {
	t, err := r.TicketByHash(ctx, hashOf(purpose, secret))
	if errors.Is(err, identity.NotFound) {
		return t, ErrState
	}
	if err != nil {
		return t, err
	}
	if t.Purpose != purpose || t.Door != caller.Door || !t.SpentAt.IsZero() || !s.Now().Before(t.ExpiresAt) {
		return t, ErrState
	}
	return t, json.Unmarshal(t.Data, memory)
}

// hashOf keeps what one secret opens apart by purpose: the flow of a state has the state's name.
func hashOf(purpose string, secret identity.Secret) []byte {
	sum := sha256.Sum256([]byte(purpose + "\x00" + secret.Reveal()))
	return sum[:]
}

func shows(hash []byte, secret identity.Secret) bool {
	return secret != "" && subtle.ConstantTimeCompare(hash, hashOf("browser", secret)) == 1
}

func sealedFor(state identity.Secret) string {
	return "federation:" + hex.EncodeToString(hashOf(flowPurpose, state))
}

func (s *Service) random() (identity.Secret, error) {
	var b [32]byte
	if _, err := io.ReadFull(s.Rand, b[:]); err != nil {
		return "", fmt.Errorf("read randomness: %w", err)
	}
	return identity.Secret(base64.RawURLEncoding.EncodeToString(b[:])), nil
}
