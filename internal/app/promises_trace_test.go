package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// No refusal of any door, whatever is wrong with a request, writes what came in it into the log or hands it back (P9). Every
// other test of these files looks through its log too.
func TestRefusalsKeepSecrets(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	const canary = "canary-Kx7q-secret-91"
	long := canary + strings.Repeat("0", 64)
	h.log.keepSecret(canary)
	tried := 0
	echo := func(what string, in request) {
		t.Helper()
		tried++
		a := h.send(in)
		if a.status >= 500 {
			t.Errorf("%s: %v", what, a)
		}
		if strings.Contains(a.body, canary) {
			t.Errorf("%s: the answer holds it: %v", what, a)
		}
		for name, values := range a.header {
			if strings.Contains(strings.Join(values, " "), canary) {
				t.Errorf("%s: the header %s holds it", what, name)
			}
		}
	}
	for _, r := range recipes {
		good := r.make(t, h, "")
		if len(r.takes) > 0 {
			good = r.make(t, h, h.print(t, r.takes[0], h.holder(t, r, r.takes[0])))
		}
		for _, token := range []string{canary, long, canary + "." + canary + "." + canary} {
			if r.takes != nil {
				echo(r.name()+", as its token", r.make(t, h, token))
			}
			in := good
			in.bearer = token
			echo(r.name()+", as bearer", in)
			in.bearer, in.header = "", [][2]string{{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(token+":"+token))}}
			echo(r.name()+", as basic", in)
			in.header = [][2]string{{"Authorization", token}, {"Cookie", "session=" + token}, {"X-API-KEY", token}, {"X-INTERNAL-NAME", token}, {"X-Act-As-Kind", token}, {"X-Act-As-ID", token}}
			echo(r.name()+", in headers", in)
			in = good
			in.target, _, _ = strings.Cut(in.target, "?")
			in.body = strings.ReplaceAll(in.body, passphrase, "wrong") // or the query's new password becomes hers
			in.target += "?" + form("password", token, "newPassword", token, "token", token, "client_secret", token, "me", token)
			echo(r.name()+", in the query", in)
			// Ids in paths are logged, up to the length that ids have; but openwifi's clients put tokens there. Only the name of a secret
			// is handed back, as its contract says.
			if path, _, _ := strings.Cut(good.target, "?"); r.op != "saveSecret" && (token != canary || r.door == "openwifi" && r.op == "signOut") {
				in = good
				in.target = path[:strings.LastIndex(path, "/")+1] + token
				echo(r.name()+", in the path", in)
				in.target = path + "/" + token + "/x"
				echo(r.name()+", deep in the path", in)
			}
			for _, body := range []string{
				`"` + token + `"`, `{"` + token + `":1}`, `{"Password":"` + token + `","Password":"` + token + `"}`, `{"Password":"` + token, token,
				`{"Username":"ada@example.test","Email":"ada@example.test","user":"ada","userId":"ada@example.test","Password":"` + token + `","password":"` + token +
					`","KeepLoggedIn":"` + token + `","code":"` + token + `","uuid":"` + token + `","answer":"` + token + `","Token":"` + token + `"}`,
				form("grant_type", "password", "username", "ada@example.test", "password", token, "client_id", "app", "client_secret", token),
				form("grant_type", token, "client_id", token, "client_secret", token, "scope", token), "grant_type=password&password=" + token + "%zz",
			} {
				in = good
				in.body = body
				if r.op != "register" && in.method != "GET" {
					echo(r.name()+", in the body", in)
				}
				h.Clock.Advance(16 * time.Minute) // or the lock answers
			}
		}
	}
	if tried < 1300 {
		t.Errorf("only %d requests were tried", tried)
	}
}

// The look through the log finds what it should find, in every spelling.
func TestLogScanFires(t *testing.T) {
	const canary = "canary-1?2&3"
	for name, line := range map[string]string{
		"as it is": "x " + canary, "base64": "y=" + base64.StdEncoding.EncodeToString([]byte(canary)), "hex": "z" + hex.EncodeToString([]byte(canary)),
		"form": url.QueryEscape(canary), "a query": "level=INFO msg=request path=/oauth/token?x=1 status=200",
	} {
		var l logbook
		l.keepSecret(canary)
		if _, err := l.Write([]byte("level=INFO msg=quiet\n" + line + "\n")); err != nil {
			t.Fatal(err)
		}
		if len(l.leaks()) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
	h := newHouse(t, apptest.Options{})
	h.send(request{method: "GET", target: "/auth/configuration"})
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	if !bytes.Contains(h.log.text.Bytes(), []byte("op=configuration")) {
		t.Error("the log that is looked through is not the house's")
	}
}

// deed is an act that matters to whoever investigates later.
type deed struct {
	name string
	rows []string // the audit rows, action and outcome; the first is the deed's own
	// prepare makes somebody, and gives what she or the operator does; who it is about; and who does it ("": a stranger).
	prepare func(t *testing.T, h *house) (do func() bool, about, by identity.SubjectID)
	inside  bool // done by the operator: no address, no request
}

func (h *house) asked(in request) func() bool { return func() bool { return h.send(in).ok() } }

func deeds() []deed {
	var all []deed
	web := func(name string, rows []string, prepare func(t *testing.T, h *house, id identity.SubjectID, login string) request) {
		stranger := strings.HasPrefix(name, "stranger")
		all = append(all, deed{name: name, rows: rows, prepare: func(t *testing.T, h *house) (func() bool, identity.SubjectID, identity.SubjectID) {
			id, login := h.newPerson(t, strings.Contains(name, "code"))
			in := prepare(t, h, id, login)
			by := id
			if stranger {
				by = ""
			}
			return h.asked(in), id, by
		}})
	}
	for _, door := range doors {
		web("sign-in at "+string(door), []string{"signin ok"}, func(_ *testing.T, _ *house, _ identity.SubjectID, login string) request {
			return signIns[door](login, passphrase)
		})
		web("stranger: wrong password at "+string(door), []string{"signin bad credential"}, func(_ *testing.T, _ *house, _ identity.SubjectID, login string) request {
			return signIns[door](login, "wrong")
		})
		web("stranger: suspended at "+string(door), []string{"signin suspended"}, func(t *testing.T, h *house, id identity.SubjectID, login string) request {
			must(t, h.Manage.Suspend(t.Context(), operator, id, ""))
			return signIns[door](login, passphrase)
		})
	}
	for _, kind := range []string{titanCode, wifiChallenge} {
		web("stranger: the step before a code, "+kind, []string{"signin.proof ok"}, func(_ *testing.T, _ *house, _ identity.SubjectID, login string) request {
			return signIns[identity.Door(strings.Fields(kind)[0])](login, passphrase)
		})
		web("code, "+kind, []string{"signin ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
			token := h.print(t, kind, login)
			h.Clock.Advance(30 * time.Second)
			return asks(kind).make(t, h, token)
		})
		web("stranger: wrong code, "+kind, []string{"signin bad code"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
			in := asks(kind).make(t, h, h.print(t, kind, login))
			in.body = strings.ReplaceAll(in.body, h.codeNow(t), "xxxxxx")
			return in
		})
	}
	bearer := func(kind, method, target, body string) func(t *testing.T, h *house, id identity.SubjectID, login string) request {
		return func(t *testing.T, h *house, id identity.SubjectID, login string) request {
			token := h.print(t, kind, login)
			return request{method: method, bearer: token, target: strings.NewReplacer("{token}", token, "{id}", string(id)).Replace(target), body: body}
		}
	}
	web("sign-out at nx", []string{"session.end ok"}, bearer(nxAccess, "POST", "/auth/authenticate/signout", ""))
	web("sign-out at nx, of an Nx account", []string{"session.end ok"}, bearer(nxAccess, "POST", "/auth/nx/logout", `{"GrantType":"","Password":""}`))
	web("confirming herself at nx", []string{"session.renew ok"}, bearer(nxAccess, "POST", "/auth/nx/refresh-token", object("GrantType", "Password", "Password", passphrase)))
	web("revoking a token of the cloud", []string{"session.end ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		return aboutToken("DELETE")(t, h, h.print(t, cloudAccess, login))
	})
	web("stranger: an Nx account's code step", []string{"signin.proof ok"}, func(_ *testing.T, _ *house, _ identity.SubjectID, login string) request {
		return request{method: "POST", target: "/auth/nx/login", body: object("Email", login, "Password", passphrase)}
	})
	web("sign-out at titan", []string{"session.end ok"}, bearer(titanFull, "POST", "/auth/invalidate", ""))
	web("sign-out at openwifi", []string{"session.end ok"}, bearer(wifiAccess, "DELETE", "/api/v1/oauth2/{token}", ""))
	web("changing oneself at openwifi", []string{"subject.update ok"}, bearer(wifiAccess, "PUT", "/api/v1/user/{id}", `{"name":"Another"}`))
	web("a password of one's own at openwifi", []string{"password.set ok"}, bearer(wifiAccess, "PUT", "/api/v1/user/{id}", object("currentPassword", anotherOne)))
	web("removing oneself at openwifi", []string{"subject.delete ok", "session.end ok"}, bearer(wifiAccess, "DELETE", "/api/v1/user/{id}", ""))
	web("giving herself an avatar", []string{"subject.picture.set ok"}, func(t *testing.T, h *house, id identity.SubjectID, login string) request {
		return request{method: "POST", target: "/api/v1/avatar/" + string(id), bearer: h.print(t, wifiAccess, login), contentType: avatarType, body: avatarBody}
	})
	web("removing her avatar", []string{"subject.picture.remove ok"}, func(t *testing.T, h *house, id identity.SubjectID, login string) request {
		h.givePicture(t, id)
		return request{method: "DELETE", target: "/api/v1/avatar/" + string(id), bearer: h.print(t, wifiAccess, login)}
	})
	web("entering a hub", []string{"session.enter ok"}, bearer(titanFull, "POST", "/auth/hub/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1", ""))
	web("leaving a hub", []string{"session.enter ok"}, bearer(titanFull, "POST", "/auth/hub/invalidate", ""))
	web("saving preferences", []string{"preferences.save ok"}, bearer(wifiAccess, "PUT", "/api/v1/preferences", `{"data":[]}`))
	web("setting up an authenticator", []string{"factor.setup ok"}, bearer(wifiAccess, "GET", "/api/v1/totp", ""))
	web("confirming an authenticator", []string{"factor.confirm ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		return confirmation("openwifi", "/api/v1/totp")(t, h, h.print(t, wifiAccess, login))
	})
	web("a wrong c-o-d-e of an authenticator", []string{"factor.confirm bad code"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		in := confirmation("openwifi", "/api/v1/totp")(t, h, h.print(t, wifiAccess, login))
		in.target = "/api/v1/totp?index=1&value=x"
		return in
	})
	web("sending an SMS", []string{"message.send ok"}, func(t *testing.T, h *house, id identity.SubjectID, login string) request {
		yes := true
		_, err := h.Manage.Update(t.Context(), operator, id, manage.Change{Superadmin: &yes})
		must(t, err)
		return request{method: "POST", target: "/api/v1/sms", bearer: h.print(t, wifiAccess, login), body: object("to", h.newNumber(), "text", "x")}
	})
	web("having a number confirmed", []string{"phone.code ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		return request{method: "POST", target: "/api/v1/sms?validateNumber=true", bearer: h.print(t, wifiAccess, login), body: object("to", h.newNumber())}
	})
	web("proving a number", []string{"phone.prove ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		return proofOfNumber(t, h, h.print(t, wifiAccess, login))
	})
	web("failing to prove a number", []string{"phone.prove bad code"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		in := proofOfNumber(t, h, h.print(t, wifiAccess, login))
		in.target = "/api/v1/sms?completeValidation=true&validationCode=x"
		return in
	})
	web("making an API key", []string{"apikey.create ok"}, bearer(wifiAccess, "POST", "/api/v1/apiKey/{id}", `{"name":"a","expiresOn":4102444800}`))
	for method, row := range map[string]string{"PUT": "apikey.update ok", "DELETE": "apikey.delete ok"} {
		web(method+" of an API key", []string{row}, func(t *testing.T, h *house, id identity.SubjectID, login string) request {
			token := h.print(t, wifiAccess, login)
			key, _ := h.apiKey(t, "made", h.liveOf(t, token))
			return request{method: method, bearer: token, target: "/api/v1/apiKey/" + string(id) + "?keyUuid=" + string(key), body: object("id", string(key), "description", "x")}
		})
	}
	web("changing a profile", []string{"subject.update ok"}, bearer(nxAccess, "PATCH", "/auth/user/{id}", `{"Name":"Another"}`))
	web("changing a password", []string{"password.set ok"}, bearer(nxAccess, "POST", "/auth/authenticate/update-password", object("CurrentPassword", passphrase, "NewPassword", anotherOne)))
	web("changing a password elsewhere", []string{"password.set ok", "session.end ok", "signin ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		h.print(t, nxAccess, login)
		return request{method: "POST", target: "/api/v1/oauth2", body: object("userId", login, "password", passphrase, "newPassword", anotherOne)}
	})
	web("stranger: asking for a link", []string{"recovery.request ok"}, func(_ *testing.T, _ *house, _ identity.SubjectID, login string) request {
		return request{method: "POST", target: "/auth/authenticate/forgot-password", body: object("Email", login)}
	})
	web("stranger: reset by link", []string{"password.set ok", "session.end ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		h.print(t, nxAccess, login)
		return request{method: "POST", target: "/auth/authenticate/reset-password", body: object("Token", h.resetLink(t, login), "Password", anotherOne)}
	})
	web("stranger: asking for a link at openwifi", []string{"recovery.request ok"}, func(_ *testing.T, _ *house, _ identity.SubjectID, login string) request {
		return request{method: "POST", target: "/api/v1/oauth2?forgotPassword=true", body: object("userId", login)}
	})
	web("reset by link at openwifi", []string{"password.set ok", "session.end ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		h.print(t, nxAccess, login)
		h.must(t, request{method: "POST", target: "/api/v1/oauth2?forgotPassword=true", body: object("userId", login)})
		return formOf("/api/v1/actionLink?action=password_reset", "id", h.mailedTo(t, login, "&id="), "password1", anotherOne, "password2", anotherOne)(t, h, "")
	})
	web("stranger: a refresh token that comes again", []string{"token.reuse token reused", "session.end ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		in := asks(wifiRefresh).make(t, h, h.print(t, wifiRefresh, login))
		h.must(t, in)
		return in
	})
	web("stranger: a client revokes a token", []string{"token.revoke ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		return formOf("/oauth2/revoke", "token", h.print(t, nxAccess, login), "client_id", "robot", "client_secret", clientSecret)(t, h, "")
	})
	web("stranger: a client ends a session", []string{"session.end ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		return formOf("/oauth2/revoke", "token", h.print(t, nxRefresh, login), "client_id", "robot", "client_secret", clientSecret)(t, h, "")
	})
	web("stranger: asking for a recovery", []string{"factor.recovery.request ok"}, func(_ *testing.T, _ *house, _ identity.SubjectID, login string) request {
		return request{method: "POST", target: "/auth/recovery/initiate", body: object("user", login)}
	})
	web("confirming a recovery", []string{"factor.recovery.confirm ok"}, func(t *testing.T, h *house, _ identity.SubjectID, login string) request {
		h.must(t, request{method: "POST", target: "/auth/recovery/initiate", body: object("user", login)})
		return verification(t, h, h.titanLink(t, login))
	})
	web("confirming an address at titan", []string{"verification.confirm ok", "subject.update ok"}, func(t *testing.T, h *house, id identity.SubjectID, login string) request {
		_, err := h.Recovery.StartVerification(t.Context(), operator, id, h.Doors.Titan.VerifyLink())
		must(t, err)
		return verification(t, h, h.titanLink(t, login))
	})
	for _, kind := range []string{titanCode, wifiChallenge} {
		withCode := func(t *testing.T, h *house, login, code string) request {
			in := asks(kind).make(t, h, h.print(t, kind, login))
			in.body = strings.ReplaceAll(in.body, h.codeNow(t), code)
			return in
		}
		web("recovery code, "+kind, []string{"factor.recovery.use ok", "signin ok"}, func(t *testing.T, h *house, id identity.SubjectID, login string) request {
			return withCode(t, h, login, h.recoveryCode(t, id, login))
		})
		web("printed code, "+kind, []string{"signin ok"}, func(t *testing.T, h *house, id identity.SubjectID, login string) request {
			codes, err := h.Recovery.PrintCodes(t.Context(), operator, id)
			must(t, err)
			return withCode(t, h, login, codes[3].Reveal())
		})
	}
	ours := func(name, row, method, target, body string) {
		all = append(all, deed{name: name, rows: []string{row}, prepare: func(t *testing.T, h *house) (func() bool, identity.SubjectID, identity.SubjectID) {
			bearer := h.print(t, wifiAccess, "root@example.test")
			if method == "DELETE" {
				h.must(t, request{method: "PUT", target: target, body: `{"value":"x"}`, bearer: bearer})
			}
			return h.asked(request{method: method, target: target, body: body, bearer: bearer}), rootID, rootID
		}})
	}
	ours("setting log levels", "system.levels ok", "POST", "/api/v1/system", `{"command":"setloglevel","subsystems":[{"tag":"keys","value":"trace"}]}`)
	ours("reloading", "system.reload ok", "POST", "/api/v1/system", `{"command":"reload","subsystems":["sessions"]}`)
	ours("keeping a secret", "secret.save ok", "PUT", "/api/v1/systemSecret/maps", `{"value":"x"}`)
	ours("forgetting a secret", "secret.delete ok", "DELETE", "/api/v1/systemSecret/maps", "")
	all = append(all, deed{
		name: "registration", rows: []string{"signup ok", "subject.create ok", "organisation.create ok", "membership.save ok"},
		prepare: func(t *testing.T, h *house) (func() bool, identity.SubjectID, identity.SubjectID) {
			in := request{method: "POST", target: "/auth/user", body: object("Email", h.newAddress(t), "Password", passphrase, "Name", "N", "Company", h.newAddress(t), "AcceptEULA", "true")}
			h.Clock.Advance(time.Hour) // an address registers twenty in an hour
			return h.asked(in), "?", "?"
		},
	})
	op := func(name string, rows []string, do func(t *testing.T, h *house, id identity.SubjectID) error) {
		all = append(all, deed{name: name, rows: rows, inside: true, prepare: func(t *testing.T, h *house) (func() bool, identity.SubjectID, identity.SubjectID) {
			id, login := h.newPerson(t, name == "factors reset" || strings.Contains(name, "recovery"))
			if strings.HasSuffix(name, "a recovery") {
				h.waiting(t, id, login)
			}
			if slices.Contains(rows, "session.end ok") {
				h.print(t, nxAccess, login)
			}
			return func() bool { return do(t, h, id) == nil }, id, rootID
		}})
	}
	by := identity.Caller{Door: "cli", ActorID: rootID}
	op("suspending", []string{"subject.suspend ok", "session.end ok"}, func(t *testing.T, h *house, id identity.SubjectID) error {
		return h.Manage.Suspend(t.Context(), by, id, "why")
	})
	op("deleting", []string{"subject.delete ok", "session.end ok"}, func(t *testing.T, h *house, id identity.SubjectID) error {
		return h.Manage.Delete(t.Context(), by, id)
	})
	op("setting a password", []string{"password.set ok", "session.end ok"}, func(t *testing.T, h *house, id identity.SubjectID) error {
		return h.Manage.SetPassword(t.Context(), by, id, manage.NewPassword{Password: anotherOne})
	})
	op("enrolling a factor", []string{"factor.enrol ok"}, func(t *testing.T, h *house, id identity.SubjectID) error {
		return h.Manage.EnrolTOTP(t.Context(), by, id, sharedSecret)
	})
	waits := func(t *testing.T, h *house, id identity.SubjectID) (found identity.RecoveryID) {
		h.view(t, func(ctx context.Context, r identity.Reader) error {
			all, err := r.RecoveriesOf(ctx, id)
			found = all[0].ID
			return err
		})
		return found
	}
	op("approving a recovery", []string{"factor.recovery.approve ok"}, func(t *testing.T, h *house, id identity.SubjectID) error {
		_, err := h.Recovery.Approve(t.Context(), by, waits(t, h, id))
		return err
	})
	op("denying a recovery", []string{"factor.recovery.deny ok"}, func(t *testing.T, h *house, id identity.SubjectID) error {
		_, err := h.Recovery.Deny(t.Context(), by, waits(t, h, id))
		return err
	})
	op("printing recovery codes", []string{"factor.recovery.codes ok"}, func(t *testing.T, h *house, id identity.SubjectID) error {
		_, err := h.Recovery.PrintCodes(t.Context(), by, id)
		return err
	})
	op("giving a login", []string{"subject.login.add ok"}, func(t *testing.T, h *house, id identity.SubjectID) error {
		return h.Manage.AddLogin(t.Context(), by, id, h.newAddress(t))
	})
	op("making her rule", []string{"subject.update ok"}, func(t *testing.T, h *house, id identity.SubjectID) error {
		yes := true
		_, err := h.Manage.Update(t.Context(), by, id, manage.Change{Superadmin: &yes})
		return err
	})
	op("making a member", []string{"membership.save ok"}, func(t *testing.T, h *house, id identity.SubjectID) error {
		_, err := h.Manage.SaveMembership(t.Context(), by, identity.Membership{SubjectID: id, OrganisationID: works})
		return err
	})
	op("ending all sessions", []string{"session.end ok"}, func(t *testing.T, h *house, id identity.SubjectID) error {
		return h.Sessions.EndAll(t.Context(), by, id, "", "operator")
	})
	return all
}

// Each act that matters leaves its row, once, that says who, whom, through which door, from where and how it ended; and an act
// whose row cannot be written does not happen (P10). Afterwards the whole log verifies.
func TestEveryActIsRecorded(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		f := &faulty{Store: store}
		h := newHouse(t, apptest.Options{Store: f})
		for _, d := range deeds() {
			t.Run(d.name, func(t *testing.T) {
				do, about, by := d.prepare(t, h)
				own, _, _ := strings.Cut(d.rows[0], " ")
				state, mark := h.state(t), h.lastEvent(t)
				f.refuse = func(e identity.Event) bool { return e.Action == own }
				done := do()
				f.refuse = nil
				if done {
					t.Error("it was done though its row could not be written")
				}
				if rows := h.events(t, mark); len(rows) > 0 {
					t.Errorf("rows of what did not happen: %+v", rows)
				}
				if h.state(t) != state {
					t.Error("something of what did not happen stands")
				}
				do() // what is to be refused is refused
				var got []string
				rows := h.events(t, mark)
				for _, e := range rows {
					got = append(got, e.Action+" "+e.Outcome)
					if e.Action == own {
						h.complete(t, d, e, about, by)
					}
				}
				want := slices.Sorted(slices.Values(d.rows))
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("rows %q, want %q", got, want)
				}
			})
		}
		h.sealed(t)
	})
}

// twice runs every update once for nothing before it counts, as both stores may: PostgreSQL when another came between, SQLite when a
// neighbour in its group fails.
type twice struct{ identity.Store }

var errForNothing = errors.New("once for nothing")

func (s twice) Update(ctx context.Context, do func(identity.Tx) error) error {
	_ = s.Store.Update(ctx, func(tx identity.Tx) error { return errors.Join(do(tx), errForNothing) })
	return s.Store.Update(ctx, do)
}

// An act whose update runs again is the same act, once.
func TestEveryUpdateMayRunAgain(t *testing.T) {
	h := newHouse(t, apptest.Options{Store: twice{storetest.Fresh(t)}})
	for _, d := range deeds() {
		t.Run(d.name, func(t *testing.T) {
			do, about, by := d.prepare(t, h)
			own, _, _ := strings.Cut(d.rows[0], " ")
			mark := h.lastEvent(t)
			do()
			var got []string
			for _, e := range h.events(t, mark) {
				got = append(got, e.Action+" "+e.Outcome)
				if e.Action == own {
					h.complete(t, d, e, about, by)
				}
			}
			slices.Sort(got)
			if want := slices.Sorted(slices.Values(d.rows)); !slices.Equal(got, want) {
				t.Errorf("rows %q, want %q", got, want)
			}
		})
	}
	h.sealed(t)
}

func (h *house) complete(t *testing.T, d deed, e identity.Event, about, by identity.SubjectID) {
	t.Helper()
	if about == "?" { // made by the act
		about, by = e.SubjectID, e.SubjectID
	}
	if e.SubjectID != about || about == "" {
		t.Errorf("about %q, want %q: %+v", e.SubjectID, about, e)
	}
	if e.ActorID != by {
		t.Errorf("by %q, want %q: %+v", e.ActorID, by, e)
	}
	if d.inside {
		if e.Door != "cli" {
			t.Errorf("door %q: %+v", e.Door, e)
		}
		return
	}
	if e.Door == "" || e.Address != "192.0.2.1" || e.RequestID == "" || e.At != h.Clock.Now() {
		t.Errorf("door, address, request or time is missing: %+v", e)
	}
	if e.Action == "signin" && e.Outcome == "ok" || strings.HasPrefix(e.Action, "session.") || e.Action == "signup" {
		if e.SessionID == "" {
			t.Errorf("no session: %+v", e)
		}
	}
}

// A flood of tries cannot switch the log off, nor fill it: who is locked out is refused without a row, and everybody else's
// rows are written as ever.
func TestAuditUnderFlood(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	_, login := h.newPerson(t, false)
	mark := h.lastEvent(t)
	for range 200 {
		if a := h.send(signIns["nx"](login, "wrong")); a.status != http.StatusUnauthorized && a.status != http.StatusTooManyRequests {
			t.Fatal(a)
		}
	}
	if rows := len(h.events(t, mark)); rows != 10 {
		t.Errorf("%d rows of 200 tries, want those of the 10 that were judged", rows)
	}
	mark = h.lastEvent(t)
	h.must(t, signIns["titan"]("eve@works.test", passphrase))
	if rows := h.events(t, mark); len(rows) != 1 || rows[0].SubjectID != eveID {
		t.Errorf("rows of somebody else's sign-in: %+v", rows)
	}
}
