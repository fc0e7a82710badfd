package login

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

func TestFold(t *testing.T) {
	for _, tt := range []struct{ typed, want string }{
		{"ada@example.test", "ada@example.test"},
		{"  Ada@Example.TEST\n", "ada@example.test"},
		{"ada", "ada"},
		{"ACME\\ada", "acme\\ada"},
		{"Ada Lovelace", "ada lovelace"},
		{"ａｄａ＠ｅｘａｍｐｌｅ．ｔｅｓｔ", "ada@example.test"},
		{"Straße", "strasse"}, {"STRASSE", "strasse"},
		{"Jose\u0301@example.test", "josé@example.test"}, {"JOSÉ@example.test", "josé@example.test"},
		{"İpek", "i\u0307pek"}, {"ΣΊΣΥΦΟΣ", "σίσυφοσ"}, {"ΣΊΣΥΦΟς", "σίσυφοσ"},
		{"ﬁona", "fiona"}, {"K\u212a", "kk"},
		{"почта@example.test", "почта@example.test"}, {"иван.smith", "иван.smith"}, {"山田taro", "山田taro"}, {"やまだ太郎", "やまだ太郎"}, {"김철수kim", "김철수kim"}, {"שלום1", "שלום1"},
		{"\u00a0ada\u3000", "ada"},
		{"+1 (514) 555-0100", "+15145550100"}, {"+15145550100", "+15145550100"}, {"＋１５１４５５５０１００", "+15145550100"}, {"+tag", "+tag"}, {"+1 23", "+1 23"},
		{strings.Repeat("a", MaxBytes), strings.Repeat("a", MaxBytes)},
		{"", ""}, {" \t\n", ""}, {"\u3000", ""}, {"ada\x00", ""}, {"a\nb", ""}, {"a\tb", ""}, {"a\x7f", ""}, {"\xff", ""}, {"ada\xc3", ""},
		{strings.Repeat("a", MaxBytes+1), ""}, {strings.Repeat("é", 128), ""}, {strings.Repeat(" ", 5000) + "a", ""}, {strings.Repeat("ﷺ", 100), ""},
		{"a\u200bb", ""}, {"a\u202eb", ""}, {"a\u00adb", ""}, {"a\ufeffb", ""}, {"a\u2028b", ""}, {"a\ue000b", ""}, {"a\u0378b", ""}, {"a\u3164b", ""}, {"a\ufe0fb", ""},
		{"\u0301ada", ""},
		{"p\u0430ypal", ""}, {"p\u0430ypal@example.test", ""}, {"ada@ex\u0430mple.test", ""}, {"\u03b1da", ""}, {"\u0561da", ""}, {"カgim김", ""}, {"שאд", ""},
	} {
		got, err := Fold(tt.typed)
		if string(got) != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("Fold(%+.40q) = %+q, %v, want %+q", tt.typed, got, err, tt.want)
		}
		if err != nil && (!errors.Is(err, identity.Invalid) || identity.Describe(err).Public == "") {
			t.Errorf("Fold(%+.40q): %v is not Invalid with a reason", tt.typed, err)
		}
	}
}

func TestFoldPlainTextDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		folded, err := Fold("ada@example.test")
		if err != nil || Skeleton(folded) == "" {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSkeleton(t *testing.T) {
	skeleton := func(typed string) string {
		folded, err := Fold(typed)
		if err != nil {
			t.Fatalf("Fold(%+q): %v", typed, err)
		}
		return Skeleton(folded)
	}
	for _, same := range [][2]string{
		{"coxa", "соха"}, // Latin, Cyrillic
		{"paypa", "раура"},
		{"SCOPE@EXAMPLE.TEST", "ѕсоре@example.test"},
		{"ov", "ον"},     // Greek
		{"goun", "ցօսո"}, // Armenian
		{"ipek", "ıpek"},
		{"café", "cafe\u0301"},
	} {
		if a, b := skeleton(same[0]), skeleton(same[1]); a != b {
			t.Errorf("%q has skeleton %+q, %q has %+q", same[0], a, same[1], b)
		}
	}
	for _, different := range [][2]string{
		{"ada", "adà"}, {"ada", "ida"}, {"adal", "ada1"}, {"bob0", "bobo"}, {"m", "rn"}, {"иван", "ивам"}, {"山田", "山口"}, {"straße", "strase"},
	} {
		if a, b := skeleton(different[0]), skeleton(different[1]); a == b {
			t.Errorf("%q and %q share skeleton %+q", different[0], different[1], a)
		}
	}
}

func TestLookalikeList(t *testing.T) {
	table := lookalikes()
	if len(table) < 1000 {
		t.Errorf("only %d look-alikes", len(table))
	}
	last := ""
	for line := range strings.Lines(lookalikeList) {
		if line[0] == '#' {
			continue
		}
		if line <= last {
			t.Errorf("line %q is out of order", line)
		}
		last = line
		from, to, found := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !found || utf8.RuneCountInString(from) != 1 || from[0] < utf8.RuneSelf || to == "" || !utf8.ValidString(line) {
			t.Errorf("line %q", line)
		}
		for _, r := range to {
			if next, found := table[r]; found && string(r) != from {
				t.Errorf("%q looks like %q, and %q like %q: one step must be enough", from, to, r, next)
			}
		}
	}
}

func TestKind(t *testing.T) {
	for _, tt := range []struct {
		folded Folded
		want   identity.LoginKind
	}{
		{"ada@example.test", identity.EmailLogin}, {"ada@localhost", identity.EmailLogin}, {"ada+x@example.test", identity.EmailLogin},
		{"почта@example.test", identity.EmailLogin}, {"a@b@c", identity.UsernameLogin}, {"@", identity.UsernameLogin}, {"ada@", identity.UsernameLogin},
		{"+15145550100", identity.PhoneLogin}, {"+1", identity.UsernameLogin}, {"15145550100", identity.UsernameLogin}, {"ada", identity.UsernameLogin}, {"", identity.UsernameLogin},
	} {
		if got := tt.folded.Kind(); got != tt.want {
			t.Errorf("%q is %s, want %s", tt.folded, got, tt.want)
		}
	}
}

func TestNew(t *testing.T) {
	got, err := New(" Соха@Example.test ")
	want := identity.Login{Kind: identity.EmailLogin, Typed: "Соха@Example.test", Folded: "соха@example.test", Skeleton: "coxa@example.test"}
	if err != nil || got != want {
		t.Errorf("New = %+v, %v", got, err)
	}
	if _, err := New("a\x00"); !errors.Is(err, identity.Invalid) {
		t.Errorf("New of a control character: %v", err)
	}
}

func TestValidEmail(t *testing.T) {
	local64, label63 := strings.Repeat("a", 64), strings.Repeat("b", 63)
	for _, tt := range []struct {
		text         string
		valid, plain bool
	}{
		{"ada@example.test", true, true},
		{"a@b", true, true},
		{"ada.lovelace+tag@example.test", true, true},
		{"ada_l-x@sub.example-1.test", true, true},
		{"Ada@example.test", true, false},
		{"o'hara@example.test", true, false},
		{"ada+@example.test", true, false},
		{"ada+a+b@example.test", true, false},
		{"josé@example.test", true, false},
		{"ada@münchen.test", true, false},
		{local64 + "@example.test", true, true},
		{local64 + "a@example.test", false, false},
		{"a@" + label63, true, true},
		{"a@b" + label63, false, false},
		{"a@" + label63 + "." + label63 + "." + label63 + "." + label63, false, false},
		{"", false, false}, {"@", false, false}, {"ada", false, false}, {"ada@", false, false}, {"@example.test", false, false},
		{".ada@example.test", false, false}, {"ada.@example.test", false, false}, {"a..b@example.test", false, false},
		{"ada@.example.test", false, false}, {"ada@example.test.", false, false}, {"ada@example..test", false, false},
		{"ada@-example.test", false, false}, {"ada@example-.test", false, false}, {"ada@exa_mple.test", false, false},
		{"ada@@example.test", false, false}, {"a da@example.test", false, false}, {"\"a da\"@example.test", false, false},
		{"ada@[127.0.0.1]", false, false}, {"ada@example.test\r\nBcc: x@y", false, false}, {"<ada@example.test>", false, false},
		{"ada,bob@example.test", false, false}, {"ada@exa\u200bmple.test", false, false}, {"ada\xff@example.test", false, false},
	} {
		if got := ValidEmail(tt.text); got != tt.valid {
			t.Errorf("ValidEmail(%.60q) = %v", tt.text, got)
		}
		if got := ValidPlainEmail(tt.text); got != tt.plain {
			t.Errorf("ValidPlainEmail(%.60q) = %v", tt.text, got)
		}
	}
}

func TestPhone(t *testing.T) {
	for _, tt := range []struct {
		typed, want string
	}{
		{"+15145550100", "+15145550100"}, {" +1 (514) 555-01.00 ", "+15145550100"}, {"+12345678", "+12345678"}, {"+123456789012345", "+123456789012345"},
		{"+1234567", ""}, {"+1234567890123456", ""}, {"+05145550100", ""}, {"15145550100", ""}, {"0015145550100", ""}, {"", ""}, {"+", ""}, {"+1514555010o", ""},
		{"+１５１４５５５０１００", ""}, {"++15145550100", ""}, {strings.Repeat(" ", 5000), ""},
	} {
		if got, ok := Phone(tt.typed); ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("Phone(%.40q) = %q, %v", tt.typed, got, ok)
		}
	}
}

func FuzzFold(f *testing.F) {
	for _, seed := range []string{"Ada@Example.test", "STRASSE", "İ", "ﷺ", "+1 514 555 0100", "соха", "\xff", "ͅΑ", "ǰ\u0301", "🅰", "ⅷ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		folded, err := Fold(typed)
		if err != nil {
			if !errors.Is(err, identity.Invalid) {
				t.Errorf("Fold(%+q) = %v", typed, err)
			}
			return
		}
		if folded == "" || len(folded) > MaxBytes || !utf8.ValidString(string(folded)) {
			t.Errorf("Fold(%+q) = %+q", typed, folded)
		}
		if again, err := Fold(string(folded)); err != nil || again != folded {
			t.Errorf("%+q folds to %+q, and that to %+q, %v", typed, folded, again, err)
		}
		skeleton := Skeleton(folded)
		if skeleton == "" || Skeleton(Folded(skeleton)) != skeleton {
			t.Errorf("%+q has skeleton %+q, and that %+q", folded, skeleton, Skeleton(Folded(skeleton)))
		}
	})
}

func FuzzValidEmail(f *testing.F) {
	for _, seed := range []string{"ada@example.test", "a@b", "\"a b\"@c", "ada@example.test\r\nx"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if ValidPlainEmail(text) && !ValidEmail(text) {
			t.Errorf("%q is plain and not valid", text)
		}
		if ValidEmail(text) && strings.ContainsAny(text, " \r\n\t<>,;:\"\\()[]\x00") {
			t.Errorf("%q would break a mail header", text)
		}
	})
}

func BenchmarkFold(b *testing.B) {
	for name, typed := range map[string]string{"ascii": "ada@example.test", "upper": "Ada@Example.test", "cyrillic": "Почта@Example.test"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				folded, err := Fold(typed)
				if err != nil {
					b.Fatal(err)
				}
				Skeleton(folded)
			}
		})
	}
}
