package deliver

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"text/template"
	"unicode/utf8"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
)

// The messages of the house; the names are those of the template files. A mail exists as text and HTML in each language.
const (
	PasswordReset     = "password-reset"     // mail: name, link, hours
	EmailVerification = "email-verification" // mail: name, link, hours
	Code              = "code"               // mail and SMS: name, code, minutes; in a mail link, which may be missing
	RecoveryConfirm   = "recovery-confirm"   // mail: name, link, hours
	RecoveryCode      = "recovery-code"      // mail: name, code, hours
	RecoveryUsed      = "recovery-used"      // mail: name, left, which may be empty
	PhoneVerification = "phone-verification" // SMS: name, code, minutes
	LicenceEndsSoon   = "licence-ends-soon"  // mail: name, organisation, agreement, licence, date, grace, days
	LicenceExpired    = "licence-expired"    // mail: the same
)

// fallback is the language of who states none that we speak.
const fallback = "en"

// maxName bounds what a stranger can make us mail to another in a greeting.
const maxName = 60

//go:embed templates
var builtIn embed.FS

// Templates are the house's words in mails and SMS.
type Templates struct {
	text map[string]*template.Template     // by "en/password-reset"
	sms  map[string]*template.Template     // by "en/code"
	html map[string]*htmltemplate.Template // the same; may lack one

	newer atomic.Pointer[Templates] // see Replace
}

// Replace puts others in the place of these, for whoever holds these.
func (t *Templates) Replace(by *Templates) { t.newer.Store(by) }

func (t *Templates) current() *Templates {
	if newer := t.newer.Load(); newer != nil {
		return newer
	}
	return t
}

// BuiltIn gives the templates that come with the program.
func BuiltIn() *Templates {
	t := &Templates{text: map[string]*template.Template{}, sms: map[string]*template.Template{}, html: map[string]*htmltemplate.Template{}}
	own, err := fs.Sub(builtIn, "templates")
	if err == nil {
		err = t.read(own)
	}
	if err != nil {
		panic(err) // the files are in the program, and a test reads them
	}
	return t
}

// LoadTemplates gives the built-in templates with an operator's files in place of those of the same name: DIR/en/password-reset.txt
// (its first line the subject) and DIR/en/password-reset.html; DIR/en/code.sms.txt is an SMS. Another language is another folder. Every file is tried with
// sample data, so that a mistake is found at the start and not when somebody waits for a mail.
func LoadTemplates(dir string) (*Templates, error) {
	t := BuiltIn()
	if dir == "" {
		return t, nil
	}
	if err := t.read(os.DirFS(dir)); err != nil {
		return nil, fmt.Errorf("mail templates in %s: %w", dir, err)
	}
	return t, nil
}

func (t *Templates) read(files fs.FS) error {
	paths, err := fs.Glob(files, "*/*")
	if err != nil {
		return err
	}
	var mistakes []error
	for _, path := range paths {
		if err := t.parse(files, path); err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", path, err))
		}
	}
	if len(mistakes) == 0 && len(paths) == 0 {
		mistakes = append(mistakes, errors.New("no files of the form LANGUAGE/NAME.txt or LANGUAGE/NAME.html"))
	}
	return errors.Join(mistakes...)
}

func (t *Templates) parse(files fs.FS, path string) error {
	name, extension, _ := cutLast(path, ".")
	if sms, is := strings.CutSuffix(path, ".sms.txt"); is {
		name, extension = sms, "sms.txt"
	}
	known, what := []string{PasswordReset, EmailVerification, Code, RecoveryConfirm, RecoveryCode, RecoveryUsed, LicenceEndsSoon, LicenceExpired}, "mail"
	if extension == "sms.txt" {
		known, what = []string{Code, PhoneVerification}, "SMS"
	}
	if !slices.Contains(known, name[strings.IndexByte(name, '/')+1:]) {
		return fmt.Errorf("there is no such %s; there are %s", what, strings.Join(known, ", "))
	}
	source, err := fs.ReadFile(files, path)
	if err != nil {
		return err
	}
	body := strings.ReplaceAll(string(source), "\r\n", "\n")
	switch extension {
	case "txt":
		if !strings.HasPrefix(body, "Subject: ") || !strings.Contains(body, "\n\n") {
			return errors.New("must begin with a line `Subject: …` and an empty line")
		}
		parsed, err := template.New(path).Option("missingkey=error").Parse(body)
		if err != nil {
			return err
		}
		t.text[name] = parsed
	case "sms.txt":
		parsed, err := template.New(path).Option("missingkey=error").Parse(body)
		if err != nil {
			return err
		}
		t.sms[name] = parsed
		_, err = t.renderSMS(name, sample)
		return err
	case "html":
		parsed, err := htmltemplate.New(path).Option("missingkey=error").Parse(body)
		if err != nil {
			return err
		}
		t.html[name] = parsed
	default:
		return errors.New("must end in .txt or .html")
	}
	_, err = t.render(name, sample)
	return err
}

// sample is what every template is tried with.
var sample = map[string]string{
	"name": "Ada", "link": "https://id.example.com/reset?t=x", "hours": "2", "code": "123456", "minutes": "5", "left": "9",
	"organisation": "ACME", "agreement": "Edge Pro", "licence": "lic-1", "date": "2027-01-01", "grace": "2027-01-15", "days": "30",
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// Render writes a mail in a language (BCP 47), or in the nearest that there is.
func (t *Templates) Render(name, language string, data map[string]string) (Content, error) {
	t = t.current()
	data = cloned(data)
	data["name"] = presentable(data["name"])
	for _, l := range languages(language) {
		if t.text[l+"/"+name] != nil {
			c, err := t.render(l+"/"+name, data)
			if err != nil {
				return Content{}, fmt.Errorf("render mail: %w", err)
			}
			c.Channel, c.Template = identity.Mail, name
			return c, nil
		}
	}
	return Content{}, fmt.Errorf("render mail: there is no template %q", name)
}

// RenderSMS writes an SMS as Render does a mail.
func (t *Templates) RenderSMS(name, language string, data map[string]string) (Content, error) {
	t = t.current()
	for _, l := range languages(language) {
		if t.sms[l+"/"+name] == nil {
			continue
		}
		text, err := t.renderSMS(l+"/"+name, data)
		if err != nil {
			return Content{}, fmt.Errorf("render SMS: %w", err)
		}
		return Content{Channel: identity.SMS, Template: name, Text: text}, nil
	}
	return Content{}, fmt.Errorf("render SMS: there is no template %q", name)
}

func (t *Templates) renderSMS(path string, data map[string]string) (string, error) {
	var out strings.Builder
	if err := t.sms[path].Execute(&out, data); err != nil {
		return "", err
	}
	text := strings.TrimSpace(out.String())
	if text == "" || utf8.RuneCountInString(text) > maxText {
		return "", fmt.Errorf("must give 1 to %d characters", maxText)
	}
	return text, nil
}

// Render is Templates.Render with the built-in templates.
func Render(name, language string, data map[string]string) (Content, error) {
	return BuiltIn().Render(name, language, data)
}

func (t *Templates) render(path string, data map[string]string) (Content, error) {
	var c Content
	if parsed := t.text[path]; parsed != nil {
		var out strings.Builder
		if err := parsed.Execute(&out, data); err != nil {
			return c, err
		}
		head, body, _ := strings.Cut(out.String(), "\n\n")
		c.Subject = audit.Line(strings.TrimPrefix(head, "Subject: "), maxSubject)
		c.Text = body
	}
	if parsed := t.html[path]; parsed != nil {
		var out strings.Builder
		if err := parsed.Execute(&out, data); err != nil {
			return c, err
		}
		c.HTML = out.String()
	}
	return c, nil
}

// languages gives "de-CH", "de", "en" for "de-CH".
func languages(tag string) []string {
	tag = strings.ReplaceAll(tag, "_", "-")
	list := []string{}
	for tag != "" {
		list = append(list, tag, strings.ToLower(tag))
		tag, _, _ = cutLast(tag, "-")
		if len(list) > 6 || !strings.Contains(tag, "-") {
			list = append(list, strings.ToLower(tag))
			break
		}
	}
	return append(list, fallback)
}

func cloned(data map[string]string) map[string]string {
	out := make(map[string]string, len(data)+1)
	for k, v := range data {
		out[k] = v
	}
	return out
}

// presentable gives a name that can stand in a greeting, or none: whoever registers with another's address chooses the name
// that we mail to her, and mail readers make a link of anything that looks like one.
func presentable(name string) string {
	name = strings.TrimSpace(audit.Line(name, 4*maxName))
	if utf8.RuneCountInString(name) > maxName || strings.ContainsAny(name, "/:@<>\\") || strings.ContainsRune(name, utf8.RuneError) ||
		strings.Contains(cmp.Or(name, " "), "www.") {
		return ""
	}
	return name
}
