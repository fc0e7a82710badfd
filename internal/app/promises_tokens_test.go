package app_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"hash"
	"maps"
	"math/big"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

// Every kind of token at every operation that asks for another: refused in the door's words. And each where it belongs: taken,
// so that the refusals prove something.
func TestTokensAtEveryOperation(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	valid := newValidator(t, h)
	shown := map[string]string{}
	for _, kind := range tokenKinds {
		shown[kind] = h.print(t, kind, holderOf(kind))
	}
	h.Clock.Advance(30 * time.Second) // so that the code that comes along is a fresh one
	tried := 0
	for _, r := range recipes {
		if r.takes == nil {
			continue
		}
		for _, kind := range tokenKinds {
			// The client's own tokens are for its resource servers: no operation of ours takes one.
			if slices.Contains(r.takes, kind) {
				continue
			}
			in := r.make(t, h, shown[kind])
			a := h.send(in)
			tried++
			want := []int{http.StatusUnauthorized, http.StatusForbidden}
			if r.inBody {
				want = append(want, http.StatusBadRequest, http.StatusNotFound)
			}
			if !slices.Contains(want, a.status) {
				t.Errorf("%s at %s: %v", kind, r.name(), a)
			} else if err := valid(r.door, in, a); err != nil {
				t.Errorf("%s at %s: %v in %v", kind, r.name(), err, a)
			}
		}
	}
	if tried < 300 {
		t.Errorf("only %d pairs of token and operation were tried", tried)
	}
	for _, r := range recipes {
		for _, kind := range r.takes {
			token := h.print(t, kind, h.holder(t, r, kind))
			h.Clock.Advance(30 * time.Second)
			if a := h.send(r.make(t, h, token)); !a.ok() && a.status != r.idle {
				t.Errorf("%s at %s, where it belongs: %v", kind, r.name(), a)
			}
		}
	}
}

// A second header, or a second token, is nobody's.
func TestTwoTokens(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	for _, kind := range []string{nxAccess, nxRefresh, insightsAccess, titanFull, wifiAccess} {
		token := h.print(t, kind, holderOf(kind))
		other := h.print(t, kind, "eve@works.test")
		for name, values := range map[string][]string{
			"the same twice": {"Bearer " + token, "Bearer " + token}, "two": {"Bearer " + token, "Bearer " + other},
			"good then bad": {"Bearer " + token, "Bearer x"}, "bad then good": {"Bearer x", "Bearer " + token},
			"another scheme then good": {"Basic eDp5", "Bearer " + token}, "two in one": {"Bearer " + token + ", Bearer " + other},
			"two in one, bare": {"Bearer " + token + " " + other}, "another scheme": {"Token " + token}, "no scheme": {token},
		} {
			r := asks(kind).make(t, h, "").prepare()
			r.Header["Authorization"] = values
			if a := h.serve(r, false); a.status < 400 || a.status >= 500 {
				t.Errorf("%s, %s: %v", kind, name, a)
			}
		}
		if !h.honoured(t, kind, token) {
			t.Errorf("%s is refused as it was printed", kind)
		}
	}
}

// An API key beside any other credential is nobody's either, and what is another kind of token is no API key: where a user's key is
// taken, and where a service's is.
func TestTwoCredentials(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	key := h.print(t, wifiKey, "ada@example.test")
	for _, kind := range tokenKinds {
		bearer := h.print(t, kind, holderOf(kind))
		for _, service := range []bool{false, true} {
			for _, headers := range [][][2]string{
				{{"X-API-KEY", key}, {"Authorization", "Bearer " + bearer}}, {{"X-API-KEY", bearer}, {"Authorization", "Bearer " + key}},
				{{"X-API-KEY", key}, {"X-API-KEY", bearer}}, {{"X-API-KEY", key}, {"X-INTERNAL-NAME", "https://gw.example.test:16002"}},
				{{"X-API-KEY", key}, {"Authorization", ""}}, {{"X-API-KEY", bearer}, {"X-INTERNAL-NAME", ""}},
			} {
				in := request{method: "GET", target: "/api/v1/systemEndpoints", header: headers, service: service, from: h.newNetwork()}
				if a := h.send(in); a.status != http.StatusForbidden || !strings.Contains(a.body, `"ErrorCode":8`) {
					t.Errorf("%s, inside %v, with %s and %s: %v", kind, service, headers[0][0], headers[1][0], a)
				}
			}
		}
	}
	if !h.honoured(t, wifiKey, key) {
		t.Error("the key is refused as it was printed")
	}
	if a := h.send(request{method: "GET", target: "/api/v1/systemEndpoints", header: [][2]string{{"X-API-KEY", key}}, service: true}); a.ok() {
		t.Errorf("a user's key on the internal listener: %v", a)
	}
}

// The tokens of one door are the session's that printed them, at every operation that takes two things at once.
func TestRefreshWithAnothersAccessToken(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	mine := h.must(t, signIns["openwifi"]("ada@example.test", passphrase))
	for _, kind := range tokenKinds {
		in := request{method: "POST", target: "/api/v1/oauth2?grant_type=refresh_token", body: object("refreshToken", mine.at("refresh_token")), bearer: h.print(t, kind, holderOf(kind))}
		if a := h.send(in); a.status != http.StatusForbidden {
			t.Errorf("refresh beside %s: %v", kind, a)
		}
	}
	in := request{method: "POST", target: "/api/v1/oauth2?grant_type=refresh_token", body: object("refreshToken", mine.at("refresh_token")), bearer: mine.at("access_token")}
	if a := h.send(in); !a.ok() {
		t.Errorf("refresh beside its own access token: %v", a)
	}
}

// More than ten thousand texts that are almost a token, and none is taken (security.md, P2).
func TestMutantTokens(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	m := newForger(t, h)
	tried := 0
	for _, kind := range []string{nxAccess, nxRefresh, cloudAccess, cloudRefresh, insightsAccess, insightsRefresh, titanFull, titanCode, wifiAccess, wifiRefresh, wifiKey, oidcOwn, oidcAccess, oidcRefr} {
		token := h.print(t, kind, holderOf(kind))
		donor := h.print(t, kind, map[bool]string{true: "tia@example.test", false: "eve@works.test"}[ofTicket(kind)])
		h.Clock.Advance(30 * time.Second)
		mutants := m.mutants(token, donor)
		delete(mutants, token) // what some mutations are of some tokens
		delete(mutants, donor)
		taken := 0
		for mutant, how := range mutants {
			tried++
			if h.honoured(t, kind, mutant) {
				if taken++; taken < 5 {
					t.Errorf("%s, %s, is taken: %q", kind, how, mutant)
				}
			}
		}
		if !h.honoured(t, kind, token) { // last: some are good once only
			t.Errorf("%s is refused as it was printed: the refusals of its mutants prove nothing", kind)
		}
	}
	t.Logf("%d mutants", tried)
	if tried < 10_000 {
		t.Errorf("only %d mutants were tried", tried)
	}
}

// forger knows what anybody can know: the public keys, and keys of its own.
type forger struct {
	h       *house
	edDSA   ed25519.PrivateKey
	ecdsa   *ecdsa.PrivateKey
	public  map[string][]byte // of the house: by what somebody might take for a secret
	foreign *keys.Ring        // another house's
}

func newForger(t *testing.T, h *house) *forger {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{h: h, edDSA: ed, ecdsa: ec, public: map[string][]byte{}, foreign: newHouse(t, apptest.Options{Rand: rand.Reader}).Ring}
	for _, k := range h.Ring.Keys() {
		f.public["JWK of "+string(k.ID)] = k.Public
		var members map[string]string
		if err := json.Unmarshal(k.Public, &members); err != nil {
			t.Fatal(err)
		}
		x, err := base64.RawURLEncoding.DecodeString(members["x"])
		if err != nil {
			t.Fatal(err)
		}
		f.public["x of "+string(k.ID)] = x
		f.public["text of x of "+string(k.ID)] = []byte(members["x"])
		f.public["kid "+string(k.ID)] = []byte(k.ID)
		if members["kty"] == "OKP" {
			der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(x))
			if err != nil {
				t.Fatal(err)
			}
			f.public["DER of "+string(k.ID)] = der
			f.public["PEM of "+string(k.ID)] = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		}
	}
	body, _ := h.Ring.JWKS()
	f.public["JWKS"], f.public["nothing"] = body, nil
	return f
}

var b64 = base64.RawURLEncoding

// mutants gives texts by how they were made. donor is a good token of the same kind and another person.
func (f *forger) mutants(token, donor string) map[string]string {
	out := map[string]string{}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range len(token) {
		// Near an end of a part a change may only touch bits that base64url does not use.
		steps := []int{1 + i%63}
		if i > len(token)-3 {
			steps = []int{1, 2, 4, 8, 16, 32}
		}
		for _, step := range steps {
			next := letters[(strings.IndexByte(letters, token[i])+step)%len(letters)]
			out[token[:i]+string(next)+token[i+1:]] = "one character changed"
		}
		out[token[:i]] = "cut short"
		switch {
		case i%3 == 0:
			out[token[i:]] = "beheaded"
		case i%3 == 1:
			out[token[:i]+token[i+1:]] = "one character left out"
		case token[i] != token[i-1]:
			out[token[:i-1]+string(token[i])+string(token[i-1])+token[i+1:]] = "two characters swapped"
		}
	}
	delete(out, "")
	for _, extra := range []string{".", "..", "=", "==", "A", "AAAA", "~", "+", "/", ".e30", "\x00", "\n", "\r\n", "\u00a0", "%00", ",", ";"} {
		out[token+extra] = "something behind"
		out[extra+token] = "something before"
		out[token[:len(token)/2]+extra+token[len(token)/2:]] = "something between"
	}
	out[strings.ToUpper(token)] = "capitals"
	out[strings.ToLower(token)] = "small letters"
	out[token+token] = "twice"
	out[token+"."+donor] = "two in one"
	out[strings.Repeat("A", 9000)] = "too long"
	delete(out, token)
	parts, others := strings.Split(token, "."), strings.Split(donor, ".")
	if len(parts) != 3 {
		return out
	}
	for i := range parts {
		swapped := slices.Clone(parts)
		swapped[i] = others[i]
		out[strings.Join(swapped, ".")] = "a part of another token"
		for _, odd := range []string{"", "e30", "bnVsbA", "W10", "AA", parts[(i+1)%3]} {
			swapped[i] = odd
			out[strings.Join(swapped, ".")] = "a part that is something else"
		}
		padded := slices.Clone(parts)
		raw, _ := b64.DecodeString(parts[i])
		padded[i] = base64.URLEncoding.EncodeToString(raw)
		out[strings.Join(padded, ".")] = "padded"
		padded[i] = base64.RawStdEncoding.EncodeToString(raw)
		out[strings.Join(padded, ".")] = "the other alphabet"
		padded[i] = parts[i][:4] + "\n" + parts[i][4:]
		out[strings.Join(padded, ".")] = "a line break"
	}
	f.headers(out, parts)
	f.claims(out, parts)
	if sig, err := b64.DecodeString(parts[2]); err == nil && len(sig) == 64 {
		s := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(sig[32:]))
		if s.Sign() > 0 && s.BitLen() <= 256 {
			out[parts[0]+"."+parts[1]+"."+b64.EncodeToString(append(slices.Clone(sig[:32]), s.FillBytes(make([]byte, 32))...))] = "the twin signature"
		}
		out[parts[0]+"."+parts[1]+"."+b64.EncodeToString(make([]byte, 64))] = "a signature of zeros"
	}
	return out
}

// headers puts every odd header over the payload, with every signature that a stranger can make.
func (f *forger) headers(out map[string]string, parts []string) {
	var said struct{ Alg, Kid, Typ string }
	head, _ := b64.DecodeString(parts[0])
	_ = json.Unmarshal(head, &said) // a token of ours has one
	with := func(members map[string]any) string {
		m := map[string]any{"alg": said.Alg, "kid": said.Kid, "typ": said.Typ}
		for k, v := range members {
			if m[k] = v; v == nil {
				delete(m, k)
			}
		}
		text, _ := json.Marshal(m) // texts and maps marshal
		return string(text)
	}
	mine, _ := json.Marshal(map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64.EncodeToString(f.edDSA.Public().(ed25519.PublicKey))})
	headers := map[string]string{}
	for _, alg := range []any{"none", "None", "NONE", "nOnE", "", nil, "HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "dir", 1, true, []string{said.Alg}} {
		headers[with(map[string]any{"alg": alg})] = "alg"
	}
	for _, k := range f.h.Ring.Keys() {
		for _, alg := range []string{"EdDSA", "ES256", "RS256", "HS256", "none"} {
			headers[with(map[string]any{"kid": string(k.ID), "alg": alg})] = "another of our keys"
		}
	}
	for _, k := range f.foreign.Keys() {
		headers[with(map[string]any{"kid": string(k.ID)})] = "another house's key"
	}
	for _, kid := range []any{"", nil, "unknown1", "../../dev/null", "' OR 1=1 --", said.Kid + " ", strings.ToUpper(said.Kid), said.Kid + "\x00", 1, []string{said.Kid}} {
		headers[with(map[string]any{"kid": kid})] = "kid"
	}
	for _, typ := range []any{"", nil, "JWT", "jwt", "at+jwt", "AT+JWT", "insights-at+jwt", "insights-rt+jwt", "titan+jwt", "rt+jwt", "logout+jwt", "application/at+jwt", "x"} {
		headers[with(map[string]any{"typ": typ})] = "typ"
	}
	for name, value := range map[string]any{
		"jwk": json.RawMessage(mine), "jku": "https://evil.test/jwks", "x5u": "https://evil.test/x5u", "x5c": []string{"MIIB"}, "x5t": "AA",
		"crit": []string{"exp"}, "b64": false, "zip": "DEF", "cty": "JWT", "enc": "A128GCM", "epk": json.RawMessage(mine), "ver": 1,
	} {
		headers[with(map[string]any{name: value})] = name
		headers[with(map[string]any{name: value, "alg": "EdDSA"})] = name
		headers[with(map[string]any{name: value, "alg": "none"})] = name
	}
	plain := string(head)
	for _, odd := range []string{
		strings.TrimSuffix(plain, "}") + `,"alg":"none"}`, `{"alg":"none",` + strings.TrimPrefix(plain, "{"), strings.TrimSuffix(plain, "}") + `,"kid":"x"}`,
		plain + " ", " " + plain, plain + "{}", "[" + plain + "]", strings.ReplaceAll(plain, ":", ": "), strings.ReplaceAll(plain, `"alg"`, `"ALG"`),
		strings.ReplaceAll(plain, "alg", `al\u0067`), "\ufeff" + plain, "null", "{}", `"x"`,
	} {
		headers[odd] = "spelling of the header"
	}
	delete(headers, plain)
	signatures := map[string]func(alg, input string) string{
		"its own signature": func(_, _ string) string { return parts[2] },
		"no signature":      func(_, _ string) string { return "" },
		"our key": func(alg, input string) string {
			if alg != "ES256" {
				return b64.EncodeToString(ed25519.Sign(f.edDSA, []byte(input)))
			}
			sum := sha256.Sum256([]byte(input))
			r, s, err := ecdsa.Sign(rand.Reader, f.ecdsa, sum[:])
			if err != nil {
				return ""
			}
			return b64.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
		},
	}
	for header, what := range headers {
		var of struct{ Alg any }
		_ = json.Unmarshal([]byte(header), &of) // what is no header has no algorithm
		alg, _ := of.Alg.(string)
		input := b64.EncodeToString([]byte(header)) + "." + parts[1]
		for name, sign := range signatures {
			out[input+"."+sign(alg, input)] = what + " in the header, " + name
		}
		if digest := map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New}[alg]; digest != nil {
			for name, secret := range f.public {
				mac := hmac.New(digest, secret)
				mac.Write([]byte(input))
				out[input+"."+b64.EncodeToString(mac.Sum(nil))] = alg + " with " + name
			}
		}
	}
	// The payload as it is, under a key that is another house's and with its name, too.
	var payload json.RawMessage
	if text, err := b64.DecodeString(parts[1]); err == nil {
		payload = text
	}
	for _, alg := range []string{keys.ES256, keys.EdDSA} {
		if text, err := f.foreign.Sign(alg, said.Typ, payload); err == nil {
			out[text] = "signed by another house"
			out[parts[0]+"."+strings.SplitN(text, ".", 2)[1]] = "signed by another house under our key's name"
		}
	}
}

// claims signs with our own key what we would never print: a verifier that checks the signature alone takes all of it.
func (f *forger) claims(out map[string]string, parts []string) {
	var said struct{ Alg, Typ string }
	head, _ := b64.DecodeString(parts[0])
	_ = json.Unmarshal(head, &said) // a token of ours has one
	body, _ := b64.DecodeString(parts[1])
	var claims map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber()
	if decoder.Decode(&claims) != nil {
		return
	}
	now := f.h.Clock.Now().Unix()
	sign := func(what, alg, typ string, change map[string]any) {
		c := maps.Clone(claims)
		for k, v := range change {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		if text, err := f.h.Ring.Sign(alg, typ, c); err == nil {
			out[text] = what + ", signed by us"
		}
	}
	titan, ticket := said.Typ == "titan+jwt", claims["stage"] == "code"
	for _, at := range []any{now, now - 1, now - 86400, 0, -1, nil, "never", "9999999999", true, []int64{now + 1000}, map[string]any{}} {
		if _, number := at.(int64); ticket && (number || at == 0 || at == -1 || at == nil) {
			continue
		}
		sign("exp", said.Alg, said.Typ, map[string]any{"exp": at})
	}
	// Doors whose tokens say since when, or by whom, read it. What a door never prints it ignores or refuses, as it likes.
	for name, values := range map[string][]any{
		"nbf": {now + 60, now + 86400, "soon", 1e18},
		"iss": {"https://evil.test", "http://gatehouse.test/", "HTTP://gatehouse.test", "", nil, []string{"http://gatehouse.test"}},
		"aud": {"other", []string{"user", "x"}, []string{}, "", nil, "USER", 1},
		"sub": {string(eveID), "", nil, "0", 1, "x", []string{string(adaID)}},
		"sid": {"", nil, "x", string(adaID), "01a0a000-0000-7000-8000-000000000099", 1},
		"jti": {"01a0a000-0000-7000-8000-000000000099", "", nil, 1}, "person": {string(eveID), "", nil, 1},
		"stage": {"full", "code", "", nil, "FULL", 1}, "gen": {0, -1, 99, nil, "1", 1.5}, "token_use": {"refresh", "x", 1}, "client_id": {"app2", 1},
	} {
		before, printed := claims[name]
		for _, v := range values {
			if !printed || reflect.DeepEqual(v, before) || loose[name] || titan && name == "sub" || ticket && name == "nbf" {
				continue
			}
			sign(name, said.Alg, said.Typ, map[string]any{name: v})
		}
	}
	for _, typ := range []string{"JWT", "at+jwt", "insights-at+jwt", "insights-rt+jwt", "titan+jwt", "rt+jwt", ""} {
		for _, alg := range []string{keys.ES256, keys.EdDSA} {
			if typ != said.Typ || (alg != said.Alg && said.Typ != "at+jwt" && said.Alg == keys.EdDSA) {
				sign("typ "+typ, alg, typ, nil)
			}
		}
	}
}

// loose are claims that name or describe, and decide nothing where a session stands behind the token: they were ours to sign.
// So is titan's sub, a number for clients: the house knows her by another. The times of a titan token of stage code are its
// ticket's, which the store knows: TestTokensEnd sees them end.
var loose = map[string]bool{"jti": true, "client_id": true, "gen": true, "aud": true, "token_use": true}

// Time runs out for every token, and none is good before its time.
func TestTokensEnd(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	lives := map[string]time.Duration{
		nxAccess: h.Config.Nx.AccessLife, nxRefresh: h.Config.Nx.RefreshLife, insightsAccess: h.Config.Insights.AccessLife,
		insightsRefresh: h.Config.Insights.RefreshLife, titanFull: h.Config.Titan.IdleLife, titanCode: 10 * time.Minute,
		wifiAccess: h.Config.OpenWiFi.TokenLife, wifiRefresh: h.Config.OpenWiFi.RefreshLife, wifiChallenge: 5 * time.Minute,
		oidcOwn: h.Config.OIDC.AccessLife, oidcAccess: h.Config.OIDC.AccessLife, oidcRefr: h.Config.OIDC.RefreshLife, nxReset: time.Hour,
		nxTotp: 5 * time.Minute, nxPageCode: time.Minute, cloudAccess: h.Config.Nx.CloudAccessLife, cloudRefresh: h.Config.Nx.CloudRefreshLife, cloudLimited: 5 * time.Minute,
		wifiKey: 24 * time.Hour, wifiReset: 24 * time.Hour, wifiVerify: 24 * time.Hour, subAccess: h.Config.OpenWiFi.TokenLife, subRefresh: h.Config.OpenWiFi.RefreshLife,
	}
	for kind, life := range lives {
		begun := h.Clock.Now()
		token, other := h.print(t, kind, holderOf(kind)), h.print(t, kind, holderOf(kind))
		spent := h.Clock.Now().Sub(begun)
		h.Clock.Advance(life - spent - 2*time.Second)
		if !h.honoured(t, kind, token) {
			t.Errorf("%s is refused before its end", kind)
		}
		h.Clock.Advance(3 * time.Second)
		if h.honoured(t, kind, other) {
			t.Errorf("%s is good after %v", kind, life)
		}
	}
	if begins := coretest.Start; !h.Clock.Now().After(begins) {
		t.Error("the clock stood")
	}
}

// A token of a client that lost its rights, or is gone.
func TestTokensOfAClientThatIsGone(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	h.must(t, request{method: "POST", target: "/oauth2/token", contentType: formType, body: form("grant_type", "client_credentials", "client_id", "robot", "client_secret", clientSecret)})
	insightsToken := h.print(t, insightsRefresh, "ada@example.test")
	if err := h.Manage.DeleteClient(t.Context(), identity.Caller{Door: "cli"}, "app"); err != nil {
		t.Fatal(err)
	}
	if h.honoured(t, insightsRefresh, insightsToken) {
		t.Error("the refresh token of a client that is gone is taken")
	}
	own := h.print(t, oidcOwn, "")
	if !h.active(t, own) {
		t.Fatal("a client's own token is not active")
	}
	if a := h.send(signIns["insights"]("ada@example.test", passphrase)); a.status != http.StatusUnauthorized {
		t.Errorf("sign-in by a client that is gone: %v", a)
	}
}
