package nx

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/core/licence"
	"gatehouse/internal/identity"
)

// license is a licence as this door's clients know it (nx.md 4.1).
type license struct {
	Agreement            licenseAgreement
	AmountPerMonth       int64
	CatalogueUUIDs       []string
	DiscountBP           int
	ExpiresAt            time.Time `json:",omitzero"`
	LicenseKey           string
	PaidUntilAt          time.Time         `json:",omitzero"`
	ProviderOrganisation *userOrganisation `json:",omitempty"`
	RevokedAt            time.Time         `json:",omitzero"` // ours
	SignedUser           *signedUser       `json:",omitempty"`
	SignedUserAt         time.Time         `json:",omitzero"`
	StartsAt             time.Time
	UUID                 string
}

type licenseAgreement struct {
	Kind        string
	Name        string
	Provides    []string
	PublishedAt time.Time `json:",omitzero"`
	UUID        string
}

type signedUser struct{ Email, Name, UUID string }

// licenseDocument is a licence to carry to a device. The operation is ours.
type licenseDocument struct {
	Device      string `json:",omitempty"`
	Document    string
	ExpiresAt   time.Time
	GraceEndsAt time.Time
	UUID        string
}

func asLicense(l licence.Shown) license {
	out := license{
		Agreement: licenseAgreement{
			Kind: l.Agreement.Kind, Name: l.Agreement.Name, Provides: listed(l.Agreement.Provides), PublishedAt: l.Agreement.PublishedAt, UUID: string(l.AgreementID),
		},
		AmountPerMonth: l.AmountPerMonth, CatalogueUUIDs: listed(l.Catalogues), DiscountBP: l.DiscountBP, ExpiresAt: l.ExpiresAt, LicenseKey: l.Code,
		PaidUntilAt: l.PaidUntilAt, RevokedAt: l.RevokedAt, SignedUserAt: l.SignedAt, StartsAt: l.StartsAt, UUID: string(l.ID),
	}
	if l.Provider.ID != "" {
		out.ProviderOrganisation = &userOrganisation{Name: l.Provider.Name, UUID: string(l.Provider.ID)}
	}
	if l.Signed.ID != "" {
		out.SignedUser = &signedUser{l.Signed.Email, l.Signed.Name, string(l.Signed.ID)}
	}
	return out
}

// listed is never null in JSON.
func listed(all []string) []string {
	if all == nil {
		return []string{}
	}
	return all
}

func (c call) viewer() licence.Viewer {
	return licence.Viewer{SubjectID: c.live.Subject.ID, OrganisationID: c.organisation, Acting: c.chosen}
}

// licenceID reads the path. What is no id is nobody's.
func licenceID(r *http.Request) (identity.LicenceID, error) {
	text := r.PathValue("uuid")
	if !identity.ValidID(text) {
		return "", identity.NotFound.Because("no such licence")
	}
	return identity.LicenceID(text), nil
}

// readLicense answers GET /license/{uuid}.
func (d *Dialect) readLicense(w http.ResponseWriter, r *http.Request, c call) error {
	id, err := licenceID(r)
	if err != nil {
		return err
	}
	l, err := d.Licences.Show(r.Context(), c.viewer(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, asLicense(l))
}

// totalHeader tells how many records there are in all pages (nx.md 1.9).
const totalHeader = "X-Pagination-Records"

// listLicenses answers GET /licenses.
func (d *Dialect) listLicenses(w http.ResponseWriter, r *http.Request, c call) error {
	q, err := parameters(r)
	if err != nil {
		return err
	}
	limit := q.count("Limit", defaultLimit)
	filter := identity.LicenceFilter{
		Text: q.Get("q"), DeviceID: identity.DeviceID(q.uuid("Device")), Kind: q.Get("Kind"), Agreement: q.Get("Agreement"),
		Order: q.order("OrderBy"), Offset: q.count("Offset", 0), Limit: int(min(max(limit, 1), maxLimit)),
	}
	if q.mistake != nil {
		return q.mistake
	}
	page, err := d.Licences.List(r.Context(), c.viewer(), filter)
	if err != nil {
		return err
	}
	if limit == 0 {
		page.Licences = nil
	}
	out := make([]license, len(page.Licences))
	for i, l := range page.Licences {
		out[i] = asLicense(l)
	}
	w.Header().Set(totalHeader, strconv.Itoa(page.Total))
	return writeJSON(w, http.StatusOK, out)
}

// licenseDocument answers GET /licences/{uuid}/document.
func (d *Dialect) licenseDocument(w http.ResponseWriter, r *http.Request, c call) error {
	id, err := licenceID(r)
	if err != nil {
		return err
	}
	q, err := parameters(r)
	if err != nil {
		return err
	}
	device := identity.DeviceID(q.uuid("Device"))
	if q.mistake != nil {
		return q.mistake
	}
	doc, err := d.Licences.DocumentFor(r.Context(), c.Caller, c.viewer(), id, device)
	if err != nil {
		return at(err, "Device", identity.Invalid)
	}
	return writeJSON(w, http.StatusOK, licenseDocument{
		Device: doc.Device, Document: doc.Text, ExpiresAt: doc.ExpiresAt, GraceEndsAt: doc.GraceEndsAt, UUID: doc.ID,
	})
}

const (
	defaultLimit = 100
	maxLimit     = 1000 // nx.md 1.9
	maxOrders    = 16
)

// query is a request's parameters. Its methods keep the first mistake; parameters that nobody asks for are ignored (nx.md 1.3).
type query struct {
	url.Values
	mistake error
}

// parameters reads the address. Two readers of one request must not see two values.
func parameters(r *http.Request) (*query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, identity.Invalid.Because("the address holds a part that cannot be read")
	}
	for name, all := range values {
		if len(all) > 1 {
			return nil, identity.Invalid.In(name, "is given twice")
		}
	}
	return &query{Values: values}, nil
}

func (q *query) wrong(name, what string) {
	if q.mistake == nil {
		q.mistake = identity.Invalid.In(name, what)
	}
}

var digits = regexp.MustCompile(`^[0-9]+$`)

// count is a whole number that is not negative. One that no machine holds is as good as the largest that one does.
func (q *query) count(name string, without int64) int64 {
	if !q.Has(name) {
		return without
	}
	text := q.Get(name)
	if !digits.MatchString(text) {
		q.wrong(name, "must be a whole number, not negative")
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 1<<63 - 1
	}
	return n
}

// uuid is an id in either case, "" where it is absent or empty.
func (q *query) uuid(name string) string {
	text := strings.ToLower(q.Get(name))
	if text != "" && !identity.ValidID(text) {
		q.wrong(name, "must be a UUID")
	}
	return text
}

// orders are what a list may be ordered by (nx.md 4.3).
var orders = map[string]identity.LicenceColumn{
	"AgreementName": identity.ByAgreementName, "LicenseKey": identity.ByLicenceCode, "StartsAt": identity.ByStart, "ExpiresAt": identity.ByExpiry,
}

func (q *query) order(name string) []identity.LicenceOrder {
	if !q.Has(name) {
		return nil
	}
	var all []identity.LicenceOrder
	for _, word := range strings.Split(q.Get(name), ",") {
		field, descending := strings.CutPrefix(word, "-")
		by, known := orders[field]
		if !known || len(all) == maxOrders {
			q.wrong(name, "must be of AgreementName, LicenseKey, StartsAt, ExpiresAt, each with or without -, separated by commas")
			return nil
		}
		all = append(all, identity.LicenceOrder{By: by, Descending: descending})
	}
	return all
}
