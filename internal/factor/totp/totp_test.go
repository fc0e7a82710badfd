package totp

import (
	"bytes"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pquerna/otp"
)

// secret is "12345678901234567890", the key of RFC 4226 and RFC 6238 for SHA-1.
const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

// RFC 6238, appendix B, the last six of its eight digits.
func TestMatchVectors(t *testing.T) {
	for _, tt := range []struct {
		seconds int64
		code    string
	}{{59, "287082"}, {1111111109, "081804"}, {1111111111, "050471"}, {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"}} {
		now := time.Unix(tt.seconds, 0)
		if step, ok := Match(secret, tt.code, now, 0); !ok || step != tt.seconds/30 {
			t.Errorf("at %d %s: step %d, %v", tt.seconds, tt.code, step, ok)
		}
		if code, err := Code(secret, now); code != tt.code || err != nil {
			t.Errorf("Code at %d is %s, %v", tt.seconds, code, err)
		}
	}
}

// RFC 4226, appendix D: the codes of counters 0 to 9.
func TestCodeAtVectors(t *testing.T) {
	for step, want := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} {
		if got, err := codeAt(secret, int64(step)); got != want || err != nil {
			t.Errorf("step %d: %s, %v, want %s", step, got, err, want)
		}
	}
}

func TestMatchWindow(t *testing.T) {
	now := time.Unix(1_800_000_015, 0)
	step := Step(now)
	for _, tt := range []struct {
		name     string
		at       int64
		lastStep int64
		want     bool
	}{
		{"now", step, 0, true},
		{"one behind", step - 1, 0, true},
		{"one ahead", step + 1, 0, true},
		{"two behind", step - 2, 0, false},
		{"two ahead", step + 2, 0, false},
		{"used", step, step, false},
		{"one behind after now", step - 1, step, false},
		{"one ahead after now", step + 1, step, true},
		{"now after one ahead", step, step + 1, false},
		{"next after one behind", step, step - 1, true},
	} {
		code, err := codeAt(secret, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := Match(secret, code, now, tt.lastStep)
		if ok != tt.want || ok && got != tt.at {
			t.Errorf("%s: step %d, %v", tt.name, got, ok)
		}
	}
}

func TestMatchEdges(t *testing.T) {
	good, err := Code(secret, time.Unix(59, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"", "28708", "2870820", "28708a", " 28708", "287 082", "２８７０８２", "+87082", "-87082", "287082\n"} {
		if _, ok := Match(secret, code, time.Unix(59, 0), 0); ok || WellFormed(code) {
			t.Errorf("code %q passed", code)
		}
	}
	for _, bad := range []string{"", "!", "1", "GEZDGNBVGY3TQOJ1"} {
		if _, ok := Match(bad, good, time.Unix(59, 0), 0); ok {
			t.Errorf("secret %q passed", bad)
		}
	}
	for _, now := range []time.Time{{}, time.Unix(-1, 0), time.Unix(0, 0)} {
		if step, ok := Match(secret, "755224", now, -1); ok && step < 0 {
			t.Errorf("at %v: step %d", now, step)
		}
	}
	if _, ok := Match(secret, "755224", time.Unix(0, 0), 0); ok {
		t.Error("step 0 passed although it is the last one")
	}
}

func TestNewSecret(t *testing.T) {
	got, err := NewSecret(strings.NewReader("12345678901234567890rest"))
	if got != secret || err != nil {
		t.Errorf("NewSecret = %q, %v", got, err)
	}
	if _, err := NewSecret(bytes.NewReader(make([]byte, 19))); err == nil {
		t.Error("short randomness passed")
	}
	if _, err := NewSecret(iotest.ErrReader(errors.New("no randomness"))); err == nil {
		t.Error("failing randomness passed")
	}
}

func TestNormalise(t *testing.T) {
	for _, tt := range []struct {
		in, want string
	}{
		{secret, secret}, {strings.ToLower(secret), secret}, {"gezd gnbv-gy3t qojq", "GEZDGNBVGY3TQOJQ"}, {"JBSWY3DPEHPK3PXP", "JBSWY3DPEHPK3PXP"},
		{"GEZDGNBVGY3TQOJQGE======", "GEZDGNBVGY3TQOJQGE"},
		{"", ""}, {"JBSWY3DP", ""}, {"0189", ""}, {"GEZDGNBVGY3TQOJQ8", ""}, {strings.Repeat("A", 1000), ""}, {strings.Repeat("A", 300), ""}, {"ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ", ""},
	} {
		got, err := Normalise(tt.in)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("Normalise(%.40q) = %q, %v", tt.in, got, err)
		}
	}
}

// An independent reader finds in the URI what was put in.
func TestURI(t *testing.T) {
	for _, tt := range []struct{ issuer, account string }{
		{"Gatehouse", "ada@example.test"}, {"ACME & Söhne", "ada lovelace@example.test"}, {"a/b?c#d", "ünï+x@example.test"}, {"", "ada"},
	} {
		uri := URI(tt.issuer, tt.account, secret)
		key, err := otp.NewKeyFromURL(uri)
		if err != nil {
			t.Fatal(err)
		}
		if key.Issuer() != tt.issuer || key.AccountName() != tt.account || key.Secret() != secret || key.Type() != "totp" ||
			key.Period() != 30 || key.Digits() != otp.DigitsSix || key.Algorithm() != otp.AlgorithmSHA1 {
			t.Errorf("%s reads as %q %q", uri, key.Issuer(), key.AccountName())
		}
	}
	if got, want := URI("AC ME:", "a:b", secret), "otpauth://totp/AC%20ME:ab?secret="+secret+"&issuer=AC%20ME&algorithm=SHA1&digits=6&period=30"; got != want {
		t.Errorf("URI = %s, want %s", got, want)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add(secret, "287082", int64(59), int64(0))
	f.Add("", "", int64(-1), int64(-1))
	f.Fuzz(func(t *testing.T, secret, code string, seconds, last int64) {
		now := time.Unix(seconds, 0)
		step, ok := Match(secret, code, now, last)
		if !ok {
			return
		}
		if !WellFormed(code) || step <= last || step < 0 || step < Step(now)-1 || step > Step(now)+1 {
			t.Errorf("%q at %d after %d matched step %d", code, seconds, last, step)
		}
		if _, again := Match(secret, code, now, step); again {
			t.Errorf("%q works twice", code)
		}
	})
}

func FuzzURI(f *testing.F) {
	f.Add("Gatehouse", "ada@example.test")
	f.Fuzz(func(t *testing.T, issuer, account string) {
		if _, err := url.Parse(URI(issuer, account, secret)); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	now := time.Unix(59, 0)
	for b.Loop() {
		Match(secret, "000000", now, 0)
	}
}

// What goes into a picture of bounded size fits, is read back whole but for the names, and never loses the secret.
func TestAddress(t *testing.T) {
	long := strings.Repeat("a", 64) + "@" + strings.Repeat("b", 60) + "." + strings.Repeat("c", 63) + ".example.com"
	for _, tt := range []struct{ issuer, account, want string }{
		{"OpenWiFi", "ines@example.com", "otpauth://totp/OpenWiFi:ines@example.com?secret=" + secret + "&issuer=OpenWiFi"},
		{"", "ines@example.com", "otpauth://totp/ines@example.com?secret=" + secret},
		{"A & B: c", "i:n?e#s@example.com", "otpauth://totp/A%20%26%20B%20c:in%3Fe%23s@example.com?secret=" + secret + "&issuer=A%20%26%20B%20c"},
		{"OpenWiFi", "", "otpauth://totp/OpenWiFi?secret=" + secret + "&issuer=OpenWiFi"},
		{"OpenWiFi", long, "otpauth://totp/OpenWiFi:" + strings.Repeat("a", 51) + "...?secret=" + secret + "&issuer=OpenWiFi"},
		{strings.Repeat("i", 40), "ines@example.com", "otpauth://totp/" + strings.Repeat("i", 21) + "...:ines@example.com?secret=" + secret + "&issuer=" + strings.Repeat("i", 21) + "..."},
		{"é" + strings.Repeat("é", 40), strings.Repeat("日", 80), ""},
	} {
		got := Address(tt.issuer, tt.account, secret, 134)
		if tt.want != "" && got != tt.want {
			t.Errorf("Address(%q, %q)\n%s\nwant\n%s", tt.issuer, tt.account, got, tt.want)
		}
		u, err := url.Parse(got)
		if err != nil || len(got) > 134 || u.Query().Get("secret") != secret || u.Scheme != "otpauth" || u.Host != "totp" {
			t.Errorf("Address(%q, %q) = %s, %d bytes: %v", tt.issuer, tt.account, got, len(got), err)
		}
	}
}
