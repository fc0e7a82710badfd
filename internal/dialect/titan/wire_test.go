package titan

import (
	"crypto/sha1" //nolint:gosec // the contract's change mark
	"encoding/hex"
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 123456000, time.UTC)

func TestEnvelope(t *testing.T) {
	d := &Dialect{Now: func() time.Time { return start }}
	tests := []struct {
		name string
		data any
		want string
	}{
		{"nothing to say", nil, `{"success":true,"hash":"97d170e1550eee4afc0af065b78cda302a97674c","data":{},"timestamp":1767225600123}`},
		{"data", map[string]string{"a": "<&> \u2028"}, `{"success":true,"hash":"HASH","data":{"a":"<&> \u2028"},"timestamp":1767225600123}`},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		if err := d.answer(w, german, tt.data); err != nil {
			t.Fatal(err)
		}
		sum := sha1.Sum([]byte(`{"a":"<&> \u2028"}`)) //nolint:gosec // see above
		if want := strings.Replace(tt.want, "HASH", hex.EncodeToString(sum[:]), 1); w.Body.String() != want {
			t.Errorf("%s: %s, want %s", tt.name, w.Body, want)
		}
		if h := w.Header(); h.Get("Content-Language") != "de" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", tt.name, h)
		}
	}
	if sum := sha1.Sum([]byte("[]")); hex.EncodeToString(sum[:]) != emptyHash { //nolint:gosec // see above
		t.Errorf("emptyHash is not that of []: %x", sum)
	}
}

func TestRelativeWords(t *testing.T) {
	tests := []struct {
		d                  time.Duration
		en, de             string
		remaining, verbleb string
	}{
		{-time.Hour, "1 second ago", "vor 1 Sekunde", "expired", "abgelaufen"},
		{0, "1 second ago", "vor 1 Sekunde", "expired", "abgelaufen"},
		{time.Nanosecond, "1 second ago", "vor 1 Sekunde", "1 second", "1 Sekunde"},
		{59 * time.Second, "59 seconds ago", "vor 59 Sekunden", "59 seconds", "59 Sekunden"},
		{90 * time.Second, "1 minute ago", "vor 1 Minute", "1 minute", "1 Minute"},
		{2 * time.Minute, "2 minutes ago", "vor 2 Minuten", "2 minutes", "2 Minuten"},
		{time.Hour, "1 hour ago", "vor 1 Stunde", "1 hour", "1 Stunde"},
		{23 * time.Hour, "23 hours ago", "vor 23 Stunden", "23 hours", "23 Stunden"},
		{day, "1 day ago", "vor 1 Tag", "1 day", "1 Tag"},
		{3 * day, "3 days ago", "vor 3 Tagen", "3 days", "3 Tage"},
		{13 * day, "1 week ago", "vor 1 Woche", "1 week", "1 Woche"},
		{14 * day, "2 weeks ago", "vor 2 Wochen", "2 weeks", "2 Wochen"},
		{30 * day, "1 month ago", "vor 1 Monat", "1 month", "1 Monat"},
		{364 * day, "12 months ago", "vor 12 Monaten", "12 months", "12 Monate"},
		{365 * day, "1 year ago", "vor 1 Jahr", "1 year", "1 Jahr"},
		{800 * day, "2 years ago", "vor 2 Jahren", "2 years", "2 Jahre"},
	}
	for _, tt := range tests {
		got := [4]string{relative(tt.d, english), relative(tt.d, german), remaining(tt.d, english), remaining(tt.d, german)}
		if want := [4]string{tt.en, tt.de, tt.remaining, tt.verbleb}; got != want {
			t.Errorf("%v: %q, want %q", tt.d, got, want)
		}
	}
}

func TestLanguage(t *testing.T) {
	tests := []struct {
		values []string
		want   language
	}{
		{nil, english},
		{[]string{""}, english},
		{[]string{"de"}, german},
		{[]string{" DE "}, german},
		{[]string{"de-AT"}, german},
		{[]string{"deu"}, english},
		{[]string{"en"}, english},
		{[]string{"fr"}, english},
		{[]string{"de, en"}, english},
		{[]string{"de", "en"}, english},
		{[]string{"-de"}, english},
	}
	for _, tt := range tests {
		if got := languageOf(map[string][]string{"Content-Language": tt.values}); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.values, got, tt.want)
		}
	}
}

// What the operator wrote is read as far as it has the right types, and a guard with a wrong value is up.
func TestAttributes(t *testing.T) {
	org := func(json string) *identity.Organisation {
		return &identity.Organisation{Attributes: identity.Attributes{Door: []byte(json)}}
	}
	for json, want := range map[string]hubSettings{
		``:               {LoginConfirmationChannel: 1},
		`null`:           {LoginConfirmationChannel: 1},
		`[]`:             {LoginConfirmationChannel: 1},
		`{"settings":7}`: {LoginConfirmationChannel: 1},
		`{"settings":{"login_confirmation":false,"sso":"yes","password_age":"90","session_limit":1.5}}`: {LoginConfirmationChannel: 1},
		`{"settings":{"login_confirmation":true,"login_confirmation_channel":3,"sso":true,"support":true,"office_preview":true,"pdf_preview":true,"program_level":true,"password_age":90,"session_limit":5}}`: {
			ProgramLevel: true, LoginConfirmation: true, LoginConfirmationChannel: 3, OfficePreview: true, PDFPreview: true, Support: true, PasswordAge: 90, SessionLimit: 5, SSO: true,
		},
		`{"settings":{"login_confirmation":"no","login_confirmation_channel":0}}`: {LoginConfirmation: true, LoginConfirmationChannel: 1},
		`{"settings":{"login_confirmation":0,"login_confirmation_channel":4}}`:    {LoginConfirmation: true, LoginConfirmationChannel: 1},
		`{"settings":{"login_confirmation":null}}`:                                {LoginConfirmationChannel: 1},
	} {
		o := org(json)
		if got := settingsOf(o); got != want {
			t.Errorf("settings of %s: %+v, want %+v", json, got, want)
		}
		if got := hubDemand(*o) == identity.FactorNeeded; got != want.LoginConfirmation {
			t.Errorf("demand of %s: %v", json, got)
		}
	}
	for json, want := range map[string]personal{
		``: {Language: 1, Settings: userSettings{Locale: 1}},
		`{"language":0,"settings":{"statefulness":true}}`:                       {Settings: userSettings{Statefulness: true}},
		`{"language":2,"settings":{"locale":7},"login_confirmation":"perhaps"}`: {Language: 1, LoginConfirmation: true, Settings: userSettings{Locale: 7}},
	} {
		s := identity.Subject{Attributes: identity.Attributes{Door: []byte(json)}}
		if got := personalOf(&s); got != want {
			t.Errorf("personal of %s: %+v, want %+v", json, got, want)
		}
	}
	for locale, want := range map[string]int{"": 1, "de": 0, "de-CH": 0, "DE": 0, "en-GB": 1, "den": 1} {
		s := identity.Subject{Locale: locale}
		if got := personalOf(&s).Language; got != want {
			t.Errorf("language of locale %q: %d, want %d", locale, got, want)
		}
	}
	features := featuresOf(org(`{"features":{"audit":true,"password_age":30,"accounting":"yes","session_timeout":15,"ratio":1.5,"list":[],"none":null}}`))
	if features["audit"] != true || features["password_age"] != 30 || features["accounting"] != false || features["session_timeout"] != 15 || len(features) != len(knownFeatures)+1 {
		t.Errorf("features %v", features)
	}
	if !reflect.DeepEqual(featuresOf(nil), knownFeatures) {
		t.Error("features without a hub are not the known ones")
	}
	for json, want := range map[string]int{`{"role":"owner"}`: 5, `{"role":"administrator"}`: 4, `{"role":"user"}`: 1, `{"role":"king"}`: 1, `{"role":5}`: 1, ``: 1, string(Owner): 5} {
		at := profile.Access{Memberships: []profile.Place{{Membership: identity.Membership{Attributes: identity.Attributes{Door: []byte(json)}}}}}
		if got := roleOf(at); got != want {
			t.Errorf("role of %s: %d, want %d", json, got, want)
		}
	}
}

// A user as she is shown: what the house does not know is null, what is due is said.
func TestPrintUser(t *testing.T) {
	who := profile.Profile{Subject: identity.Subject{Number: 7, Name: "Ada", CreatedAt: start.Add(-400 * day)}}
	u := printUser(&who, start, english)
	if u.Name != "Ada" || u.PasswordModifiedTime != nil || u.PasswordAgeRelative != nil || u.PasswordAge != 0 || u.LoginConfirmation || u.PasswordUpdate || u.PasswordType != 3 {
		t.Errorf("without a password: %+v", u)
	}
	if u.RegistrationTime != "2024-11-27T00:00:00.123456Z" {
		t.Errorf("registration_time %s", u.RegistrationTime)
	}
	who.HasPassword, who.PasswordSetAt = true, start.Add(-91*day)
	who.Policy.Password.MaxAgeDays = 90
	who.Factors = []identity.CredentialKind{identity.TOTP}
	u = printUser(&who, start, german)
	if u.PasswordAge != 91 || *u.PasswordAgeRelative != "vor 3 Monaten" || !u.PasswordUpdate || !u.LoginConfirmation {
		t.Errorf("with an old password and a factor: %+v", u)
	}
	who.Policy.SecondFactor = identity.FactorOff
	who.MustChange = true
	who.PasswordSetAt = start.Add(time.Hour) // another node's clock
	u = printUser(&who, start, english)
	if u.LoginConfirmation || u.PasswordType != 2 || !u.PasswordUpdate || u.PasswordAge != 0 {
		t.Errorf("with a temporary password and factors off: %+v", u)
	}
	body, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(body), `"hubs":[]`) || !strings.Contains(string(body), `"image":null`) {
		t.Errorf("no hubs and no image: %s", body)
	}
}
