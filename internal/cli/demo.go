package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/examples"
	"gatehouse/internal/app"
	"gatehouse/internal/config"
	"gatehouse/internal/core/audit"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
	"gatehouse/internal/world"
)

type demoCmd struct {
	Once bool `help:"End after the walk."`
}

// Help is shown behind the command's line.
func (c *demoCmd) Help() string {
	return "Everything is in a temporary directory that goes when the demo ends; your own store, mail server and certificates are left alone. " +
		"It listens where serve would, or on a free port where that is taken."
}

// Run serves a sample world from a directory of its own, walks every door, and keeps serving.
func (c *demoCmd) Run(e *environment) (err error) {
	cfg, err := c.config(e)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatehouse-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg.Data = dir
	began := time.Now()
	node, err := startDemo(e, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	sample, err := world.Parse("examples/world.yaml", examples.World)
	if err != nil {
		return err
	}
	steps, err := node.Worlds.Apply(e.ctx, sample, world.Options{Caller: e.caller()})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(e.ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- node.Serve(ctx) }()
	end := func(walked error) error { // the house finishes its work before its store closes
		stop()
		return errors.Join(walked, <-served)
	}

	d := &walk{e: e, node: node, dir: dir, base: "http://" + node.Addr().String(), vars: map[string]string{}}
	d.say("Gatehouse %s on %s, with a store of its own in %s\nand the %s of examples/world.yaml, after %s.", Version(), d.base, dir,
		countWord(len(steps), "record"), time.Since(began).Round(time.Millisecond))
	if err := d.all(ctx); err != nil || c.Once {
		return end(err)
	}
	d.say("The house stays open on %s until you press Ctrl-C. From another terminal:\n\n"+
		"  curl -s %s/oauth/token -d grant_type=password -d username=dana@resolve.io \\\n"+
		"    -d 'password=Harbour-42-lantern!' -d client_id=fixstreamapp -d client_secret=fixstream\n"+
		"  %s user list --data %s\n"+
		"  %[3]s audit list --data %[4]s --subject dana\n"+
		"  %[3]s licence verify %[4]s/camera-1.licence --keys %[4]s/jwks.json", d.base, d.base, spelled(), dir)
	return <-served
}

// config takes from the operator's settings what a walk needs; everything else is as it comes, so that a demo never meets her
// database, mail server or certificates.
func (c *demoCmd) config(e *environment) (config.Config, error) {
	given, err := e.config() // with mistakes in it, nothing runs
	if err != nil {
		return given, err
	}
	listen := given.Listen
	if c.Once {
		listen = "127.0.0.1:0"
	}
	cfg, err := config.Load(config.Sources{Flags: map[string]string{"listen": listen}})
	cfg.Password = given.Password
	return cfg, err
}

// startDemo takes the configured address, or any other if that is taken: the demo should run whatever else does.
func startDemo(e *environment, cfg config.Config) (*app.Node, error) {
	quiet := app.Options{Log: slog.New(slog.NewTextHandler(e.Err, &slog.HandlerOptions{Level: slog.LevelError}))}
	node, err := app.Start(e.ctx, cfg, quiet)
	if err == nil || e.ctx.Err() != nil {
		return node, err
	}
	cfg.Listen = "127.0.0.1:0"
	return app.Start(e.ctx, cfg, quiet)
}

// spelled is how this program is called again: `go run` leaves nothing on the PATH.
func spelled() string {
	self, err := os.Executable()
	if err != nil {
		return "gatehouse"
	}
	if found, err := exec.LookPath("gatehouse"); err == nil && sameFile(found, self) {
		return "gatehouse"
	}
	if _, err := os.Stat("cmd/gatehouse/main.go"); err == nil && strings.Contains(self, "go-build") {
		return "go run ./cmd/gatehouse"
	}
	return self
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// walk holds what the exchanges of a demo share.
type walk struct {
	e    *environment
	node *app.Node
	dir  string
	base string
	vars map[string]string
}

func (d *walk) all(ctx context.Context) error {
	if err := d.doors(ctx); err != nil {
		return err
	}
	return d.audit(ctx)
}

func (d *walk) say(format string, args ...any) { fmt.Fprintf(d.e.Out, format+"\n\n", args...) }

// exchange is one request of the walk.
type exchange struct {
	title   string
	method  string
	path    string
	headers []string
	form    url.Values
	body    string
	status  int               // wanted
	show    []string          // of a long answer; path, or path=JSON that it must be
	keep    map[string]string // name -> dotted path of the answer; "" is the whole
	then    func() error      // what follows it without the network
}

func (d *walk) doors(ctx context.Context) error {
	const dana, password = "dana@example.com", "Harbour-42-lantern!"
	json := "Content-Type: application/json"
	chapters := []struct {
		title string
		steps func() []exchange
	}{
		{"Insights: the call that its manual prints", func() []exchange {
			return []exchange{
				{title: "a token for Dana", method: "POST", path: "/oauth/token", status: 200, form: url.Values{
					"grant_type": {"password"}, "username": {"dana@resolve.io"}, "password": {password},
					"client_id": {"fixstreamapp"}, "client_secret": {"fixstream"}, "scope": {"read write trust"},
				}, show: []string{"access_token", "expires_in", `scope="read write trust"`, `user.name="Dana Reyes"`}, keep: map[string]string{"insights": "access_token"}},
				{title: "who she is and what she may do", method: "GET", path: "/api/v2/users/loggedIn/detail", headers: []string{"Authorization: Bearer {insights}"}, status: 200},
				{title: "a wrong password", method: "POST", path: "/oauth/token", status: 400, form: url.Values{
					"grant_type": {"password"}, "username": {"dana@resolve.io"}, "password": {"wrong"}, "client_id": {"fixstreamapp"}, "client_secret": {"fixstream"},
				}},
			}
		}},
		{"Nx: the same person, the same password, and a licence for a camera", func() []exchange {
			access := "Authorization: Bearer {nx}"
			return []exchange{
				{title: "sign in", method: "POST", path: "/auth/authenticate/signin", headers: []string{json}, status: 200,
					body: `{"KeepLoggedIn":true,"Password":"` + password + `","Username":"` + dana + `"}`,
					keep: map[string]string{"nx": "AccessToken", "nxRefresh": "RefreshToken"}},
				{title: "another access token", method: "POST", path: "/auth/authenticate/refresh-token", headers: []string{json, "Authorization: Bearer {nxRefresh}"}, status: 200,
					body: `{"GrantType":"AccessToken"}`},
				{title: "what NORTHWIND is licensed for", method: "GET", path: "/auth/licenses?Kind=subscription", headers: []string{access}, status: 200,
					show: []string{`0.Agreement.Name="Edge Pro"`, "0.Agreement.Provides", "0.ExpiresAt", "0.UUID"}, keep: map[string]string{"licence": "0.UUID"}},
				{title: "a document of it, for the camera to carry", method: "GET", path: "/auth/licences/{licence}/document", headers: []string{access}, status: 200,
					keep: map[string]string{"document": "Document", "camera": "Device"}},
				{title: "the house's public keys", method: "GET", path: "/oauth2/jwks", status: 200, show: []string{"keys.0.alg", "keys.1.alg"}, keep: map[string]string{"jwks": ""}, then: d.offline},
				{title: "sign out", method: "POST", path: "/auth/authenticate/signout", headers: []string{access}, status: 200},
			}
		}},
		{"TITAN: hubs, a second factor for Tove, and Dana acting as her", func() []exchange {
			code, err := totp.Code("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", d.node.Now())
			if err != nil {
				code = ""
			}
			who := []string{"data.user.name", "data.hub.name", "data.role", "data.impersonation"}
			is := func(values ...string) []string {
				shown := slices.Clone(who)
				for i, v := range values {
					shown[i] += "=" + v
				}
				return shown
			}
			return []exchange{
				{title: "Tove must show a code", method: "POST", path: "/auth", headers: []string{json}, status: 200,
					body: `{"user":"tove","password":"Quiet-meadow-77-bell!"}`, keep: map[string]string{"ticket": "data.token"}},
				{title: "and does; she is in two hubs", method: "POST", path: "/auth/code", headers: []string{json, "Authorization: Bearer {ticket}"}, status: 200, body: `{"code":"` + code + `"}`,
					show: []string{`data.user.name="Tove Lindqvist"`, "data.user.hubs.0.name", "data.user.hubs.1.name", "data.hub=null"},
					keep: map[string]string{"tove": "data.token", "toveHash": "data.user.hash", "fabrikam": "data.user.hubs.0.hash"}},
				{title: "she goes to one", method: "POST", path: "/auth/hub/{fabrikam}", headers: []string{"Authorization: Bearer {tove}"}, status: 200,
					show: is(`"Tove Lindqvist"`, `"Fabrikam Vision"`, "4", "false")},
				{title: "Dana owns the other, which allows acting as its members", method: "POST", path: "/auth", headers: []string{json}, status: 200,
					body: `{"user":"` + dana + `","password":"` + password + `"}`, show: is(`"Dana Reyes"`, `"NORTHWIND"`, "5", "false"), keep: map[string]string{"titan": "data.token"}},
				{title: "she acts as Tove", method: "POST", path: "/auth/impersonation/{toveHash}", headers: []string{"Authorization: Bearer {titan}"}, status: 200,
					show: is(`"Tove Lindqvist"`, `"NORTHWIND"`, "1", "true"), keep: map[string]string{"acting": "data.token"}},
				{title: "and is herself again", method: "POST", path: "/auth/impersonation/invalidate", headers: []string{"Authorization: Bearer {acting}"}, status: 200,
					show: is(`"Dana Reyes"`, `"NORTHWIND"`, "5", "false")},
				{title: "with the other token nobody acts any more", method: "POST", path: "/auth/ping", headers: []string{"Authorization: Bearer {acting}"}, status: 401},
			}
		}},
		{"OpenWiFi: Dana, an administrator with users of her own, and a customer", func() []exchange {
			root := `{"userId":"root@openwifi.example.test","password":"Change-me-9-please!"`
			sue := `{"userId":"sue@example.net","password":"Copper-kettle-15-rain!"}`
			token := "Authorization: Bearer {openwifi}"
			return []exchange{
				{title: "Dana signs in here too", method: "POST", path: "/api/v1/oauth2", headers: []string{json}, status: 200,
					body: `{"userId":"` + dana + `","password":"` + password + `"}`, show: []string{"access_token", "expires_in", "idle_timeout", `username="dana@example.com"`}},
				{title: "the first sign-in of Rosa", method: "POST", path: "/api/v1/oauth2", headers: []string{json}, status: 403, body: root + `}`},
				{title: "with a new password", method: "POST", path: "/api/v1/oauth2", headers: []string{json}, status: 200, body: root + `,"newPassword":"Lantern-Path7"}`,
					show: []string{"access_token", "userMustChangePassword=false"}, keep: map[string]string{"openwifi": "access_token"}},
				{title: "she makes a user", method: "POST", path: "/api/v1/user/0", headers: []string{json, token}, status: 200,
					body: `{"email":"ivo@example.com","name":"Ivo Brandt","userRole":"installer","currentPassword":"Ladder-and-Drill-6","changePassword":true}`,
					show: []string{"id", `email="ivo@example.com"`, `userRole="installer"`, "changePassword=true"}, keep: map[string]string{"ivo": "id"}},
				{title: "and finds him among the others", method: "GET", path: "/api/v1/users?emailSearch=@example.com", headers: []string{token}, status: 200,
					show: []string{"users.0.email", "users.1.email", `users.2.email="ivo@example.com"`}},
				{title: "Sue is a customer, unknown where the operator's people sign in", method: "POST", path: "/api/v1/oauth2", headers: []string{json}, status: 403, body: sue},
				{title: "and known at the subscribers' way in", method: "POST", path: "/api/v1/suboauth2", headers: []string{json}, status: 200, body: sue,
					show: []string{"access_token", `username="sue@example.net"`}},
				{title: "where the other services are", method: "GET", path: "/api/v1/systemEndpoints", headers: []string{token}, status: 200},
			}
		}},
		{"OAuth: a machine, a device, and what they see of the doors", func() []exchange {
			machine := "Authorization: Basic aW52ZW50b3J5LXN5bmM6c2FtcGxlLXNlY3JldC1vZi10aGUtZGVtby03YzFm"
			gateway := "Authorization: Basic Z2F0ZXdheS0xOnNhbXBsZS1zZWNyZXQtb2YtdGhlLWdhdGV3YXktMmI4ZQ=="
			return []exchange{
				{title: "a token of its own", method: "POST", path: "/oauth2/token", headers: []string{machine}, status: 200, form: url.Values{"grant_type": {"client_credentials"}}},
				{title: "the gateway signs in, a device", method: "POST", path: "/oauth2/token", headers: []string{gateway}, status: 200, form: url.Values{"grant_type": {"client_credentials"}},
					keep: map[string]string{"gateway": "access_token"}},
				{title: "what it may use: the licence of the camera is not its own", method: "POST", path: "/oauth2/introspect", headers: []string{gateway}, status: 200, form: url.Values{"token": {"{gateway}"}},
					show: []string{"active=true", "org", "device", `entitlements.0="manager"`}},
				{title: "Dana's Insights token, introspected", method: "POST", path: "/oauth2/introspect", headers: []string{machine}, status: 200, form: url.Values{"token": {"{insights}"}},
					show: []string{"active=true", `username="dana@example.com"`, `door="insights"`, "iss", "amr", "entitlements"}},
				{title: "the Nx token that she signed out", method: "POST", path: "/oauth2/introspect", headers: []string{machine}, status: 200, form: url.Values{"token": {"{nx}"}}, show: []string{"active=false"}},
			}
		}},
	}
	for _, chapter := range chapters {
		d.say("── %s %s", chapter.title, strings.Repeat("─", max(3, 90-len(chapter.title))))
		for _, x := range chapter.steps() {
			if err := d.play(ctx, x); err != nil {
				return fmt.Errorf("%s, %s: %w", chapter.title, x.title, err)
			}
		}
	}
	return nil
}

func (d *walk) fill(s string) string {
	for name, value := range d.vars {
		s = strings.ReplaceAll(s, "{"+name+"}", value)
	}
	return s
}

// play sends one request over the network, as any client would, and prints both sides.
func (d *walk) play(ctx context.Context, x exchange) error {
	body := x.body
	headers := x.headers
	if x.form != nil {
		form := url.Values{}
		for name, values := range x.form {
			form.Set(name, d.fill(values[0]))
		}
		body = form.Encode()
		headers = append([]string{"Content-Type: application/x-www-form-urlencoded"}, headers...)
	}
	path := d.fill(x.path)
	r, err := http.NewRequestWithContext(ctx, x.method, d.base+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	var shown bytes.Buffer
	fmt.Fprintf(&shown, "# %s\n> %s %s\n", x.title, x.method, path)
	for _, h := range headers {
		name, value, _ := strings.Cut(d.fill(h), ": ")
		r.Header.Set(name, value)
		fmt.Fprintf(&shown, "> %s: %s\n", name, shorten(value))
	}
	if body != "" {
		fmt.Fprintf(&shown, "> %s\n", shorten(body))
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	fmt.Fprintf(&shown, "< %s", answer.Status)
	expected := answer.StatusCode == x.status
	switch {
	case len(x.show) > 0 && expected:
		shown.WriteString(", with")
		for _, s := range x.show {
			path, want, checked := strings.Cut(s, "=")
			value, err := pick(text, path)
			if err != nil {
				return err
			}
			if checked && value != want {
				return fmt.Errorf("answered %s = %s, want %s", path, value, want)
			}
			fmt.Fprintf(&shown, "\n<   %s: %s", path, shorten(value))
		}
	case len(text) > 0:
		fmt.Fprintf(&shown, "\n< %s", shorten(strings.TrimSpace(string(text))))
	}
	d.say("%s", shown.String())
	if !expected {
		return fmt.Errorf("answered %s, want %d", answer.Status, x.status)
	}
	for name, path := range x.keep {
		value, err := pick(text, path)
		if err != nil {
			return err
		}
		d.vars[name] = strings.Trim(value, `"`) // of strings; none has anything to unescape
	}
	if x.then != nil {
		return x.then()
	}
	return nil
}

// offline checks the licence document as a device does: with files, and no word to the house.
func (d *walk) offline() error {
	document, keys := filepath.Join(d.dir, "camera-1.licence"), filepath.Join(d.dir, "jwks.json")
	for file, text := range map[string]string{document: d.vars["document"], keys: d.vars["jwks"]} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	check := licenceVerifyCmd{File: document, Keys: keys, Device: d.vars["camera"]}
	fmt.Fprintf(d.e.Out, "# both are on the camera now, which needs no network to know what it may do\n$ gatehouse licence verify camera-1.licence --keys jwks.json --device %s\n", check.Device)
	if err := check.Run(d.e); err != nil {
		return err
	}
	check.Device = "0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7a02" // the gateway's
	err := check.Run(d.e)
	if !errors.Is(err, identity.Invalid) {
		return fmt.Errorf("the document is taken for another device's: %v", err)
	}
	d.say("\n# another device has no use for it\n$ gatehouse licence verify camera-1.licence --keys jwks.json --device %s\ngatehouse: %s", check.Device, explain(err))
	return nil
}

// audit shows that everything above left its trace, sealed.
func (d *walk) audit(ctx context.Context) error {
	d.say("── The audit log %s", strings.Repeat("─", 75))
	if _, err := d.node.Sealer.SealOnce(ctx); err != nil {
		return err
	}
	var list []identity.Event
	for _, action := range []string{"signin", "impersonation.begin", "licence.document"} {
		some, err := d.node.Events(ctx, identity.EventFilter{Action: action, Limit: 20})
		if err != nil {
			return err
		}
		list = append(list, some...)
	}
	slices.SortFunc(list, func(a, b identity.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	logins, err := names{d.e, d.node.House}.of(subjects(list))
	if err != nil {
		return err
	}
	t := newTable(d.e.Out, false, "AT", "ACTION", "OUTCOME", "DOOR", "ABOUT", "BY")
	for _, ev := range list {
		t.row(nil, when(ev.At), ev.Action, ev.Outcome, string(ev.Door), logins[ev.SubjectID], logins[ev.ActorID])
	}
	if err := t.end(nil); err != nil {
		return err
	}
	sum, err := d.node.Sealer.Verify(ctx, func(audit.Problem) {})
	if err != nil {
		return err
	}
	if sum.Problems > 0 {
		return fmt.Errorf("the audit log has %s", countWord(sum.Problems, "problem"))
	}
	d.say("\n%s, sealed into a chain that is whole.", countWord(int(sum.Rows), "row"))
	return nil
}

var long = regexp.MustCompile(`[A-Za-z0-9_.-]{60,}`)

// shorten cuts tokens, which nobody reads, so that the rest can be.
func shorten(s string) string {
	return long.ReplaceAllStringFunc(s, func(token string) string { return token[:24] + "…" })
}

// pick follows a dotted path, and gives what is there as JSON.
func pick(text []byte, path string) (string, error) {
	rest := json.RawMessage(text)
	if path == "" {
		return string(text), nil
	}
	for step := range strings.SplitSeq(path, ".") {
		var object map[string]json.RawMessage
		var list []json.RawMessage
		i, notIndex := strconv.Atoi(step)
		switch {
		case json.Unmarshal(rest, &object) == nil && object[step] != nil:
			rest = object[step]
		case json.Unmarshal(rest, &list) == nil && notIndex == nil && i >= 0 && i < len(list):
			rest = list[i]
		default:
			return "", fmt.Errorf("the answer has no %s", path)
		}
	}
	return string(rest), nil
}
