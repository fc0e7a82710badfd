package password

import (
	"bufio"
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"gatehouse/internal/identity"

	xcrypt "github.com/go-crypt/x/crypt"
	original "golang.org/x/crypto/argon2"
)

// cheap keeps tests quick; what they show does not depend on the cost.
func cheap(t testing.TB) *Pool {
	t.Helper()
	return pool(t, Options{Params: Params{64, 1, 1}})
}

func pool(t testing.TB, opt Options) *Pool {
	t.Helper()
	p, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func vectors(t testing.TB) (out [][2]string) {
	t.Helper()
	file, err := os.Open("testdata/hashes.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if text, hash, found := strings.Cut(lines.Text(), "\t"); found && text[0] != '#' {
			out = append(out, [2]string{text, hash})
		}
	}
	if len(out) < 60 {
		t.Fatalf("only %d vectors", len(out))
	}
	return out
}

func TestVerifyForeign(t *testing.T) {
	p := cheap(t)
	for _, v := range vectors(t) {
		if err := CheckHash(v[1]); err != nil {
			t.Errorf("CheckHash(%s) = %v", v[1], err)
			continue
		}
		match, rehash, err := p.Verify(t.Context(), v[1], identity.Secret(v[0]), "")
		if !match || !rehash || err != nil {
			t.Errorf("Verify(%s, right) = %v, %v, %v", v[1], match, rehash, err)
		}
		match, rehash, err = p.Verify(t.Context(), v[1], identity.Secret("X"+v[0]), "")
		if match || rehash || err != nil {
			t.Errorf("Verify(%s, wrong) = %v, %v, %v", v[1], match, rehash, err)
		}
	}
}

func TestVerifyKnownVectors(t *testing.T) {
	p := cheap(t)
	for _, tt := range []struct{ name, hash, password string }{
		{"openssl passwd -5", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"},
		{"openssl passwd -6", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1", "Hello world!"},
		{"bcrypt", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
		{"bcrypt with PHP's letter", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
		{"bcrypt, which reads 72 bytes", "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
			"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored"},
		{"crypt in an LDAP wrapper", "{CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"},
		{"scheme in lower case", "{sha}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "password"},
	} {
		if match, _, err := p.Verify(t.Context(), tt.hash, identity.Secret(tt.password), ""); !match || err != nil {
			t.Errorf("%s: %v, %v", tt.name, match, err)
		}
	}
}

// openwifi.md 1.5: the well-known hash of tip@ucentral.com and openwifi.
func TestVerifyOpenWiFi(t *testing.T) {
	const digits = "13268b7daa751240369d125e79c873bd8dd3bef7981bdfd38ea03dbb1fbe7dcf"
	p := cheap(t)
	hash, err := EncodeOpenWiFi(strings.ToUpper(digits))
	if err != nil || hash != "{OWSEC}"+digits {
		t.Fatalf("EncodeOpenWiFi = %q, %v", hash, err)
	}
	for _, tt := range []struct {
		password, email string
		want            bool
	}{
		{"openwifi", "tip@ucentral.com", true},
		{"openwifi", "TIP@uCentral.com", true},
		{"openwifi", "top@ucentral.com", false},
		{"openwif", "itip@ucentral.com", true}, // the form has no separator; it is the vendor's, and gone after the first sign-in
		{"openwifI", "tip@ucentral.com", false},
	} {
		match, rehash, err := p.Verify(t.Context(), hash, identity.Secret(tt.password), tt.email)
		if match != tt.want || rehash != tt.want || err != nil {
			t.Errorf("%s %s: %v, %v, %v", tt.password, tt.email, match, rehash, err)
		}
	}
	for _, bad := range []string{"", digits[1:], digits + "0", "g" + digits[1:]} {
		if _, err := EncodeOpenWiFi(bad); err == nil {
			t.Errorf("EncodeOpenWiFi(%q) passed", bad)
		}
	}
}

func TestCheckHashRefuses(t *testing.T) {
	const salt, key = "c29tZXNhbHRzb21lc2FsdA", "yLH4eeWywCi9u+wtEr9Yw8dVUioEX81u9j8EATV5gOk"
	long := strings.Repeat("a", 2000)
	for _, hash := range []string{
		"", "plain", "$", "$$", "$$$$$$", "{", "{}", "{SSHA", "{SSHA}", "{SSHA}!!!", "{SHA}c2hvcnQ=", "{MD5}AAAA", "{CRYPT}ab01cdefghijk",
		"{SHA}WxrghnGrGM2SFuOW/WRprSKE7CYOQUiJ", "{SSHA}L55TUjtiq8FBorTWAZ0jy6g129A=", // salt where there is none, none where there is one
		"{S}" + salt, "{SSSHA}" + salt, "{CRYPT}{CRYPT}x",
		"$argon2id$v=19$m=1048576,t=2,p=1$" + salt + "$" + key, // 1 GiB
		"$argon2id$v=19$m=65536,t=1000,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=2147483647,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=99999999999,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=1,p=0$" + salt + "$" + key,
		"$argon2id$v=19$m=7,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=+1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=01,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,p=1,t=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=1$" + salt + "$" + key,
		"$argon2id$v=16$m=64,t=1,p=1$" + salt + "$" + key,
		"$argon2id$m=64,t=1,p=1$" + salt + "$" + key,
		"$argon2d$v=19$m=64,t=1,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=64,t=1,p=1$c2FsdA$" + key,
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$",
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + key + "=",
		"$2b$31$sCjV2PCUKTftEm7NSB5xxeb0tklald9v0gftrcHkZ7H2nGlbSTbBi", // two days
		"$2b$03$sCjV2PCUKTftEm7NSB5xxeb0tklald9v0gftrcHkZ7H2nGlbSTbBi",
		"$2x$05$sCjV2PCUKTftEm7NSB5xxeb0tklald9v0gftrcHkZ7H2nGlbSTbBi",
		"$2b$05$sCjV2PCUKTftEm7NSB5xxeb0tklald9v0gftrcHkZ7H2nGlbSTbB",
		"$5$rounds=999999999$BUWY5amAP1R8VEBt$SxKSj2qtuzCicuBNEUxGqVWsYqrQTtniaJm.zdzLh.3",
		"$5$rounds=0$BUWY5amAP1R8VEBt$SxKSj2qtuzCicuBNEUxGqVWsYqrQTtniaJm.zdzLh.3",
		"$6$BUWY5amAP1R8VEBt$SxKSj2qtuzCicuBNEUxGqVWsYqrQTtniaJm.zdzLh.3",
		"$1$tUVzeGI5$0UXC1jHPG7Z5aiDYDByAB", "$1$tUVzeGI5xx$0UXC1jHPG7Z5aiDYDByAB.",
		"$scrypt$ln=30,r=8,p=1$" + salt + "$" + key, "$scrypt$ln=20,r=64,p=64$" + salt + "$" + key,
		"$scrypt$ln=62,r=2000000000,p=1$" + salt + "$" + key, "$scrypt$ln=0,r=8,p=1$" + salt + "$" + key,
		"$pbkdf2-sha256$2000001$" + salt + "$" + key, "$pbkdf2-sha256$0$" + salt + "$" + key,
		"$pbkdf2-sha256$-1$" + salt + "$" + key, "$pbkdf2-sha256$1000$" + salt + "$" + long[:900],
		"$pbkdf2-md5$1000$" + salt + "$" + key, "$y$j9T$" + salt + "$" + key, "$7$" + salt, "$plaintext$hello", "$unknown$a$b",
		long,
	} {
		if err := CheckHash(hash); err == nil {
			t.Errorf("CheckHash(%.80q) passed", hash)
		} else if len(hash) > 40 && strings.Contains(err.Error(), hash[len(hash)-12:]) {
			t.Errorf("the error shows the hash: %v", err)
		}
	}
}

func TestHashRoundTrip(t *testing.T) {
	p := cheap(t)
	hash, err := p.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=64,t=1,p=1$") || CheckHash(hash) != nil {
		t.Errorf("hash is %s", hash)
	}
	again, _ := p.Hash(t.Context(), "correct horse")
	if hash == again {
		t.Error("two hashes share a salt")
	}
	for _, tt := range []struct {
		password      identity.Secret
		match, rehash bool
	}{
		{"correct horse", true, false}, {"correct horsE", false, false}, {"correct", false, false}, {"", false, false},
		{"correct horse\x00", false, false}, {"\xff", false, false}, {identity.Secret(strings.Repeat("a", MaxBytes+1)), false, false},
	} {
		match, rehash, err := p.Verify(t.Context(), hash, tt.password, "")
		if match != tt.match || rehash != tt.rehash || err != nil {
			t.Errorf("Verify(%q) = %v, %v, %v", tt.password.Reveal(), match, rehash, err)
		}
	}

	dearer := pool(t, Options{Params: Params{128, 1, 1}})
	if match, rehash, err := dearer.Verify(t.Context(), hash, "correct horse", ""); !match || !rehash || err != nil {
		t.Errorf("with other parameters: %v, %v, %v, want a match to be hashed anew", match, rehash, err)
	}
	if match, rehash, err := p.Verify(t.Context(), "", "correct horse", ""); match || rehash || err != nil {
		t.Errorf("no hash: %v, %v, %v", match, rehash, err)
	}
	if _, _, err := p.Verify(t.Context(), "$broken$", "correct horse", ""); err == nil {
		t.Error("a damaged hash is no error")
	}
}

func TestNoTruncation(t *testing.T) {
	p := cheap(t)
	long := strings.Repeat("é", MaxBytes/2)
	hash, err := p.Hash(t.Context(), identity.Secret(long))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		password string
		want     bool
	}{{long, true}, {long[:len(long)-2], false}, {long[:len(long)-2] + "è", false}} {
		if match, _, err := p.Verify(t.Context(), hash, identity.Secret(tt.password), ""); match != tt.want || err != nil {
			t.Errorf("%d bytes: %v, %v", len(tt.password), match, err)
		}
	}
	for _, bad := range []string{"", long + "x", "a\x00b", "a\xffb"} {
		if _, err := p.Hash(t.Context(), identity.Secret(bad)); !errors.Is(err, identity.Invalid) {
			t.Errorf("Hash(%.20q) = %v, want Invalid", bad, err)
		}
	}
}

func TestNormalisation(t *testing.T) {
	p := cheap(t)
	const composed, decomposed, wide = "pässwort1", "pa\u0308sswort1", "pässｗort1"
	hash, _ := p.Hash(t.Context(), composed)
	for _, spelling := range []identity.Secret{composed, decomposed, wide} {
		if match, rehash, err := p.Verify(t.Context(), hash, spelling, ""); !match || rehash || err != nil {
			t.Errorf("%+q: %v, %v, %v", spelling.Reveal(), match, rehash, err)
		}
	}
	// Another server hashed what was typed, decomposed.
	raw, err := p.opt.Params.hash(decomposed, []byte("sixteen salt here"))
	if err != nil {
		t.Fatal(err)
	}
	if match, rehash, err := p.Verify(t.Context(), raw.Encode(), decomposed, ""); !match || !rehash || err != nil {
		t.Errorf("raw form: %v, %v, %v, want a match to be hashed anew", match, rehash, err)
	}
	if match, _, _ := p.Verify(t.Context(), raw.Encode(), composed, ""); match {
		t.Error("the raw form was guessed from another spelling")
	}
}

func TestParamsValidate(t *testing.T) {
	if err := DefaultParams().Validate(); err != nil {
		t.Error(err)
	}
	for _, params := range []Params{
		{}, {7, 1, 1}, {64, 1, 0}, {64, 0, 1}, {15, 1, 2}, {1 << 20, 1, 1}, {65536, 1000, 1}, {1<<32 - 1, 1<<32 - 1, 1<<32 - 1},
	} {
		if _, err := New(Options{Params: params}); params.Validate() == nil || err == nil && params != (Params{}) {
			t.Errorf("%+v passed", params)
		}
	}
}

// Whatever is stored, verifying it ends in an answer: parse bounds what the libraries are given.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v[1])
	}
	f.Fuzz(func(t *testing.T, encoded string) {
		h, err := parse(encoded, "ada@example.test")
		if err != nil {
			return
		}
		if h.memory() > maxMemory {
			t.Errorf("%q may take %d bytes", encoded, h.memory())
		}
		// What is allowed but slow is left out, so that fuzzing gets on.
		if _, isQuick := h.(quick); isQuick || strings.Contains(encoded, "m=64,t=") || strings.Contains(encoded, "$2b$05$") || strings.Contains(encoded, "rounds=1") || strings.Contains(encoded, "$1000$") {
			h.match([]byte("password"))
		}
	})
}

func FuzzNormalise(f *testing.F) {
	for _, seed := range []string{"correct horse", "pa\u0308ss", "ﷺ", "\xff", "", "ｗ", "e\u0301\u0301"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		form, problem := normalise(identity.Secret(typed))
		if problem != "" {
			return
		}
		if again, problem := normalise(identity.Secret(form)); len(form) <= MaxBytes && (problem != "" || again != form) {
			t.Errorf("%+q becomes %+q, and that %+q (%s)", typed, form, again, problem)
		}
	})
}

// The library reads $1$, which shares all steps with $apr1$.
func TestMD5CryptAgreesWithLibrary(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for length := range 70 { // every remainder of the 16-byte blocks
		password := make([]byte, length)
		for i := range password {
			password[i] = byte(1 + random.IntN(255))
		}
		if got, want := md5CryptKey("$1$", "saltSALT", password), xcrypt.KeyMD5Crypt(password, []byte("saltSALT")); got != string(want) {
			t.Errorf("key of %d bytes is %q, want %q", length, got, want)
		}
	}
}

// go-crypt carries a fork of golang.org/x/crypto; the original must agree.
func TestArgon2AgreesWithOriginal(t *testing.T) {
	for _, params := range []Params{{8, 1, 1}, {64, 3, 2}, {1021, 2, 1}, DefaultParams()} {
		digest, err := params.rounded().hash("correct horse", []byte("sixteen bytes of"))
		if err != nil {
			t.Fatal(err)
		}
		want := original.IDKey([]byte("correct horse"), []byte("sixteen bytes of"), params.Time, params.rounded().Memory, uint8(params.Threads), keyBytes)
		if !bytes.Equal(digest.Key(), want) || !strings.HasPrefix(digest.Encode(), params.rounded().prefix()) {
			t.Errorf("%+v: %s", params, digest.Encode())
		}
	}
}

// A server configured with memory that Argon2 rounds down must not make every hash anew for ever.
func TestRehashSettles(t *testing.T) {
	p := pool(t, Options{Params: Params{Memory: 67, Time: 1, Threads: 2}})
	hash, err := p.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if match, rehash, err := p.Verify(t.Context(), hash, "correct horse", ""); !match || rehash || err != nil {
		t.Errorf("%s: %v, %v, %v", hash, match, rehash, err)
	}
}
