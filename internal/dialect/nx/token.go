package nx

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/core/token"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

// Keys prints and verifies signed tokens; keys.Ring does.
type Keys interface {
	Sign(alg, typ string, claims any) (string, error)
	Verify(raw string) (keys.Verified, error)
}

const (
	tokenType = "JWT"
	audience  = "user" // of access and refresh tokens alike, so it tells nothing about the kind (nx.md 1.5)

	// maxPayload keeps `{"AccessToken":"…"}` under the 400 bytes at which the public client stops reading (nx.md 1.4): with
	// the header of 59 characters, the signature of 86 and two dots, 174 bytes print as 379 characters.
	maxPayload = 174
)

// claims are those seen in recorded tokens, and Mark. A refresh token has neither organisation nor e-mail.
type claims struct {
	Audience         string `json:"aud"`
	ExpiresAt        int64  `json:"exp"`
	Subject          string `json:"sub"`
	OrganisationUUID string `json:"OrganisationUUID,omitempty"`
	Email            string `json:"Email,omitempty"`
	Mark             string `json:"sid"`
}

// mark is what we add: kind, session and generation in one claim, because three would not fit.
type mark struct {
	kind       identity.TokenKind
	session    identity.SessionID
	generation int64
}

var (
	markLetters = map[identity.TokenKind]string{identity.AccessToken: "a", identity.RefreshToken: "r"}
	compact     = base64.RawURLEncoding.Strict()
)

const compactID = 22 // base64url characters of 16 bytes

func (m mark) String() string {
	id, err := hex.DecodeString(strings.ReplaceAll(string(m.session), "-", ""))
	if err != nil {
		return "" // not a session's id; no token with this mark is read
	}
	return markLetters[m.kind] + compact.EncodeToString(id) + strconv.FormatInt(m.generation, 36)
}

func parseMark(text string) (mark, bool) {
	if len(text) <= 1+compactID {
		return mark{}, false
	}
	var m mark
	for kind, letter := range markLetters {
		if text[:1] == letter {
			m.kind = kind
		}
	}
	id, err := compact.DecodeString(text[1 : 1+compactID])
	if err != nil || len(id) != 16 || m.kind == "" { // the decoder skips line ends
		return mark{}, false
	}
	h := hex.EncodeToString(id)
	m.session = identity.SessionID(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:])
	if m.generation, err = strconv.ParseInt(text[1+compactID:], 36, 64); err != nil || m.generation < 1 {
		return mark{}, false
	}
	return m, m.String() == text // a number has many spellings; a token has one
}

// accessToken prints one that starts its life now: it is asked for again and again between two rotations.
func (d *Dialect) accessToken(session identity.Session, subject identity.Subject) (string, error) {
	ends := d.Now().Add(d.Sessions.Rules[Door].AccessTTL)
	if session.ExpiresAt.Before(ends) {
		ends = session.ExpiresAt
	}
	c := printed(identity.AccessToken, session, ends)
	c.OrganisationUUID, c.Email = string(session.OrganisationID), subject.Email
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("marshal claims: %w", err)
	}
	if len(payload) > maxPayload {
		c.Email = ""
	}
	return d.Keys.Sign(keys.EdDSA, tokenType, c)
}

// refreshToken prints the session's newest; each print of one generation is the same.
func (d *Dialect) refreshToken(session identity.Session) (string, error) {
	return d.Keys.Sign(keys.EdDSA, tokenType, printed(identity.RefreshToken, session, session.ExpiresAt))
}

func printed(kind identity.TokenKind, session identity.Session, ends time.Time) claims {
	return claims{
		Audience: audience, ExpiresAt: ends.Unix(), Subject: string(session.SubjectID),
		Mark: mark{kind, session.ID, session.Generation}.String(),
	}
}

// Form reads this door's tokens.
type Form struct{ Keys Keys }

var _ token.Form = Form{}

// Door names the door.
func (Form) Door() identity.Door { return Door }

// Looks says at a glance whether raw might be of this form.
func (Form) Looks(raw string) bool {
	if len(raw) > token.MaxLength || strings.Count(raw, ".") != 2 {
		return false
	}
	payload, err := compact.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		return false
	}
	_, ok := parseClaims(payload)
	return ok
}

// Read verifies a token and gives what it states.
func (f Form) Read(raw string) (token.Facts, error) {
	verified, err := f.Keys.Verify(raw)
	if err != nil {
		return token.Facts{}, err
	}
	foreign := identity.TokenInvalid.Because("not a token of this door")
	if verified.Algorithm != keys.EdDSA || verified.Type != tokenType {
		return token.Facts{}, foreign
	}
	c, ok := parseClaims(verified.Payload)
	if !ok {
		return token.Facts{}, foreign
	}
	m, _ := parseMark(c.Mark)
	return token.Facts{
		// Nothing else tells two access tokens of one generation apart.
		ID:   c.Mark + "." + strconv.FormatInt(c.ExpiresAt, 36),
		Kind: m.kind, Door: Door, SessionID: m.session, SubjectID: identity.SubjectID(c.Subject),
		Audience: []string{audience}, Generation: m.generation, ExpiresAt: time.Unix(c.ExpiresAt, 0).UTC(),
	}, nil
}

func parseClaims(payload []byte) (claims, bool) {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.DisallowUnknownFields() // another door's claims
	var c claims
	if decoder.Decode(&c) != nil || c.Audience != audience || !identity.ValidID(c.Subject) {
		return claims{}, false
	}
	_, ok := parseMark(c.Mark)
	return c, ok
}
