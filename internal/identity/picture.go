package identity

import "time"

// Picture is a subject's portrait: nothing but an image, cleaned before it was stored.
type Picture struct {
	SubjectID SubjectID
	MediaType string
	Tag       string // changes with the bytes, and only then; for conditional requests
	Bytes     []byte
	UpdatedAt time.Time
}

// Preferences are what one door's clients remember for somebody, as JSON that only they understand.
type Preferences struct {
	SubjectID SubjectID
	Door      Door
	Data      []byte
	UpdatedAt time.Time
}
