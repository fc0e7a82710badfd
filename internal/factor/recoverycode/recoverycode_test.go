package recoverycode

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

func TestNewUsesEveryLetterAlike(t *testing.T) {
	seen := map[byte]int{}
	for first := range 256 {
		code, err := New(bytes.NewReader(bytes.Repeat([]byte{byte(first)}, Length)))
		if err != nil || len(code) != Length || strings.Trim(code, code[:1]) != "" {
			t.Fatalf("%q, %v", code, err)
		}
		seen[code[0]]++
	}
	for i := range len(alphabet) {
		if seen[alphabet[i]] != 8 {
			t.Errorf("%c stands for %d bytes of 256, want 8", alphabet[i], seen[alphabet[i]])
		}
	}
	if len(seen) != 32 || strings.ContainsAny(alphabet, "IO01") {
		t.Errorf("alphabet %q", alphabet)
	}
	if _, err := New(bytes.NewReader(nil)); err == nil {
		t.Error("no randomness is no error")
	}
}

func TestParse(t *testing.T) {
	for typed, want := range map[string]string{
		"ABCDE23456": "ABCDE23456", "abcde-23456": "ABCDE23456", " abcde 23456 ": "ABCDE23456", "A-B-C-D-E-2-3-4-5-6": "ABCDE23456",
		"": "", "ABCDE2345": "", "ABCDE234567": "", "ABCDE2345O": "", "ABCDE23450": "", "123456": "", "ABCDE2345\x00": "", "ÄBCDE23456": "",
		"ıBCDE23456": "", strings.Repeat("-", 100) + "ABCDE23456": "", strings.Repeat("A", 10_000): "",
	} {
		if got, ok := Parse(typed); ok != (want != "") || ok && got != want {
			t.Errorf("Parse(%q) = %q, %v, want %q", typed, got, ok, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("abcde-23456")
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := Parse(typed)
		if !ok {
			return
		}
		if again, same := Parse(Show(code)); !same || again != code {
			t.Errorf("%q gives %q, which gives %q", typed, code, again)
		}
	})
}

// The store has nothing of a code that could be tried out, nor one code's sum for two records.
func TestCredential(t *testing.T) {
	box, err := keys.NewBox(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, Length*Count)
	for i := range random {
		random[i] = byte(i * 7)
	}
	c, codes, err := Credential(box, bytes.NewReader(random), "c", "s", time.Unix(1, 0))
	if err != nil || len(codes) != 10 || len(c.Previous) != 10 || c.Kind != identity.RecoveryCode || c.Version != 1 {
		t.Fatalf("%+v, %d codes, %v", c, len(codes), err)
	}
	other, _, err := Credential(box, bytes.NewReader(random), "d", "s", time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	for i, sum := range c.Previous {
		if len(sum) != 64 || strings.Contains(sum, codes[i].Reveal()) || sum == other.Previous[i] {
			t.Errorf("code %s is kept as %s", codes[i].Reveal(), sum)
		}
	}
}
