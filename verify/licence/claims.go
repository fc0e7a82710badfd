package licence

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// What the issuer signs with, and the typ of a licence document's header.
const (
	Algorithm = "EdDSA"
	Type      = "licence+jwt"
)

// Bounds, in bytes unless said otherwise. Claims past one of them do not marshal, so that nobody signs what no device reads.
const (
	MaxDocument     = 8 << 10 // a licence document as text
	MaxEntitlements = 256     // how many
	maxPayload      = 5800    // claims as JSON; header and signature take the rest of MaxDocument
	maxName         = 800     // 200 characters
	maxWord         = 128     // an entitlement, an agreement's kind, a key's id
	maxIssuer       = 512
	lastSecond      = 253402300799 // the year 9999 ends
)

// Claims is what a licence document says. Times have whole seconds; what is finer is cut off when they are printed.
type Claims struct {
	Issuer   string // iss: the issuer's URL
	ID       string // jti: this document's own id, at most 128 bytes; two documents of one licence differ in it
	Licence  string // licence: the licence's UUID, in lower case
	Device   string // device: UUID of the one device it is for; empty (left out): for the organisation's devices, all of them
	IssuedAt time.Time

	// Organisation is who holds the licence: organisation, a UUID, and organisation_name.
	Organisation     string
	OrganisationName string

	// AgreementKind and AgreementName say what was agreed: agreement, an object {kind, name}.
	AgreementKind string
	AgreementName string

	Entitlements []string // entitlements: what the device may do, in the agreement's words

	NotBefore   time.Time // nbf: first instant of the lease
	ExpiresAt   time.Time // exp: the lease's end; State is Valid before it
	GraceEndsAt time.Time // grace_end: not before ExpiresAt; State is InGrace from the one to the other

	// RevocationEpoch is the issuer's epoch when the document was made: a counter that starts at 0, grows with each revocation
	// and never shrinks. See Revocations.
	RevocationEpoch int64
}

// Has says whether the licence gives an entitlement.
func (c Claims) Has(entitlement string) bool {
	for _, e := range c.Entitlements {
		if e == entitlement {
			return true
		}
	}
	return false
}

type wireAgreement struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// wireClaims prints claims; reading goes by exact names, see object.
type wireClaims struct {
	Issuer           string        `json:"iss"`
	ID               string        `json:"jti"`
	Licence          string        `json:"licence"`
	Organisation     string        `json:"organisation"`
	OrganisationName string        `json:"organisation_name,omitempty"`
	Device           string        `json:"device,omitempty"`
	Agreement        wireAgreement `json:"agreement"`
	Entitlements     []string      `json:"entitlements"`
	IssuedAt         int64         `json:"iat"`
	NotBefore        int64         `json:"nbf"`
	ExpiresAt        int64         `json:"exp"`
	GraceEndsAt      int64         `json:"grace_end"`
	RevocationEpoch  int64         `json:"revocation_epoch"`
}

// MarshalJSON gives the payload of a licence document. It refuses claims that Verify would refuse as malformed.
func (c Claims) MarshalJSON() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	w := wireClaims{
		Issuer: c.Issuer, ID: c.ID, Licence: c.Licence, Organisation: c.Organisation, OrganisationName: c.OrganisationName, Device: c.Device,
		Agreement: wireAgreement{Kind: c.AgreementKind, Name: c.AgreementName}, Entitlements: c.Entitlements,
		IssuedAt: c.IssuedAt.Unix(), NotBefore: c.NotBefore.Unix(), ExpiresAt: c.ExpiresAt.Unix(), GraceEndsAt: c.GraceEndsAt.Unix(),
		RevocationEpoch: c.RevocationEpoch,
	}
	if w.Entitlements == nil {
		w.Entitlements = []string{}
	}
	payload, err := json.Marshal(w)
	if err == nil && len(payload) > maxPayload {
		err = fmt.Errorf("claims of %d bytes, %d are the most", len(payload), maxPayload)
	}
	return payload, err
}

func parseClaims(payload []byte) (Claims, error) {
	members, err := object(payload)
	if err != nil {
		return Claims{}, err
	}
	var (
		c  Claims
		at struct{ issued, notBefore, expires, grace int64 }
	)
	f := &fields{members: members}
	f.read("iss", &c.Issuer)
	f.read("jti", &c.ID)
	f.read("licence", &c.Licence)
	f.read("organisation", &c.Organisation)
	f.read("organisation_name", &c.OrganisationName)
	f.read("device", &c.Device)
	if _, named := members["device"]; named && c.Device == "" && f.err == nil {
		f.err = errors.New("device is empty") // or one bound to a device that somebody forgot to name would be for all
	}
	agreement := f.inside("agreement")
	agreement.read("kind", &c.AgreementKind)
	agreement.read("name", &c.AgreementName)
	f.read("entitlements", &c.Entitlements)
	f.read("iat", &at.issued)
	f.read("nbf", &at.notBefore)
	f.read("exp", &at.expires)
	f.read("grace_end", &at.grace)
	c.RevocationEpoch = -1
	f.read("revocation_epoch", &c.RevocationEpoch)
	if err := errors.Join(f.err, agreement.err); err != nil {
		return Claims{}, err
	}
	if c.Entitlements == nil {
		return Claims{}, errors.New("entitlements are missing")
	}
	c.IssuedAt, c.NotBefore = second(at.issued), second(at.notBefore)
	c.ExpiresAt, c.GraceEndsAt = second(at.expires), second(at.grace)
	return c, c.Validate()
}

func second(s int64) time.Time { return time.Unix(s, 0).UTC() }

// Validate says what keeps the claims from being a document's. MarshalJSON asks it.
func (c Claims) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	text := func(name, value string, least, most int) {
		if len(value) < least || len(value) > most || !utf8.ValidString(value) {
			bad("%s: must be UTF-8 text of %d to %d bytes", name, least, most)
		}
	}
	instant := func(name string, at time.Time) {
		if s := at.Unix(); s < 1 || s > lastSecond {
			bad("%s: must be a time from 1970 to 9999", name)
		}
	}
	text("iss", c.Issuer, 1, maxIssuer)
	text("jti", c.ID, 1, maxWord)
	text("organisation_name", c.OrganisationName, 0, maxName)
	text("agreement.kind", c.AgreementKind, 1, maxWord)
	text("agreement.name", c.AgreementName, 1, maxName)
	for name, id := range map[string]string{"licence": c.Licence, "organisation": c.Organisation, "device": c.Device} {
		if !isUUID(id) && !(name == "device" && id == "") {
			bad("%s: must be a UUID in lower case", name)
		}
	}
	if len(c.Entitlements) > MaxEntitlements {
		bad("entitlements: %d are the most", MaxEntitlements)
	} else {
		for _, e := range c.Entitlements {
			text("entitlements", e, 1, maxWord)
		}
	}
	instant("iat", c.IssuedAt)
	instant("nbf", c.NotBefore)
	instant("exp", c.ExpiresAt)
	instant("grace_end", c.GraceEndsAt)
	if c.ExpiresAt.Unix() <= c.NotBefore.Unix() {
		bad("exp: must be after nbf")
	}
	if c.GraceEndsAt.Unix() < c.ExpiresAt.Unix() {
		bad("grace_end: must not be before exp")
	}
	if c.RevocationEpoch < 0 {
		bad("revocation_epoch: must be 0 or more")
	}
	return errors.Join(errs...)
}

// isUUID knows the one spelling of RFC 9562 with lower-case digits.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !strings.ContainsRune("0123456789abcdef", rune(c)) {
				return false
			}
		}
	}
	return true
}
