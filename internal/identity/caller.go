package identity

// Caller is where a request comes from and on whose behalf: for counters, sessions and the audit log. A door fills it
// from the request; the command line fills it with its own door.
type Caller struct {
	Door      Door
	Address   string // client address without port; "" for the command line
	UserAgent string
	RequestID string
	// Who is signed in, where a token was shown. ActorID differs from SubjectID while impersonating.
	ActorID   SubjectID
	SubjectID SubjectID
	SessionID SessionID
	ClientID  ClientID
}
