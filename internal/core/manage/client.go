package manage

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/grant"
	"gatehouse/internal/identity"
)

// NewClient is one to be registered.
type NewClient struct {
	ID           identity.ClientID
	Name         string          // "": the id
	Public       bool            // it can keep no secret, and has none
	Secret       identity.Secret // chosen; "": made, unless Public
	SecretHash   string          // CreateClientIn only: prepared
	Grants       []string
	Scopes       []string
	RedirectURIs []string
	Audiences    []string
	SigningAlg   string
	// OrganisationID is whose program it is, and DeviceID as which device of hers it signs in; of a device alone the organisation follows.
	OrganisationID identity.OrganisationID
	DeviceID       identity.DeviceID
	Attributes     identity.Attributes
	Suspended      bool
}

// CreateClient registers one. The secret that it made is shown this once: the store holds its hash only.
func (s *Service) CreateClient(ctx context.Context, caller identity.Caller, in NewClient) (identity.Client, identity.Secret, error) {
	var made identity.Secret
	var err error
	if in.Public {
		in.SecretHash = ""
	} else if made, in.SecretHash, err = s.secret(ctx, in.Secret); err != nil {
		return identity.Client{}, "", err
	}
	client, err := update(ctx, s, func(tx identity.Tx) (identity.Client, error) { return s.CreateClientIn(ctx, tx, caller, in) })
	if err != nil {
		return identity.Client{}, "", err
	}
	return client, made, nil
}

// secret hashes a chosen secret, or makes one of 256 bits, which needs no slow hash.
func (s *Service) secret(ctx context.Context, chosen identity.Secret) (made identity.Secret, hash string, err error) {
	if chosen != "" {
		hash, err = s.Passwords.Hasher.Hash(ctx, chosen)
		return "", hash, err
	}
	var random [32]byte
	if _, err := io.ReadFull(s.Rand, random[:]); err != nil {
		return "", "", fmt.Errorf("make a client secret: %w", err)
	}
	made = identity.Secret(base64.RawURLEncoding.EncodeToString(random[:]))
	return made, grant.HashGenerated(made), nil
}

// CreateClientIn is CreateClient in the caller's transaction, with a prepared secret.
func (s *Service) CreateClientIn(ctx context.Context, tx identity.Tx, caller identity.Caller, in NewClient) (identity.Client, error) {
	now := s.Now()
	c := identity.Client{
		ID: in.ID, Name: in.Name, SecretHash: in.SecretHash, Grants: in.Grants, Scopes: in.Scopes, RedirectURIs: in.RedirectURIs,
		Audiences: in.Audiences, SigningAlg: in.SigningAlg, OrganisationID: in.OrganisationID, DeviceID: in.DeviceID, Attributes: in.Attributes,
		CreatedAt: now, UpdatedAt: now,
	}
	if in.Suspended {
		c.SuspendedAt = now
	}
	if c.Name == "" {
		c.Name = string(c.ID)
	}
	if err := CheckClient(c); err != nil {
		return c, err
	}
	if err := bound(ctx, tx, &c); err != nil {
		return c, err
	}
	// Its own tokens would name it as sub: whoever trusts them must not take it for a person (RFC 9700, section 4.15).
	if _, err := tx.Subject(ctx, identity.SubjectID(c.ID)); err == nil {
		return c, identity.Conflict.In("id", "is taken")
	} else if !errors.Is(err, identity.NotFound) {
		return c, err
	}
	if err := tx.CreateClient(ctx, c); err != nil {
		if errors.Is(err, identity.Conflict) {
			return c, identity.Conflict.In("id", "is taken")
		}
		return c, err
	}
	return c, s.finish(ctx, tx, caller, identity.ClientChanged, string(c.ID), audit.Entry{
		Action: "client.create", ClientID: c.ID, OrganisationID: c.OrganisationID, After: viewClient(c),
	})
}

// bound has a client's device and organisation stand, and belong to each other. It is asked in the transaction that writes the client,
// and a device never moves, so they go on doing so.
func bound(ctx context.Context, r identity.Reader, c *identity.Client) error {
	if c.DeviceID != "" {
		d, err := r.Device(ctx, c.DeviceID)
		switch {
		case errors.Is(err, identity.NotFound):
			return identity.Invalid.In("device", "there is no such device")
		case err != nil:
			return err
		case c.OrganisationID == "":
			c.OrganisationID = d.OrganisationID
		case c.OrganisationID != d.OrganisationID:
			return identity.Invalid.In("device", "is of another organisation")
		}
		return nil
	}
	if c.OrganisationID == "" {
		return nil
	}
	_, err := r.Organisation(ctx, c.OrganisationID)
	if errors.Is(err, identity.NotFound) {
		return identity.Invalid.In("organisation", "there is no such organisation")
	}
	return err
}

// CheckClient refuses what no client can be.
func CheckClient(c identity.Client) error {
	if err := key("id", string(c.ID)); err != nil {
		return err
	}
	if strings.Contains(string(c.ID), ":") {
		return identity.Invalid.In("id", "must not hold a colon: HTTP Basic could not carry it")
	}
	if err := line("name", c.Name, maxName); err != nil {
		return err
	}
	for _, list := range []struct {
		field  string
		values []string
	}{{"grants", c.Grants}, {"scopes", c.Scopes}, {"audiences", c.Audiences}} {
		if err := lines(list.field, list.values, maxName); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(c.Scopes, func(scope string) bool { return strings.ContainsAny(scope, " ,\"\\") }) {
		return identity.Invalid.In("scopes", "must be words (RFC 6749, section 3.3)")
	}
	if err := lines("redirect_uris", c.RedirectURIs, maxURI); err != nil {
		return err
	}
	for _, uri := range c.RedirectURIs {
		if err := redirect(uri); err != nil {
			return err
		}
	}
	if c.SigningAlg != "" && !slices.Contains([]string{"ES256", "EdDSA", "RS256"}, c.SigningAlg) {
		return identity.Invalid.In("signing_alg", "must be ES256, EdDSA or RS256")
	}
	if c.SecretHash == "" && slices.Contains(c.Grants, "client_credentials") {
		return identity.Invalid.In("secret", "is needed for client_credentials (RFC 6749, section 4.4)")
	}
	return checkAttributes(c.Attributes)
}

// redirect accepts absolute addresses without fragment (RFC 6749, section 3.1.2), and none that a browser would run.
func redirect(uri string) error {
	u, err := url.Parse(uri)
	if err != nil || !u.IsAbs() || strings.Contains(uri, "#") || strings.ContainsAny(uri, " *\\") {
		return identity.Invalid.In("redirect_uris", "must be absolute addresses without fragment or wildcard")
	}
	switch strings.ToLower(u.Scheme) {
	case "javascript", "data", "vbscript", "file", "blob", "about":
		return identity.Invalid.In("redirect_uris", "must not be of this scheme")
	case "http", "https":
		if u.Host == "" || u.User != nil {
			return identity.Invalid.In("redirect_uris", "must name a host and no user")
		}
	}
	return nil
}

// address accepts a web address.
func address(field, uri string) error {
	if err := line(field, uri, maxURI); err != nil {
		return err
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return identity.Invalid.In(field, "must be an http or https address")
	}
	return nil
}

func viewClient(c identity.Client) map[string]any {
	v := map[string]any{
		"name": c.Name, "public": c.SecretHash == "", "grants": c.Grants, "scopes": c.Scopes, "redirect_uris": c.RedirectURIs,
		"audiences": c.Audiences, "suspended": !c.SuspendedAt.IsZero(),
	}
	if c.OrganisationID != "" {
		v["organisation"] = c.OrganisationID
	}
	if c.DeviceID != "" {
		v["device"] = c.DeviceID
	}
	return v
}

// ClientChange is what is to be different; nil fields stay.
type ClientChange struct {
	Name         *string
	SecretHash   *string // prepared
	Grants       *[]string
	Scopes       *[]string
	RedirectURIs *[]string
	Audiences    *[]string
	SigningAlg   *string
	// OrganisationID and DeviceID bind it anew, "" to none. Where a device is given and no organisation, it follows from the device.
	OrganisationID *identity.OrganisationID
	DeviceID       *identity.DeviceID
	Suspended      *bool
	Attributes     identity.Attributes // as Change.Attributes
	Merge          identity.Attributes // as Change.Merge
}

// UpdateClient changes one. A change that changes nothing writes nothing. Tokens of its own that say whom it was bound to end where
// that changes.
func (s *Service) UpdateClient(ctx context.Context, caller identity.Caller, id identity.ClientID, c ClientChange) (identity.Client, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Client, error) { return s.UpdateClientIn(ctx, tx, caller, id, c) })
}

// UpdateClientIn is UpdateClient in the caller's transaction.
func (s *Service) UpdateClientIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.ClientID, change ClientChange) (identity.Client, error) {
	c, err := tx.Client(ctx, id)
	if err != nil {
		return c, err
	}
	before := c
	changed := set(&c.Name, change.Name)
	changed = set(&c.SigningAlg, change.SigningAlg) || changed
	changed = set(&c.DeviceID, change.DeviceID) || changed
	switch {
	case change.OrganisationID != nil:
		changed = set(&c.OrganisationID, change.OrganisationID) || changed
	case change.DeviceID != nil && c.DeviceID != "":
		c.OrganisationID = "" // the device's
	}
	rotated := set(&c.SecretHash, change.SecretHash)
	for _, list := range []struct{ into, value *[]string }{
		{&c.Grants, change.Grants}, {&c.Scopes, change.Scopes}, {&c.RedirectURIs, change.RedirectURIs}, {&c.Audiences, change.Audiences},
	} {
		if list.value != nil && !slices.Equal(*list.into, *list.value) {
			*list.into, changed = *list.value, true
		}
	}
	if change.Suspended != nil && *change.Suspended == c.SuspendedAt.IsZero() {
		changed, c.SuspendedAt = true, time.Time{}
		if *change.Suspended {
			c.SuspendedAt = s.Now()
		}
	}
	if c.Attributes, err = merged(c.Attributes, change.Attributes, change.Merge); err != nil {
		return c, err
	}
	if !changed && !rotated && sameAttributes(before.Attributes, c.Attributes) {
		return before, nil
	}
	if err := CheckClient(c); err != nil {
		return c, err
	}
	if c.DeviceID != "" && c.DeviceID == before.DeviceID && c.OrganisationID != before.OrganisationID {
		return c, identity.Invalid.In("organisation", "must be that of its device")
	}
	if err := bound(ctx, tx, &c); err != nil {
		return c, err
	}
	c.UpdatedAt = s.Now()
	if err := tx.UpdateClient(ctx, c); err != nil {
		return c, err
	}
	e := audit.Entry{Action: "client.update", ClientID: id, OrganisationID: c.OrganisationID, Before: viewClient(before), After: viewClient(c)}
	if rotated {
		e.Reason = "new secret"
	}
	return c, s.finish(ctx, tx, caller, identity.ClientChanged, string(id), e)
}

// RotateSecret gives a client a new secret: the one chosen, or one that it makes and shows this once. The old one stops working
// at once.
func (s *Service) RotateSecret(ctx context.Context, caller identity.Caller, id identity.ClientID, chosen identity.Secret) (identity.Secret, error) {
	made, hash, err := s.secret(ctx, chosen)
	if err != nil {
		return "", err
	}
	if _, err := s.UpdateClient(ctx, caller, id, ClientChange{SecretHash: &hash}); err != nil {
		return "", err
	}
	return made, nil
}

// DeleteClient removes one. Its tokens are refused from then on.
func (s *Service) DeleteClient(ctx context.Context, caller identity.Caller, id identity.ClientID) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.DeleteClientIn(ctx, tx, caller, id) })
}

// DeleteClientIn is DeleteClient in the caller's transaction.
func (s *Service) DeleteClientIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.ClientID) error {
	c, err := tx.Client(ctx, id)
	if err != nil {
		return err
	}
	return deleteClient(ctx, tx, s.Log, s.Now(), caller, c, "")
}

func deleteClient(ctx context.Context, tx identity.Tx, log *audit.Log, now time.Time, caller identity.Caller, c identity.Client, reason string) error {
	if err := tx.DeleteClient(ctx, c.ID); err != nil {
		return err
	}
	if err := tx.Announce(ctx, identity.ClientChanged, string(c.ID), now); err != nil {
		return err
	}
	return log.Record(ctx, tx, caller, audit.Entry{
		Action: "client.delete", Reason: reason, ClientID: c.ID, OrganisationID: c.OrganisationID, Before: viewClient(c),
	})
}

// DeleteClientsOfIn removes the clients of an organisation or, with a device, those bound to it, which is about to be deleted: a client
// goes with what it is bound to, since without it it would pass for more. core/licence deletes devices.
func DeleteClientsOfIn(ctx context.Context, tx identity.Tx, log *audit.Log, now time.Time, caller identity.Caller, org identity.OrganisationID, device identity.DeviceID) error {
	reason := "organisation deleted"
	if device != "" {
		reason = "device deleted"
	}
	for {
		page, err := tx.ClientsOf(ctx, org, device, "", memberPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, c := range page {
			if err := deleteClient(ctx, tx, log, now, caller, c, reason); err != nil {
				return err
			}
		}
	}
}
