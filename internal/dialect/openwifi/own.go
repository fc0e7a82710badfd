package openwifi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/core/apikey"
	"gatehouse/internal/core/enrol"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/token"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// The numbers before the words of a 400 that only these calls have.
const (
	setupNotOpen    = 1086
	setupBadIndex   = 1087
	setupBadOrder   = 1088
	setupWrongCode  = 1089
	setupRepeated   = 1090
	keyNameTaken    = 1147
	keyTooMany      = 1148
	keyBadName      = 1149
	keyBadExpiry    = 1150
	keyUnknownWords = "The API key is unknown or has expired."
)

// ownRoutes are /preferences, /totp, /apiKey (openwifi.md 2.1, 2.4, 2.5).
func (d *Dialect) ownRoutes() []httpkit.Route {
	return []httpkit.Route{
		d.route(http.MethodGet, base+"/preferences", "preferences", d.preferences),
		d.route(http.MethodPut, base+"/preferences", "savePreferences", d.savePreferences),
		d.route(http.MethodGet, base+"/userPreferences", "userPreferences", d.preferences), // the definition's names of the two
		d.route(http.MethodPost, base+"/userPreferences", "saveUserPreferences", d.savePreferences),
		d.route(http.MethodGet, base+"/totp", "startAuthenticator", d.startAuthenticator),
		d.route(http.MethodPut, base+"/totp", "confirmAuthenticator", d.confirmAuthenticator),
		d.route(http.MethodGet, base+"/apiKey/{userId}", "apiKeys", d.listKeys),
		d.route(http.MethodPost, base+"/apiKey/{userId}", "createApiKey", d.createKey),
		d.route(http.MethodPut, base+"/apiKey/{userId}", "describeApiKey", d.describeKey),
		d.route(http.MethodDelete, base+"/apiKey/{userId}", "deleteApiKey", d.deleteKey),
		d.route(http.MethodGet, base+"/validateApiKey", "validateApiKey", d.validateKeyForUser),
	}
}

// ownServiceRoutes are those of them that a service key opens.
func (d *Dialect) ownServiceRoutes() []httpkit.Route {
	return []httpkit.Route{d.route(http.MethodGet, base+"/validateApiKey", "validateApiKey", d.validateKeyForService)}
}

type preferenceList struct {
	ID       string               `json:"id"`
	Modified int64                `json:"modified"`
	Data     []profile.Preference `json:"data"`
}

// preferences answers GET /preferences: UIs wait for its 200 for ever, so whoever has none gets an empty list.
func (d *Dialect) preferences(w http.ResponseWriter, r *http.Request) error {
	live, _, err := d.signedIn(r)
	if err != nil {
		return err
	}
	return d.writePreferences(w, r, live)
}

func (d *Dialect) writePreferences(w http.ResponseWriter, r *http.Request, live *session.Live) error {
	list, since, err := d.Profiles.Preferences(r.Context(), live.Subject.ID, d.door())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, preferenceList{string(live.Subject.ID), unix(since), append([]profile.Preference{}, list...)})
}

// savePreferences answers PUT /preferences: what is sent replaces all.
func (d *Dialect) savePreferences(w http.ResponseWriter, r *http.Request) error {
	live, _, err := d.signedIn(r)
	if err != nil {
		return err
	}
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	entries, given := body.list("data")
	if body.mistake == nil && !given {
		return identity.Invalid.In("data", "is required")
	}
	list := make([]profile.Preference, 0, len(entries))
	for _, entry := range entries {
		p := profile.Preference{Tag: entry.needed("tag")}
		p.Value, _ = entry.text("value")
		body.fail(entry.mistake)
		list = append(list, p)
	}
	if body.mistake != nil {
		return body.mistake
	}
	if err := d.Manage.SavePreferences(r.Context(), d.caller(r), live.Subject.ID, list); err != nil {
		return err
	}
	return d.writePreferences(w, r, live)
}

// startAuthenticator answers GET /totp with the picture that her app reads.
func (d *Dialect) startAuthenticator(w http.ResponseWriter, r *http.Request) error {
	live, _, err := d.signedIn(r)
	if err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	started, err := d.Enrol.Start(r.Context(), d.caller(r), live, q.flag("reset"))
	if err != nil {
		return err
	}
	picture, err := drawQR(totp.Address(d.TOTPIssuer, started.Account, started.Secret.Reveal(), qrBytes))
	if err != nil {
		return err
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = []string{"image/svg+xml"}, noStore
	h["Content-Security-Policy"] = []string{inertPolicy}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(picture) // nothing is left to say to whoever hung up
	return nil
}

type nextCode struct {
	NextIndex int  `json:"nextIndex"`
	MoreCodes bool `json:"moreCodes"`
}

// confirmAuthenticator answers PUT /totp?index=&value=.
func (d *Dialect) confirmAuthenticator(w http.ResponseWriter, r *http.Request) error {
	live, _, err := d.signedIn(r)
	if err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	index, err := q.text("index")
	if err != nil {
		return err
	}
	code, err := q.text("value")
	if err != nil {
		return err
	}
	number, _ := strconv.ParseUint(index, 10, 31) // what is no number counts as absent: 0
	more, err := d.Enrol.Confirm(r.Context(), d.caller(r), live, int(number), strings.TrimSpace(code))
	if err != nil {
		return setupRefused(err)
	}
	return writeJSON(w, http.StatusOK, nextCode{NextIndex: 2, MoreCodes: more})
}

// setupRefused words the refusals of a set-up, which this API has numbers for (openwifi.md 1.2, 2.4).
func setupRefused(err error) error {
	for refusal, number := range map[error]int{
		enrol.ErrNotOpen: setupNotOpen, enrol.ErrIndex: setupBadIndex, enrol.ErrOrder: setupBadOrder, enrol.ErrWrong: setupWrongCode, enrol.ErrRepeated: setupRepeated,
	} {
		if errors.Is(err, refusal) {
			return &at{err, answer{http.StatusBadRequest, 0, number, "", false}}
		}
	}
	return err
}

type keyList struct {
	APIKeys []keyEntry `json:"apiKeys"`
}

type keyEntry struct {
	ID          string    `json:"id"`
	UserUUID    string    `json:"userUuid"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	APIKey      string    `json:"apiKey"` // at creation only
	Salt        string    `json:"salt"`   // always blank
	Created     int64     `json:"created"`
	ExpiresOn   int64     `json:"expiresOn"`
	LastUse     int64     `json:"lastUse"`
	Rights      keyRights `json:"rights"`
}

type keyRights struct {
	ACLs []apikey.Right `json:"acls"`
}

func keyOf(k *identity.APIKey, shown identity.Secret) (keyEntry, error) {
	rights, err := apikey.RightsOf(*k)
	return keyEntry{
		ID: string(k.ID), UserUUID: string(k.SubjectID), Name: k.Name, Description: k.Description, APIKey: shown.Reveal(),
		Created: unix(k.CreatedAt), ExpiresOn: unix(k.ExpiresAt), LastUse: unix(k.LastUseAt), Rights: keyRights{append([]apikey.Right{}, rights...)},
	}, err
}

func writeKey(w http.ResponseWriter, k *identity.APIKey, shown identity.Secret) error {
	entry, err := keyOf(k, shown)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, entry)
}

// listKeys answers GET /apiKey/{userId}. UIs take 404 for an empty list.
func (d *Dialect) listKeys(w http.ResponseWriter, r *http.Request) error {
	live, _, err := d.signedIn(r)
	if err != nil {
		return err
	}
	keys, err := d.APIKeys.List(r.Context(), d.caller(r), live, owner(r))
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return identity.NotFound.Because("there are no API keys")
	}
	list := keyList{make([]keyEntry, len(keys))}
	for i := range keys {
		if list.APIKeys[i], err = keyOf(&keys[i], ""); err != nil {
			return err
		}
	}
	return writeJSON(w, http.StatusOK, list)
}

func owner(r *http.Request) identity.SubjectID { return identity.SubjectID(r.PathValue("userId")) }

// createKey answers POST /apiKey/{userId}.
func (d *Dialect) createKey(w http.ResponseWriter, r *http.Request) error {
	live, _, err := d.signedIn(r)
	if err != nil {
		return err
	}
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	in := apikey.New{Owner: owner(r), Name: body.needed("name")}
	in.Description, _ = body.text("description")
	in.ExpiresAt = body.instant("expiresOn")
	for _, right := range body.rights() {
		in.Rights = append(in.Rights, apikey.Right{Service: right.needed("service"), Access: apikey.Access(strings.ToLower(right.needed("access")))})
		body.fail(right.mistake)
	}
	if body.mistake != nil {
		return body.mistake
	}
	k, raw, err := d.APIKeys.Create(r.Context(), d.caller(r), live, in)
	if err != nil {
		return keyRefused(err)
	}
	return writeKey(w, &k, raw)
}

// keyRefused puts the numbers of later releases before the words.
func keyRefused(err error) error {
	for refusal, number := range map[error]int{
		apikey.ErrTaken: keyNameTaken, apikey.ErrTooMany: keyTooMany, apikey.ErrName: keyBadName, apikey.ErrEnd: keyBadExpiry,
	} {
		if errors.Is(err, refusal) {
			return numbered{err, number}
		}
	}
	return err
}

// describeKey answers PUT /apiKey/{userId}: of all that may be sent only the description changes.
func (d *Dialect) describeKey(w http.ResponseWriter, r *http.Request) error {
	live, _, err := d.signedIn(r)
	if err != nil {
		return err
	}
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	id, description := body.needed("id"), body.needed("description")
	if body.mistake != nil {
		return body.mistake
	}
	k, err := d.APIKeys.Describe(r.Context(), d.caller(r), live, owner(r), identity.APIKeyID(id), description)
	if err != nil {
		return err
	}
	return writeKey(w, &k, "")
}

// deleteKey answers DELETE /apiKey/{userId}?keyUuid=.
func (d *Dialect) deleteKey(w http.ResponseWriter, r *http.Request) error {
	live, _, err := d.signedIn(r)
	if err != nil {
		return err
	}
	q, err := queryOf(r)
	if err != nil {
		return err
	}
	id, err := q.text("keyUuid")
	if err != nil {
		return err
	}
	if id == "" {
		return identity.Invalid.In("keyUuid", "is required")
	}
	if err := d.APIKeys.Delete(r.Context(), d.caller(r), live, owner(r), identity.APIKeyID(id)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

type keyValidation struct {
	validation
	ExpiresOn int64 `json:"expiresOn"`
}

// validateKeyForService answers GET /validateApiKey on the internal listener: another service may ask about every key.
func (d *Dialect) validateKeyForService(w http.ResponseWriter, r *http.Request) error {
	service, err := d.byService(r)
	if err != nil {
		return err
	}
	if !service {
		return d.validateKeyForUser(w, r)
	}
	raw, err := keyAsked(r)
	if err != nil {
		return err
	}
	held, err := d.APIKeys.Inspect(r.Context(), raw)
	return d.judgeKey(w, r, held, raw, err)
}

// validateKeyForUser answers it for whoever is signed in: about her own keys, and to whoever sees all about every other.
func (d *Dialect) validateKeyForUser(w http.ResponseWriter, r *http.Request) error {
	live, _, err := d.signedIn(r)
	if err != nil {
		return err
	}
	raw, err := keyAsked(r)
	if err != nil {
		return err
	}
	held, err := d.APIKeys.Check(r.Context(), d.caller(r), raw)
	if err == nil && held.Subject.ID != live.Subject.ID && !seesAll(live) {
		err = identity.TokenInvalid // as an unknown one
	}
	return d.judgeKey(w, r, held, raw, err)
}

// keyAsked reads the key out of the query: apikey in the code, token in the definition.
func keyAsked(r *http.Request) (string, error) {
	q, err := queryOf(r)
	if err != nil {
		return "", err
	}
	raw, err := q.text("apikey")
	if raw == "" && err == nil {
		raw, err = q.text("token")
	}
	if raw == "" && err == nil {
		return "", identity.NotFound.Because("which API key is not said")
	}
	return raw, err
}

// judgeKey says whose key it is. Whatever is not good now is refused, not missing, as the contract wants.
func (d *Dialect) judgeKey(w http.ResponseWriter, r *http.Request, held apikey.Holder, raw string, err error) error {
	var p profile.Profile
	if err == nil {
		p, err = d.Profiles.Of(r.Context(), held.Subject.ID)
	}
	switch identity.KindOf(err) {
	case identity.NotFound, identity.TokenInvalid, identity.TokenExpired:
		return &at{err, answer{http.StatusForbidden, accessDenied, 0, keyUnknownWords, true}}
	}
	if err != nil {
		return err
	}
	k := &held.Key
	return writeJSON(w, http.StatusOK, keyValidation{
		validation{tokenOf(&p.Subject, raw, k.CreatedAt, k.ExpiresAt, 1), userOf(&p)}, unix(k.ExpiresAt),
	})
}

// byKey says who acts with an API key (openwifi.md 1.3, item 3): one header, and no other credential beside it, or two readers of
// the request could see two callers.
func (d *Dialect) byKey(r *http.Request) (*session.Live, error) {
	shown := r.Header["X-Api-Key"]
	if len(shown) > 1 || len(r.Header["Authorization"]) > 0 || len(r.Header["X-Internal-Name"]) > 0 {
		return nil, identity.TokenInvalid.Because("one credential at a time")
	}
	held, err := d.APIKeys.Check(r.Context(), d.caller(r), shown[0])
	if err != nil {
		return nil, err
	}
	if !d.Sessions.Rules[d.door()].Admits(held.Subject.Kind) {
		return nil, identity.TokenInvalid.Because("not a key for this half of the door")
	}
	k := &held.Key
	live := &session.Live{
		Token: token.Facts{ID: string(k.ID), Door: d.door(), SubjectID: k.SubjectID, IssuedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt}, Subject: held.Subject,
	}
	if e := httpkit.EventOf(r); e != nil {
		// The client is who asks: log and audit say which key that was.
		e.SubjectID, e.ClientID = k.SubjectID, identity.ClientID("apikey:"+string(k.ID))
	}
	return live, nil
}

// rights are the entries of rights.acls.
func (o *object) rights() []*object {
	inner := o.inner("rights")
	entries, _ := inner.list("acls")
	o.fail(inner.mistake)
	return entries
}

// instant is a time that must be there, in whole Unix seconds.
func (o *object) instant(name string) time.Time {
	text := o.needed(name)
	const last = 253402300799 // of the year 9999: beyond, times have no common spelling
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds > last {
		o.fail(identity.Invalid.In(name, "must be a time in whole seconds"))
	}
	return time.Unix(seconds, 0).UTC()
}
