// Package link makes the links that mails carry, and opens them again.
//
// A link is a random id and a signature. The store keeps only the id's hash: who reads it learns no link. The signature is a MAC
// under a key of the house over the id, the purpose, the door and the end: who writes to the store makes no link, and none good
// for something else or for longer. A link is spent by one guarded statement. All ways of being wrong (unknown, signed wrongly,
// spent, expired, another purpose's, another door's) get one answer, and cost the same work.
package link

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/identity"
)

// Form says what the id in a link looks like.
type Form int

const (
	Opaque Form = iota // 256 bit, base64url
	UUID               // a random UUID, 122 bit, for contracts that want one
	Hex                // 160 bit in 40 hex digits, for contracts that want those
)

// Separator stands between id and signature where a link is one word; neither has it.
const Separator = "."

// MAC is a keyed pseudo-random function with the house's own key.
type MAC interface {
	MAC(purpose string, parts ...[]byte) []byte
}

// Service makes and opens links.
type Service struct {
	Keys MAC
	Now  func() time.Time
	Rand io.Reader
}

// New is a link to be made.
type New struct {
	Purpose   string
	Door      identity.Door
	SubjectID identity.SubjectID // "": a decoy, good for nothing
	Data      []byte             // JSON of the verb that makes it; may be nil
	ExpiresAt time.Time
}

// Secret draws what a link will carry, outside of every transaction. It is not signed yet.
func (s *Service) Secret(form Form) (id string, err error) {
	if form == UUID {
		random, err := uuid.NewRandomFromReader(s.Rand)
		return random.String(), err
	}
	var random [32]byte
	if form == Hex {
		_, err = io.ReadFull(s.Rand, random[:20])
		return hex.EncodeToString(random[:20]), err
	}
	_, err = io.ReadFull(s.Rand, random[:])
	return base64.RawURLEncoding.EncodeToString(random[:]), err
}

// Make stores a link with an id that Secret gave, and says what to put into the mail: "id.signature".
func (s *Service) Make(ctx context.Context, tx identity.Tx, id string, in New) (identity.Secret, error) {
	now := s.Now()
	row, err := identity.NewID(now, s.Rand)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(id))
	t := identity.Ticket{
		ID: identity.TicketID(row), Hash: hash[:], Purpose: in.Purpose, Door: in.Door, SubjectID: in.SubjectID, Data: in.Data,
		TriesLeft: 1, CreatedAt: now, ExpiresAt: in.ExpiresAt.Truncate(time.Microsecond), // as the stores keep it
	}
	if err := tx.CreateTicket(ctx, t); err != nil {
		return "", err
	}
	return identity.Secret(id + Separator + s.sign(id, &t)), nil
}

// sign gives 64 lower-case hex digits.
func (s *Service) sign(id string, t *identity.Ticket) string {
	return hex.EncodeToString(s.Keys.MAC("link", []byte(id), []byte(t.Purpose), []byte(t.Door), strconv.AppendInt(nil, t.ExpiresAt.UnixMicro(), 10)))
}

// Refused is the one answer to whatever is no link, or no longer one.
var Refused = identity.TicketInvalid.Because("this link is no longer good; ask for a new one")

// Open gives the record of a link that is good at a door for one of the purposes. It spends nothing.
func (s *Service) Open(ctx context.Context, r identity.Reader, door identity.Door, shown identity.Secret, purposes ...string) (identity.Ticket, error) {
	id, signature, whole := strings.Cut(shown.Reveal(), Separator)
	hash := sha256.Sum256([]byte(id))
	t, err := r.TicketByHash(ctx, hash[:])
	unknown := errors.Is(err, identity.NotFound)
	if err != nil && !unknown {
		return identity.Ticket{}, err
	}
	signed := hmac.Equal([]byte(s.sign(id, &t)), []byte(signature)) // of what is unknown too: the same work
	good := signed && whole && !unknown && slices.Contains(purposes, t.Purpose) && t.Door == door && t.SubjectID != "" &&
		t.SpentAt.IsZero() && s.Now().Before(t.ExpiresAt)
	if !good {
		return identity.Ticket{}, Refused
	}
	return t, nil
}

// Spend spends a link that Open gave; whoever comes second is refused.
func (s *Service) Spend(ctx context.Context, tx identity.Tx, id identity.TicketID) error {
	spent, err := tx.SpendTicket(ctx, id, s.Now())
	if err == nil && !spent {
		err = Refused
	}
	return err
}

// Take is Open and Spend.
func (s *Service) Take(ctx context.Context, tx identity.Tx, door identity.Door, shown identity.Secret, purposes ...string) (identity.Ticket, error) {
	t, err := s.Open(ctx, tx, door, shown, purposes...)
	if err != nil {
		return t, err
	}
	return t, s.Spend(ctx, tx, t.ID)
}
