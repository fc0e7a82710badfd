package totp

import (
	"context"
	"time"

	"gatehouse/internal/identity"
)

// Purpose is what a credential's secret is sealed for: for itself alone, so that no row's secret serves another.
func Purpose(id identity.CredentialID) string { return "totp:" + string(id) }

// Box opens what is sealed at rest.
type Box interface {
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Factor makes the authenticator app a signin.Factor.
type Factor struct {
	Box Box
	Now func() time.Time
}

// Kind names it.
func (f *Factor) Kind() identity.CredentialKind { return identity.TOTP }

// AMR names it in tokens (RFC 8176).
func (f *Factor) AMR() string { return "otp" }

// Offer has nothing to prepare: the code is on her phone.
func (f *Factor) Offer(context.Context, identity.Tx, identity.Caller, identity.Subject, identity.Credential, time.Time) (string, bool, error) {
	return "", true, nil
}

// Check spends the code's time step, so that it works once whoever else sends it at the same moment.
func (f *Factor) Check(ctx context.Context, tx identity.Tx, c identity.Credential, _, code string) (bool, error) {
	secret, err := f.Box.Open(Purpose(c.ID), c.Sealed)
	if err != nil {
		return false, err
	}
	step, ok := Match(string(secret), code, f.Now(), c.LastStep)
	if !ok {
		return false, nil
	}
	return tx.SpendStep(ctx, c.ID, step)
}
