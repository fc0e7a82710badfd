package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/token"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

// accessType is the header's typ; no other door has it (RFC 9068, section 2.1).
const accessType = "at+jwt"

// accessClaims are an access token's (RFC 9068, section 2.2).
type accessClaims struct {
	Issuer   string             `json:"iss"`
	Subject  string             `json:"sub"` // the client itself where it asked for itself
	Audience any                `json:"aud"` // a string, or several in a list
	ClientID identity.ClientID  `json:"client_id"`
	Expires  int64              `json:"exp"`
	IssuedAt int64              `json:"iat"`
	ID       string             `json:"jti"`
	Scope    string             `json:"scope,omitempty"`
	Session  identity.SessionID `json:"sid,omitempty"`
	AuthTime int64              `json:"auth_time,omitempty"`
	AMR      []string           `json:"amr,omitempty"`
	Actor    *actor             `json:"act,omitempty"`
	// Ours: the organisation that she uses; of a client's own token whose program it is, and as which device of hers it signed in.
	Organisation identity.OrganisationID `json:"org,omitempty"`
	Device       identity.DeviceID       `json:"device,omitempty"`
	// Entitlements are ours: what her organisation, or the device, is licensed for. Left out where there is no room; introspection has all.
	Entitlements []string `json:"entitlements,omitempty"`
}

// actor is who really acts (RFC 8693, section 4.1).
type actor struct {
	Subject identity.SubjectID `json:"sub"`
}

func actorOf(s *identity.Session) *actor {
	if s.ActorID == "" {
		return nil
	}
	return &actor{s.ActorID}
}

// signingAlg is the client's choice, or the house's.
func signingAlg(client identity.Client) string {
	if client.SigningAlg != "" {
		return client.SigningAlg
	}
	return keys.ES256
}

// audienceOf is whom the client's tokens are for; without a word on that, the issuer (RFC 9068, section 3).
func (d *Dialect) audienceOf(client identity.Client) any {
	switch len(client.Audiences) {
	case 0:
		return d.Issuer
	case 1:
		return client.Audiences[0]
	}
	return client.Audiences
}

// printOwn prints a client's own token. Nothing is stored: it is good until its end, or until its jti is revoked.
func (d *Dialect) printOwn(ctx context.Context, client identity.Client, scope string, now, ends time.Time) (string, error) {
	entitlements, err := d.entitlements(ctx, licence.Holder{OrganisationID: client.OrganisationID, DeviceID: client.DeviceID})
	if err != nil {
		return "", err
	}
	id, err := identity.NewID(now, d.Rand)
	if err != nil {
		return "", err
	}
	return d.Keys.Sign(signingAlg(client), accessType, &accessClaims{
		Issuer: d.Issuer, Subject: string(client.ID), Audience: d.audienceOf(client), ClientID: client.ID,
		Expires: ends.Unix(), IssuedAt: now.Unix(), ID: id, Scope: scope,
		Organisation: client.OrganisationID, Device: client.DeviceID, Entitlements: inToken(entitlements),
	})
}

// printAccess prints the access token of a session's generation. Every print of one generation has the same jti and times, so
// that revoking one revokes its twin that answered a repeated request.
func (d *Dialect) printAccess(ctx context.Context, client identity.Client, s *identity.Session, scope string, ends time.Time) (string, error) {
	entitlements, err := d.entitlements(ctx, licence.Holder{SubjectID: s.SubjectID, OrganisationID: s.OrganisationID})
	if err != nil {
		return "", err
	}
	return d.Keys.Sign(signingAlg(client), accessType, &accessClaims{
		Issuer: d.Issuer, Subject: string(s.SubjectID), Audience: d.audienceOf(client), ClientID: client.ID,
		Expires: ends.Unix(), IssuedAt: s.RefreshedAt.Unix(), ID: accessID(s), Scope: scope,
		Session: s.ID, AuthTime: s.AuthenticatedAt.Unix(), AMR: s.AMR, Actor: actorOf(s),
		Organisation: s.OrganisationID, Entitlements: inToken(entitlements),
	})
}

func (d *Dialect) entitlements(ctx context.Context, of licence.Holder) ([]string, error) {
	if d.Entitlements == nil {
		return nil, nil
	}
	return d.Entitlements(ctx, of)
}

// maxEntitlements is the room that a token has for them, in bytes: it travels in a header of every request.
const maxEntitlements = 2 << 10

func inToken(entitlements []string) []string {
	size := 0
	for _, word := range entitlements {
		if size += len(word) + 3; size > maxEntitlements {
			return nil // a part would be taken for the whole
		}
	}
	return entitlements
}

// form reads access tokens, which are signed, and refresh tokens, which the store knows by their hash.
type form struct {
	keys   Keys
	issuer string
}

func (form) Door() identity.Door { return Door }

func (form) Looks(raw string) bool { return isOpaque(raw) || isAccess(raw) }

func (f form) Read(raw string) (token.Facts, error) {
	if isOpaque(raw) {
		hash := sha256.Sum256([]byte(raw))
		return token.Facts{Door: Door, Opaque: hash[:]}, nil
	}
	refused := identity.TokenInvalid.Because("not a token of this door")
	if !isAccess(raw) {
		return token.Facts{}, refused
	}
	v, err := f.keys.Verify(raw)
	if err != nil {
		return token.Facts{}, err
	}
	var c accessClaims
	if v.Type != accessType || json.Unmarshal(v.Payload, &c) != nil || c.Issuer != f.issuer {
		return token.Facts{}, refused
	}
	facts := token.Facts{
		ID: c.ID, Kind: identity.AccessToken, Door: Door, SessionID: c.Session, ClientID: c.ClientID, Scopes: strings.Fields(c.Scope),
		Audience: audienceIn(c.Audience), IssuedAt: time.Unix(c.IssuedAt, 0), ExpiresAt: time.Unix(c.Expires, 0),
	}
	switch {
	case c.Session != "":
		facts.SubjectID = identity.SubjectID(c.Subject)
		return facts, nil
	case c.Subject != string(c.ClientID):
		return token.Facts{}, refused // a client's own token is about the client (RFC 9068, section 2.2)
	}
	facts.OrganisationID, facts.DeviceID = c.Organisation, c.Device
	return facts, nil
}

func audienceIn(claim any) []string {
	switch a := claim.(type) {
	case string:
		return []string{a}
	case []any:
		var list []string
		for _, v := range a {
			if s, ok := v.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// isOpaque: 64 lower-case hex digits (session.Service.Opaque).
func isOpaque(raw string) bool {
	if len(raw) != 2*sha256.Size {
		return false
	}
	for i := range len(raw) {
		if c := raw[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isAccess: three parts, and a header that ends as ours do.
func isAccess(raw string) bool {
	head, rest, ok := strings.Cut(raw, ".")
	if !ok || len(head) > 256 || strings.Count(rest, ".") != 1 {
		return false
	}
	header, err := base64.RawURLEncoding.DecodeString(head)
	return err == nil && strings.HasSuffix(string(header), `"typ":"`+accessType+`"}`)
}

func accessID(s *identity.Session) string {
	return string(s.ID) + "." + strconv.FormatInt(s.Generation, 10)
}
