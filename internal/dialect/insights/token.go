package insights

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/token"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

// The header's typ tells the two kinds apart, and both from every other door's.
const (
	accessType  = "insights-at+jwt"
	refreshType = "insights-rt+jwt"
)

// claims are those that the vendor's clients may look for (insights.md 2.4), and ours: iss, sub, sid, gen, iat.
type claims struct {
	UserName    string             `json:"user_name"`
	Scope       []string           `json:"scope"`
	AccessID    string             `json:"ati,omitempty"` // in a refresh token: jti of the access token that it came with
	Expires     int64              `json:"exp"`
	Authorities []string           `json:"authorities"`
	ID          string             `json:"jti"`
	ClientID    identity.ClientID  `json:"client_id"`
	Issuer      string             `json:"iss"`
	Subject     identity.SubjectID `json:"sub"`
	Session     identity.SessionID `json:"sid"`
	Generation  int64              `json:"gen"`
	IssuedAt    int64              `json:"iat"`
}

// pair is what one grant prints. access and refresh share all but their kind, end and ids.
type pair struct {
	access, refresh string
	accessID        string
	accessEnds      time.Time
}

// print makes a new access token of the session, and a refresh token where none is re-used.
func (d *Dialect) print(s *identity.Session, who *profile.Profile, scopes []string, reused string) (pair, error) {
	now := d.Now()
	id, err := identity.NewID(now, d.Rand)
	if err != nil {
		return pair{}, err
	}
	p := pair{refresh: reused, accessID: id, accessEnds: now.Add(d.Sessions.Rules[Door].AccessTTL)}
	if p.accessEnds.After(s.ExpiresAt) {
		p.accessEnds = s.ExpiresAt
	}
	c := claims{
		UserName: userName(who), Scope: scopes, Expires: p.accessEnds.Unix(), Authorities: []string{"ROLE_" + userType(&who.Subject)}, ID: id,
		ClientID: s.ClientID, Issuer: d.Issuer, Subject: s.SubjectID, Session: s.ID, Generation: s.Generation, IssuedAt: now.Unix(),
	}
	if p.access, err = d.Keys.Sign(keys.ES256, accessType, &c); err != nil || reused != "" {
		return p, err
	}
	// The refresh token has the scopes of the grant: one that was narrowed once may be widened to them again (RFC 6749, section 6).
	c.Scope, c.Expires, c.AccessID = s.Scopes, s.ExpiresAt.Unix(), id
	if c.ID, err = identity.NewID(now, d.Rand); err != nil {
		return pair{}, err
	}
	p.refresh, err = d.Keys.Sign(keys.ES256, refreshType, &c)
	return p, err
}

// form reads both kinds.
type form struct {
	keys   Keys
	issuer string
}

func (form) Door() identity.Door { return Door }

// Looks: three parts, and a header that ends as ours do.
func (form) Looks(raw string) bool {
	head, rest, ok := strings.Cut(raw, ".")
	if !ok || len(head) > 256 || strings.Count(rest, ".") != 1 {
		return false
	}
	header, err := base64.RawURLEncoding.DecodeString(head)
	return err == nil && (strings.HasSuffix(string(header), `"typ":"`+accessType+`"}`) || strings.HasSuffix(string(header), `"typ":"`+refreshType+`"}`))
}

func (f form) Read(raw string) (token.Facts, error) {
	v, err := f.keys.Verify(raw)
	if err != nil {
		return token.Facts{}, err
	}
	refused := identity.TokenInvalid.Because("not a token of this door")
	var kind identity.TokenKind
	switch v.Type {
	case accessType:
		kind = identity.AccessToken
	case refreshType:
		kind = identity.RefreshToken
	default:
		return token.Facts{}, refused
	}
	var c claims
	if json.Unmarshal(v.Payload, &c) != nil || c.Issuer != f.issuer || c.Session == "" {
		return token.Facts{}, refused
	}
	return token.Facts{
		ID: c.ID, Kind: kind, Door: Door, SessionID: c.Session, SubjectID: c.Subject, ClientID: c.ClientID, Scopes: c.Scope,
		Generation: c.Generation, IssuedAt: time.Unix(c.IssuedAt, 0), ExpiresAt: time.Unix(c.Expires, 0),
	}, nil
}
