package openwifi

import (
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/maypok86/otter/v2"

	"gatehouse/internal/core/session"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// judgedBytes is what the kept answers may weigh.
const judgedBytes = 32 << 20

// newJudged makes the store of answers that were given before.
func newJudged() *otter.Cache[*session.Live, []byte] {
	return otter.Must(&otter.Options[*session.Live, []byte]{
		MaximumWeight: judgedBytes,
		Weigher:       func(_ *session.Live, answer []byte) uint32 { return uint32(1024 + len(answer)) }, // the key keeps a Live alive
	})
}

// validateForService answers GET /validateToken on the internal listener: another service may ask about every token.
func (d *Dialect) validateForService(w http.ResponseWriter, r *http.Request) error {
	service, err := d.byService(r)
	if err != nil {
		return err
	}
	if !service {
		return d.validateForUser(w, r)
	}
	asked, err := tokenAsked(r)
	if err != nil {
		return err
	}
	return d.validate(w, r, asked)
}

// validateForUser answers it for whoever shows a token: about that token, and to whoever sees all about every other.
func (d *Dialect) validateForUser(w http.ResponseWriter, r *http.Request) error {
	live, raw, err := d.signedIn(r)
	if err != nil {
		return err
	}
	asked, err := tokenAsked(r)
	if err != nil {
		return err
	}
	if asked != "" && subtle.ConstantTimeCompare([]byte(asked), []byte(raw)) != 1 && !seesAll(live) {
		return identity.Denied.Because("you may validate your own token only")
	}
	return d.validate(w, r, asked)
}

// seesAll says who may ask about others' tokens and keys.
func seesAll(live *session.Live) bool {
	return staff.May(Words.RoleOf(&live.Subject), staff.Inspect, staff.Subscriber, false) == nil
}

// tokenAsked reads the token out of the query, in one step where it stands there alone, as services send it.
func tokenAsked(r *http.Request) (string, error) {
	const name = "token="
	if raw := r.URL.RawQuery; len(raw) == len(name)+tokenLength && strings.HasPrefix(raw, name) && form(Door).Looks(raw[len(name):]) {
		return raw[len(name):], nil
	}
	q, err := queryOf(r)
	if err != nil {
		return "", err
	}
	return q.text("token")
}

// validate says whose token it is. Whatever is not good now is not there: 404 (openwifi.md 1.13).
func (d *Dialect) validate(w http.ResponseWriter, r *http.Request, asked string) error {
	live, err := d.Sessions.Check(r.Context(), d.form(), asked, identity.AccessToken)
	if err != nil {
		return notThere(err)
	}
	answer, err := d.judge(r, live, asked)
	if err != nil {
		return notThere(err)
	}
	writeBody(w, http.StatusOK, answer)
	return nil
}

func notThere(err error) error {
	switch identity.KindOf(err) {
	case identity.NotFound, identity.TokenMissing, identity.TokenInvalid, identity.TokenExpired, identity.TokenRevoked:
		return &at{err, noGoodToken}
	}
	return err
}

// judge gives the answer about a checked token, as it was printed before if this is the very check of before: whatever makes
// the session service forget a token makes it check anew, so an answer never outlives what it rests on.
func (d *Dialect) judge(r *http.Request, live *session.Live, raw string) ([]byte, error) {
	if answer, ok := d.shared.judged.GetIfPresent(live); ok {
		return answer, nil
	}
	p, err := d.Profiles.Of(r.Context(), live.Subject.ID)
	if err != nil {
		return nil, err
	}
	facts := &live.Token
	// Its refresh token stays blank: who asks holds the access token, and the other is none of his business.
	t := tokenOf(&p.Subject, raw, facts.IssuedAt, facts.ExpiresAt, facts.Generation)
	answer, err := httpkit.Marshal(validation{TokenInfo: t, UserInfo: userOf(&p)})
	if err != nil {
		return nil, err
	}
	d.shared.judged.Set(live, answer)
	return answer, nil
}

// endpointsForUser answers GET /systemEndpoints: where the other services are.
func (d *Dialect) endpointsForUser(w http.ResponseWriter, r *http.Request) error {
	if _, _, err := d.signedIn(r); err != nil {
		return err
	}
	return d.endpoints(w, r)
}

func (d *Dialect) endpointsForService(w http.ResponseWriter, r *http.Request) error {
	service, err := d.byService(r)
	if err != nil {
		return err
	}
	if !service {
		return d.endpointsForUser(w, r)
	}
	return d.endpoints(w, r)
}

func (d *Dialect) endpoints(w http.ResponseWriter, r *http.Request) error {
	services, err := d.Profiles.Services(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, endpointsOf(services))
}
