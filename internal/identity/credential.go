package identity

import "time"

// CredentialKind names a way to prove who one is; core/signin maps it to an RFC 8176 amr value.
type CredentialKind string

const (
	Password     CredentialKind = "password"
	TOTP         CredentialKind = "totp"
	WebAuthn     CredentialKind = "webauthn"
	EmailCode    CredentialKind = "email"
	SMSCode      CredentialKind = "sms"
	RecoveryCode CredentialKind = "recovery"
)

// Credential is our stored record binding an authenticator to a subject; checked, never shown.
type Credential struct {
	ID         CredentialID
	SubjectID  SubjectID
	Kind       CredentialKind
	Hash       string   // Password: PHC or crypt string
	Sealed     []byte   // TOTP: the secret, sealed with the master key
	Target     string   // EmailCode, SMSCode: where a code goes
	Previous   []string // Password: hashes of earlier ones, newest first
	MustChange bool     // Password: to be changed at the next sign-in
	LastStep   int64    // TOTP: the newest time step that was used, so that no code works twice (RFC 6238, 5.2)
	Version    int64    // goes up by one with each change; guards writes that depend on what was read before
	CreatedAt  time.Time
	UpdatedAt  time.Time // Password: when it was set
}
