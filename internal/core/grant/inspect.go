package grant

import (
	"context"
	"errors"
	"slices"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
)

// InspectScope lets a client look at tokens that are not its own and not meant for it; RevokeScope lets it revoke them. They are
// the operator's to give: least privilege for whoever can call the endpoint.
const (
	InspectScope = "introspect"
	RevokeScope  = "revoke"
)

// Introspect says what a token of any door is worth now (RFC 7662). nil without an error: not active, or not this client's to
// know, which it cannot tell apart.
func (s *Service) Introspect(ctx context.Context, client identity.Client, raw string) (*session.Live, error) {
	live, err := s.Sessions.Find(ctx, s.Forms, raw, identity.AccessToken, identity.RefreshToken)
	switch identity.KindOf(err) {
	case identity.TokenInvalid, identity.TokenExpired, identity.TokenRevoked, identity.TokenMissing:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !concerns(client, live) && !slices.Contains(client.Scopes, InspectScope) {
		return nil, nil
	}
	if spent(live) {
		return nil, nil
	}
	if stands := s.Stands[live.Token.Door]; stands != nil {
		switch err := stands(ctx, live); {
		case errors.Is(err, identity.Denied), errors.Is(err, identity.FactorRequired):
			return nil, nil
		case err != nil:
			return nil, err
		}
	}
	return live, nil
}

// spent says whether a refresh token has a successor. Inside its grace it is answered once more, but it proves nothing.
func spent(live *session.Live) bool {
	return live.Token.Kind == identity.RefreshToken && live.Token.Generation != live.Session.Generation && !live.Session.KeepsSpent
}

func concerns(client identity.Client, live *session.Live) bool {
	return live.Token.ClientID == client.ID || slices.Contains(live.Token.Audience, string(client.ID))
}

// Revoke makes a token useless (RFC 7009): a refresh token ends its session, an access token ends alone. A token that is none,
// or has ended, is no error; another client's is refused with Denied.
func (s *Service) Revoke(ctx context.Context, caller identity.Caller, client identity.Client, raw string) error {
	live, err := s.Sessions.Find(ctx, s.Forms, raw, identity.AccessToken, identity.RefreshToken)
	switch identity.KindOf(err) {
	case identity.TokenInvalid, identity.TokenExpired, identity.TokenRevoked, identity.TokenMissing:
		return nil
	}
	if err != nil {
		return err
	}
	if live.Token.ClientID != client.ID && !slices.Contains(client.Scopes, RevokeScope) {
		return identity.Denied.Because("this client may not revoke this token")
	}
	if live.Token.Kind == identity.RefreshToken {
		_, err := s.Sessions.End(ctx, caller, live.Session.ID, "revoked by client")
		return err
	}
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		now := s.Sessions.Now()
		if live.Token.Opaque != nil {
			if err := tx.DeleteOpaqueToken(ctx, live.Token.Opaque); err != nil && !errors.Is(err, identity.NotFound) {
				return err
			}
		} else if err := tx.RevokeToken(ctx, identity.RevokedToken{ID: live.Token.ID, ExpiresAt: live.Token.ExpiresAt}); err != nil {
			return err
		}
		if err := tx.Announce(ctx, identity.RevocationAdded, live.Token.ID, now); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, caller, audit.Entry{
			Action: "token.revoke", SubjectID: live.Token.SubjectID, SessionID: live.Session.ID, ClientID: client.ID,
		})
	})
}
