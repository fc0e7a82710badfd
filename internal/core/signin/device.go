package signin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
)

// Devices says what a door knows of the browser that signs in.
//
// A browser in which somebody entered a code, and asked to be remembered, is given a mark. While it holds, her own wish for a code
// is met by it: the factor that she enrolled for herself, and her own switch. It is no second factor: what an organisation or a
// security policy demands is asked for each time. It is hers alone, good at one door and with one user agent, and forgotten when
// she signs out there, and when all her sessions end: with a new password, a factor less, her suspension; with a new factor too.
type Devices struct {
	Mark identity.Secret // as the browser shows it; "": none
	TTL  time.Duration   // of a new one; 0: the door's clients keep none
	// CheckStrange mails a code to whoever has no second factor and comes with a browser that is not known. A security policy that
	// switches factors off is obeyed.
	CheckStrange bool
}

// Mark is what a browser is to keep.
type Mark struct {
	Secret    identity.Secret
	ExpiresAt time.Time
}

// proofDue decides whether a code is due, in the transaction that goes on from there.
func (s *Service) proofDue(ctx context.Context, tx identity.Tx, in PasswordInput, who candidate, goal *intent) error {
	p := who.context.Policy.SecondFactor
	strange := in.Devices.CheckStrange && p != identity.FactorOff
	goal.Mailbox = who.demand == identity.FactorNeeded || who.own || strange
	if p == identity.FactorNeeded || who.demand == identity.FactorNeeded {
		goal.NeedsProof = true
		return nil
	}
	has := len(usable(who.context.Policy, nil, who.enrolled, s.Factors)) > 0
	if !who.own && !has && !strange {
		return nil
	}
	known, err := s.known(ctx, tx, in.Caller, who.context.Subject.ID, in.Devices)
	if err != nil {
		return err
	}
	goal.Device, goal.NeedsProof = known, known == nil
	return nil
}

// known gives the hash of a mark that holds, nil where it does not.
func (s *Service) known(ctx context.Context, r identity.Reader, caller identity.Caller, id identity.SubjectID, d Devices) ([]byte, error) {
	if d.Mark == "" || d.TTL == 0 {
		return nil, nil
	}
	hash := sha256.Sum256([]byte(d.Mark.Reveal()))
	held, err := r.Browser(ctx, hash[:])
	if errors.Is(err, identity.NotFound) {
		return nil, nil
	}
	if err != nil || held.SubjectID != id || held.Door != caller.Door || held.UserAgent != agent(caller) || !s.Now().Before(held.ExpiresAt) {
		return nil, err
	}
	return hash[:], nil
}

// agent is the caller's user agent as it is kept.
func agent(caller identity.Caller) string { return audit.Line(caller.UserAgent, 256) }

// mark gives the browser of a session that has begun its mark, or notes that it was seen with one.
func (s *Service) mark(ctx context.Context, tx identity.Tx, caller identity.Caller, goal intent, begun identity.Session) (*Mark, error) {
	if goal.Device != nil {
		err := tx.SeeBrowser(ctx, goal.Device, begun.ID)
		if errors.Is(err, identity.NotFound) { // with the password that she has just changed
			err = nil
		}
		return nil, err
	}
	if !goal.Marks {
		return nil, nil
	}
	var random [32]byte
	if _, err := io.ReadFull(s.Rand, random[:]); err != nil {
		return nil, err
	}
	m := &Mark{Secret: identity.Secret(base64.RawURLEncoding.EncodeToString(random[:])), ExpiresAt: s.Now().Add(goal.MarksTTL)}
	hash := sha256.Sum256([]byte(m.Secret.Reveal()))
	return m, tx.CreateBrowser(ctx, identity.Browser{
		Hash: hash[:], SubjectID: begun.SubjectID, Door: begun.Door, SessionID: begun.ID, UserAgent: agent(caller), CreatedAt: s.Now(), ExpiresAt: m.ExpiresAt,
	})
}

// Forget forgets the browsers that a session was begun in, and the one that shows a mark of its person's: she signs out there.
// Somebody who acts as another person signs out of her own session: it is her browser then, and the other's are left alone.
func (s *Service) Forget(ctx context.Context, caller identity.Caller, live *session.Live, shown identity.Secret) error {
	held := &live.Session
	whose, begun := cmp.Or(held.ActorID, held.SubjectID), cmp.Or(held.OriginID, held.ID)
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if shown != "" {
			hash := sha256.Sum256([]byte(shown.Reveal()))
			browser, err := tx.Browser(ctx, hash[:])
			if err == nil && browser.SubjectID == whose && browser.Door == caller.Door {
				err = tx.SeeBrowser(ctx, hash[:], begun)
			}
			if err != nil && !errors.Is(err, identity.NotFound) {
				return err
			}
		}
		return tx.DeleteBrowsersOf(ctx, whose, begun)
	})
}
