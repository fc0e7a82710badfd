package licence

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// RevocationsType is the typ of a revocation list's header.
const RevocationsType = "licence-revocations+jwt"

// Bounds of a revocation list.
const (
	MaxRevocations     = 4 << 20 // bytes of the document as text
	MaxRevocationLines = 50_000  // licences and organisations together
)

// Revocations is a revocation list: a document is revoked when its own epoch is below the one that the list gives for its licence or
// its organisation.
//
// The issuer keeps one epoch, a counter. Revoking raises it, and the new value is what the list gives for what was revoked;
// documents made later carry that value or more and count again, so that a licence that is given back needs no other id. A line may be left out
// once all documents that it revokes are past their grace.
type Revocations struct {
	Issuer        string           // iss: the issuer's URL
	IssuedAt      time.Time        // iat: when the list was made, whole seconds
	Epoch         int64            // epoch: the issuer's when the list was made; the greater one is the newer list
	Licences      map[string]int64 // licences: UUID → least epoch that counts
	Organisations map[string]int64 // organisations: the same for every licence of an organisation
}

type wireRevocations struct {
	Issuer        string           `json:"iss"`
	IssuedAt      int64            `json:"iat"`
	Epoch         int64            `json:"epoch"`
	Licences      map[string]int64 `json:"licences"`
	Organisations map[string]int64 `json:"organisations"`
}

// MarshalJSON gives the payload of a list. It refuses one that ParseRevocations would refuse.
func (r Revocations) MarshalJSON() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	w := wireRevocations{
		Issuer: r.Issuer, IssuedAt: r.IssuedAt.Unix(), Epoch: r.Epoch, Licences: r.Licences, Organisations: r.Organisations,
	}
	if w.Licences == nil {
		w.Licences = map[string]int64{}
	}
	if w.Organisations == nil {
		w.Organisations = map[string]int64{}
	}
	return json.Marshal(w)
}

// Validate says what keeps r from being a list.
func (r Revocations) Validate() error {
	if r.Issuer == "" || len(r.Issuer) > maxIssuer {
		return fmt.Errorf("iss: must be text of 1 to %d bytes", maxIssuer)
	}
	if s := r.IssuedAt.Unix(); s < 1 || s > lastSecond {
		return errors.New("iat: must be a time from 1970 to 9999")
	}
	if r.Epoch < 0 {
		return errors.New("epoch: must be 0 or more")
	}
	if n := len(r.Licences) + len(r.Organisations); n > MaxRevocationLines {
		return fmt.Errorf("%d lines, %d are the most", n, MaxRevocationLines)
	}
	for _, lines := range []map[string]int64{r.Licences, r.Organisations} {
		for id, least := range lines {
			if !isUUID(id) {
				return fmt.Errorf("%.40q: must be a UUID in lower case", id)
			}
			if least < 1 || least > r.Epoch {
				return fmt.Errorf("%s: its epoch must be from 1 to the list's own", id)
			}
		}
	}
	return nil
}

// ParseRevocations reads a revocation list and checks its signature, once. It is then for Verifier.Revocations, which also
// refuses a list older than one it has seen.
func ParseRevocations(list string, keys *Keys) (*Revocations, error) {
	if keys == nil {
		return nil, errors.New("licence: no keys")
	}
	payload, err := keys.open(list, RevocationsType, MaxRevocations)
	if err != nil {
		return nil, err
	}
	members, err := object(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	r := Revocations{Epoch: -1}
	var issued int64
	f := &fields{members: members}
	f.read("iss", &r.Issuer)
	f.read("iat", &issued)
	f.read("epoch", &r.Epoch)
	f.read("licences", &r.Licences)
	f.read("organisations", &r.Organisations)
	r.IssuedAt = second(issued)
	err = f.err
	if err == nil && (r.Licences == nil || r.Organisations == nil) {
		err = errors.New("licences and organisations must be there, if only empty")
	}
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return &r, nil
}

func (r *Revocations) revokes(c Claims) bool {
	return r != nil && (c.RevocationEpoch < r.Licences[c.Licence] || c.RevocationEpoch < r.Organisations[c.Organisation])
}
