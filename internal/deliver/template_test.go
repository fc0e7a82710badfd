package deliver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"gatehouse/internal/deliver"
)

var sample = map[string]string{
	"name": "Ada", "link": "https://id.example.com/reset?a=1&t=abc", "hours": "1", "code": "042137", "minutes": "10",
}

func TestEveryMailExistsInEveryLanguage(t *testing.T) {
	for _, name := range []string{deliver.PasswordReset, deliver.EmailVerification, deliver.Code} {
		subjects := map[string]bool{}
		for _, language := range []string{"en", "de"} {
			c, err := deliver.Render(name, language, sample)
			if err != nil {
				t.Fatal(err)
			}
			subjects[c.Subject] = true
			if c.Subject == "" || strings.HasPrefix(c.Subject, "Subject") || c.Template != name || !strings.Contains(c.HTML, `lang="`+language+`"`) {
				t.Errorf("%s in %s: %+v", name, language, c)
			}
			want, wantHTML := sample["link"], `href="https://id.example.com/reset?a=1&amp;t=abc"`
			if name == deliver.Code {
				want, wantHTML = sample["code"], sample["code"]
			}
			if !strings.Contains(c.Text, want) || !strings.Contains(c.HTML, wantHTML) || !strings.Contains(c.Text, "Ada") {
				t.Errorf("%s in %s lacks its point:\n%s\n%s", name, language, c.Text, c.HTML)
			}
			if strings.Contains(c.Text+c.HTML, "no value") {
				t.Errorf("%s in %s: %s", name, language, c.Text)
			}
		}
		if len(subjects) != 2 {
			t.Errorf("%s has one subject for both languages", name)
		}
	}
}

// Each fits into one part of an SMS: 160 characters of the alphabet that needs seven bits (3GPP TS 23.038, 6.2.1).
func TestEverySMSExistsInEveryLanguage(t *testing.T) {
	for _, name := range []string{deliver.Code, deliver.PhoneVerification} {
		texts := map[string]bool{}
		for _, language := range []string{"en", "de-AT"} {
			c, err := deliver.BuiltIn().RenderSMS(name, language, map[string]string{"code": "042137", "minutes": "10"})
			if err != nil {
				t.Fatal(err)
			}
			texts[c.Text] = true
			beyond := strings.ContainsFunc(c.Text, func(r rune) bool { return r > unicode.MaxASCII && !strings.ContainsRune("äöüÄÖÜß", r) })
			if !strings.Contains(c.Text, "042137") || !strings.Contains(c.Text, "10 Min") && !strings.Contains(c.Text, "10 min") || c.Template != name ||
				utf8.RuneCountInString(c.Text) > 160 || beyond || strings.ContainsAny(c.Text, "\r\n`[]{}|~^\\") {
				t.Errorf("%s in %s: %q", name, language, c.Text)
			}
		}
		if len(texts) != 2 {
			t.Errorf("%s has one text for both languages", name)
		}
	}
	if _, err := deliver.BuiltIn().RenderSMS(deliver.PasswordReset, "en", sample); err == nil {
		t.Error("an unknown SMS was rendered")
	}
}

func TestLanguageFallsBack(t *testing.T) {
	tests := []struct{ tag, want string }{
		{"de", "de"}, {"de-CH", "de"}, {"de_AT", "de"}, {"DE", "de"}, {"de-Latn-CH", "de"}, {"en-GB", "en"},
		{"", "en"}, {"fr", "en"}, {"../de", "en"}, {strings.Repeat("x-", 5000), "en"}, {"-", "en"},
	}
	for _, tt := range tests {
		c, err := deliver.Render(deliver.Code, tt.tag, sample)
		if err != nil || !strings.Contains(c.HTML, `lang="`+tt.want+`"`) {
			t.Errorf("%.20q: %v, %.60s", tt.tag, err, c.HTML)
		}
	}
}

func TestMistakesInDataAreErrors(t *testing.T) {
	if _, err := deliver.Render(deliver.Code, "en", map[string]string{"code": "1"}); err == nil {
		t.Error("a missing value was mailed")
	}
	if _, err := deliver.Render("newsletter", "en", sample); err == nil {
		t.Error("an unknown template was rendered")
	}
}

func TestAStrangersNameCarriesNoMessage(t *testing.T) {
	for name, shown := range map[string]bool{
		"Ada Lovelace": true, "Renée O'Connor-Łukasz": true, "李小龍": true,
		"You won! https://evil.test": false, "www.evil.test": false, "a@evil.test": false, "<b>x</b>": false,
		strings.Repeat("x", 61): false, "Ada\r\nBcc: all@example.com": false,
	} {
		data := map[string]string{"name": name, "link": "https://id.example.com", "hours": "2"}
		c, err := deliver.Render(deliver.PasswordReset, "en", data)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(c.Text, name); got != shown {
			t.Errorf("%q shown: %v", name, got)
		}
		if data["name"] != name {
			t.Error("Render changed its caller's data")
		}
	}
}

func TestOperatorsTemplates(t *testing.T) {
	write := func(t *testing.T, files map[string]string) string {
		dir := t.TempDir()
		for path, text := range files {
			path = filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	templates, err := deliver.LoadTemplates(write(t, map[string]string{
		"en/code.txt": "Subject: ACME {{.code}}\r\n\r\nCode {{.code}}\r\n",
		"fr/code.txt": "Subject: Votre code\n\n{{.code}} ({{.minutes}} minutes)\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	for language, want := range map[string]string{"en": "ACME 042137", "fr-CA": "Votre code", "de": "Ihr Anmeldecode"} {
		if c, err := templates.Render(deliver.Code, language, sample); err != nil || c.Subject != want {
			t.Errorf("%s: %q, %v", language, c.Subject, err)
		}
	}
	held := deliver.BuiltIn()
	held.Replace(templates)
	if c, err := held.Render(deliver.Code, "en", sample); err != nil || c.Subject != "ACME 042137" {
		t.Errorf("replaced: %q, %v", c.Subject, err)
	}
	for name, tt := range map[string]struct{ path, text, want string }{
		"syntax":        {"en/code.txt", "Subject: x\n\n{{.code", "en/code.txt"},
		"unknown field": {"en/code.txt", "Subject: x\n\n{{.cod}}", "cod"},
		"no subject":    {"en/code.txt", "{{.code}}", "Subject"},
		"unknown mail":  {"en/welcome.txt", "Subject: x\n\nx", "there is no such mail"},
		"unknown SMS":   {"en/password-reset.sms.txt", "x", "there is no such SMS"},
		"SMS too long":  {"en/code.sms.txt", strings.Repeat("x", 1601), "1 to 1600"},
		"empty SMS":     {"en/code.sms.txt", "\n", "1 to 1600"},
		"SMS syntax":    {"en/code.sms.txt", "{{.code", "en/code.sms.txt"},
		"SMS field":     {"en/phone-verification.sms.txt", "{{.cod}}", "cod"},
		"unknown kind":  {"en/code.md", "x", ".html"},
	} {
		if _, err := deliver.LoadTemplates(write(t, map[string]string{tt.path: tt.text})); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := deliver.LoadTemplates(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a missing directory was not noticed")
	}
}
