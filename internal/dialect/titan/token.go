package titan

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/token"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

// tokenType is no other door's, so that their tokens and ours never pass for one another.
const tokenType = "titan+jwt"

// The stages of a token (titan.md 1.5).
const (
	stageFull = "full" // of a session
	stageCode = "code" // of a ticket: good for the next step only
)

// claimSet is what a token states: the contract's claims, and ours behind them.
type claimSet struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"` // the user's number
	IssuedAt  int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
	ExpiresAt int64  `json:"exp"`
	ID        string `json:"jti"` // of the session, or of the ticket
	Hub       *int64 `json:"hub"`
	Stage     string `json:"stage"`
	Real      string `json:"imp,omitempty"` // while impersonating: the number of whoever really acts

	Person     identity.SubjectID `json:"person,omitempty"` // the number is for clients; the house knows her by this
	Generation int64              `json:"gen,omitempty"`
}

// fullToken prints a session's token. Every print of one generation is the same, so that a refresh that is repeated inside the
// grace, at another node too, gets the same successor.
func (d *Dialect) fullToken(s *identity.Session, who *profile.Profile, at profile.Access, in bool, actor identity.Subject) (string, error) {
	c := claimSet{
		Issuer: d.Issuer, Subject: strconv.FormatInt(who.Subject.Number, 10), IssuedAt: s.RefreshedAt.Unix(), NotBefore: s.RefreshedAt.Unix(),
		ExpiresAt: d.Sessions.AccessEnds(*s).Unix(), ID: string(s.ID), Stage: stageFull, Person: s.SubjectID, Generation: s.Generation,
	}
	if s.ActorID != "" {
		c.Real = strconv.FormatInt(actor.Number, 10)
	}
	if in {
		c.Hub = &at.Organisation.Number
	}
	raw, err := d.Keys.Sign(keys.EdDSA, tokenType, &c)
	if err != nil {
		return "", err
	}
	if facts, ok := c.facts(); ok {
		d.Sessions.Printed(raw, facts)
	}
	return raw, nil
}

// codeToken prints a ticket's.
func (d *Dialect) codeToken(out *signin.Outcome) (string, error) {
	t := out.Ticket
	return d.Keys.Sign(keys.EdDSA, tokenType, &claimSet{
		Issuer: d.Issuer, Subject: strconv.FormatInt(out.Subject.Number, 10), IssuedAt: t.CreatedAt.Unix(), NotBefore: t.CreatedAt.Unix(),
		ExpiresAt: t.ExpiresAt.Unix(), ID: string(t.ID), Stage: stageCode,
	})
}

// form reads both.
type form struct {
	keys   Keys
	issuer string
}

var _ token.Form = form{}

func (form) Door() identity.Door { return Door }

// Looks: three parts, and a header that ends as ours do.
func (form) Looks(raw string) bool {
	head, rest, ok := strings.Cut(raw, ".")
	if !ok || len(head) > 256 || strings.Count(rest, ".") != 1 {
		return false
	}
	header, err := base64.RawURLEncoding.DecodeString(head)
	return err == nil && strings.HasSuffix(string(header), `"typ":"`+tokenType+`"}`)
}

func (f form) Read(raw string) (token.Facts, error) {
	v, err := f.keys.Verify(raw)
	if err != nil {
		return token.Facts{}, err
	}
	refused := identity.TokenInvalid.Because("not a token of this door")
	var c claimSet
	if v.Type != tokenType || v.Algorithm != keys.EdDSA || json.Unmarshal(v.Payload, &c) != nil || c.Issuer != f.issuer || !identity.ValidID(c.ID) {
		return token.Facts{}, refused
	}
	facts, ok := c.facts()
	if !ok {
		return token.Facts{}, refused
	}
	return facts, nil
}

// facts is what the claims say to the house; false: they are of no token of this door.
func (c *claimSet) facts() (token.Facts, bool) {
	facts := token.Facts{
		ID: c.ID, Kind: identity.AccessToken, Door: Door, SubjectID: c.Person, Generation: c.Generation,
		IssuedAt: time.Unix(c.IssuedAt, 0).UTC(), NotBefore: time.Unix(c.NotBefore, 0).UTC(), ExpiresAt: time.Unix(c.ExpiresAt, 0).UTC(),
	}
	switch {
	case c.Stage == stageFull && identity.ValidID(string(c.Person)) && c.Generation > 0:
		facts.SessionID = identity.SessionID(c.ID)
	case c.Stage == stageCode && c.Person == "" && c.Generation == 0:
		facts.TicketID = identity.TicketID(c.ID)
	default:
		return token.Facts{}, false
	}
	return facts, true
}
