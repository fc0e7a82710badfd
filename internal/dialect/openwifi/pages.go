package openwifi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"sync"

	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// The pages that the login page links, and the icon that browsers ask for (openwifi.md 1.14).
const (
	accessPolicy   = "access_policy.html"
	passwordPolicy = "password_policy.html"
)

var (
	//go:embed pages.html
	pagesText string
	//go:embed favicon.ico
	faviconBytes []byte
	//go:embed openapi.yaml
	openAPIText []byte

	pages    = template.Must(template.New("pages").Parse(pagesText))
	favicon  = httpkit.NewDocument(faviconBytes, "image/x-icon", "public, max-age=86400")
	document = sync.OnceValue(func() httpkit.Document { return httpkit.OpenAPI(openAPIText) })
)

const pageStyle = `body{font:1rem/1.5 system-ui,sans-serif;margin:0;color:#1b1f24;background:#f4f5f7}` +
	`main{max-width:36rem;margin:6vh auto;padding:2rem;background:#fff;border:1px solid #d5d9de;border-radius:.5rem}` +
	`h1{font-size:1.4rem;margin:0 0 1rem}`

// pagePolicy lets a page style itself by this one sheet, and nothing else.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}()

// page is what the templates read.
type page struct {
	Rule    identity.PasswordRule
	Classes bool // fewer than all four are enough
}

// Style is a whole element, because the policy names the sum of what stands between its tags.
func (page) Style() template.HTML { return "<style>" + pageStyle + "</style>" }

// asset answers GET /wwwassets/{file}. The password page says the rule that holds.
func (d *Dialect) asset(w http.ResponseWriter, r *http.Request) error {
	var p page
	name := r.PathValue("file")
	switch name {
	case accessPolicy:
	case passwordPolicy:
		var err error
		if p.Rule, err = d.rule(r); err != nil {
			return err
		}
		p.Classes = p.Rule.Classes > 1 && p.Rule.Classes < 4
	default:
		return identity.NotFound.Because("there is no such file")
	}
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, name, p); err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", pagePolicy)
	httpkit.NewDocument(body.Bytes(), "text/html; charset=utf-8", "no-cache").ServeHTTP(w, r)
	return nil
}

func (d *Dialect) favicon(w http.ResponseWriter, r *http.Request) error {
	favicon.ServeHTTP(w, r)
	return nil
}

func (d *Dialect) openAPI(w http.ResponseWriter, r *http.Request) error {
	document().ServeHTTP(w, r)
	return nil
}
