package archtest

import (
	"strings"
	"testing"
)

// rule forbids imports to the packages in from (none named: to all), but not to those in except.
type rule struct {
	from, except []string
	forbids      func(f file, imported string) bool
	tests        bool // holds for test files too
	why          string
}

// below is anything in these folders or import paths.
func below(folders ...string) func(file, string) bool {
	return func(_ file, imported string) bool { return within(imported, folders...) }
}

// ownBut is our own packages, but not those below these folders.
func ownBut(folders ...string) func(file, string) bool {
	return func(_ file, imported string) bool { return own(imported) && !within(imported, folders...) }
}

var importRules = []rule{
	{
		from: []string{"internal/identity"}, forbids: func(_ file, imported string) bool {
			return !standard(imported) && !within(imported, "internal/identity")
		},
		why: "the nouns stand under everything: a library here would be a library everywhere",
	},
	{
		from: []string{"internal/identity"}, forbids: below("net/http", "database/sql"), tests: true,
		why: "the nouns know neither a wire nor an engine",
	},
	{
		from: []string{"internal/core"}, forbids: below("internal/dialect", "internal/web", "internal/cli", "internal/app", "internal/httpkit", "internal/oauth", "net/http"),
		why: "the core decides and speaks no dialect: a status code in it would be one vendor's",
	},
	{
		from: []string{"internal/core"}, forbids: below("internal/store", "database/sql", "github.com/jackc/pgx", "modernc.org/sqlite"),
		why: "the core sees identity.Store only, so that both engines give the same answers",
	},
	{
		from: []string{"internal/factor"}, forbids: ownBut("internal/identity", "internal/factor"),
		why: "a factor proves one thing; what the proof is worth is the core's to decide",
	},
	{
		from: []string{"internal/picture"}, forbids: ownBut("internal/identity", "internal/picture"),
		why: "what reads the bytes of strangers reaches nothing else",
	},
	{
		from: []string{"internal/dialect"}, except: []string{"internal/dialect/dialecttest"}, tests: true,
		forbids: func(f file, imported string) bool {
			return within(imported, "internal/dialect") && !within(imported, door(f.dir), "internal/dialect/dialecttest")
		},
		why: "a door knows no other door: what two of them need belongs in the core, in oauth or in httpkit",
	},
	{
		from: []string{"internal/dialect", "internal/web"}, forbids: below("internal/store", "database/sql", "internal/app", "internal/cli"),
		why: "doors translate and decide nothing: they reach the store through the core's verbs",
	},
	{
		from: []string{"internal/store"}, forbids: ownBut("internal/identity", "internal/store"),
		why: "the store keeps the nouns and knows no verb",
	},
	{
		except: []string{"internal/app", "cmd", "internal/store"}, forbids: below("internal/store/sqlite", "internal/store/postgres"),
		why: "only app names an engine: all others would stop working with the other one",
	},
	{
		// A dialect reads its own section where it turns the contract's lives into session.Rules.
		except: []string{"internal/app", "internal/bench", "internal/cli", "internal/config", "internal/dialect", "cmd"}, forbids: below("internal/config"),
		why: "a package takes the values it needs as fields, so that a reader sees them and a test sets them",
	},
	{
		from:    []string{"internal/httpkit", "internal/keys", "internal/deliver", "internal/oauth", "internal/config"},
		forbids: below("internal/dialect", "internal/web", "internal/cli", "internal/app", "internal/store"),
		why:     "what many packages stand on knows none of them",
	},
	{
		from: []string{"verify"}, forbids: func(_ file, imported string) bool {
			return !standard(imported) && !within(imported, "verify", "golang.org/x")
		},
		why: "verify is imported by other people's services and must bring neither the server nor its libraries along",
	},
	{
		forbids: below("math/rand"),
		why:     "what an attacker must not guess and what he may guess look alike in a review; randomness is an injected io.Reader over crypto/rand",
	},
	{
		forbids: below("C"), tests: true,
		why: "one static binary, built anywhere without a C compiler",
	},
	{
		forbids: below("unsafe"),
		why:     "memory safety is half of why this is Go",
	},
	{
		forbids: below("net/smtp"),
		why:     "net/smtp is frozen without the AUTH kinds and TLS policies that go-mail has",
	},
	{
		forbids: below("testing", "net/http/httptest"),
		why:     "test code in the server is code that nobody meant to ship",
	},
}

// door is the folder of the dialect that a package belongs to.
func door(dir string) string {
	parts := strings.Split(dir, "/")
	return strings.Join(parts[:min(3, len(parts))], "/")
}

func brokenImports(f file) []string {
	var out []string
	for imported, pos := range f.imports() {
		for _, r := range importRules {
			if f.test && !r.tests || len(r.from) > 0 && !within(f.dir, r.from...) || within(f.dir, r.except...) || !r.forbids(f, imported) {
				continue
			}
			out = append(out, f.at(pos)+" imports "+imported+": "+r.why)
		}
	}
	return out
}

func TestImports(t *testing.T) {
	for _, f := range sources(t) {
		for _, broken := range brokenImports(f) {
			t.Error(broken)
		}
	}
}

// A rule that cannot fire holds nothing.
func TestImportRulesFire(t *testing.T) {
	tests := []struct {
		name, imported string
		refused        bool
	}{
		{"internal/identity/x.go", "github.com/google/uuid", true},
		{"internal/identity/x.go", "gatehouse/internal/core/session", true},
		{"internal/identity/x.go", "encoding/json", false},
		{"internal/identity/x_test.go", "github.com/google/go-cmp/cmp", false},
		{"internal/identity/x_test.go", "net/http", true},
		{"internal/core/signin/x.go", "net/http", true},
		{"internal/core/signin/x.go", "gatehouse/internal/httpkit", true},
		{"internal/core/signin/x.go", "gatehouse/internal/dialect/nx", true},
		{"internal/core/signin/x.go", "gatehouse/internal/store/sqlstore", true},
		{"internal/core/signin/x.go", "database/sql", true},
		{"internal/core/signin/x.go", "gatehouse/internal/core/session", false},
		{"internal/core/signin/x_test.go", "gatehouse/internal/store/sqlite", false},
		{"internal/factor/totp/x.go", "gatehouse/internal/core/session", true},
		{"internal/factor/totp/x.go", "gatehouse/internal/identity", false},
		{"internal/picture/x.go", "gatehouse/internal/core/profile", true},
		{"internal/picture/x.go", "gatehouse/internal/identity", false},
		{"internal/dialect/nx/x.go", "gatehouse/internal/dialect/titan", true},
		{"internal/dialect/nx/x_test.go", "gatehouse/internal/dialect/titan", true},
		{"internal/dialect/nx/x.go", "gatehouse/internal/dialect/nx/wire", false},
		{"internal/dialect/nx/x_test.go", "gatehouse/internal/dialect/dialecttest", false},
		{"internal/dialect/nx/x.go", "gatehouse/internal/store/sqlstore", true},
		{"internal/web/x.go", "gatehouse/internal/app", true},
		{"internal/store/sqlite/x.go", "gatehouse/internal/core/session", true},
		{"internal/store/sqlite/x.go", "gatehouse/internal/store/sqlstore", false},
		{"internal/cli/x.go", "gatehouse/internal/store/sqlite", true},
		{"internal/app/x.go", "gatehouse/internal/store/sqlite", false},
		{"internal/core/session/x.go", "gatehouse/internal/config", true},
		{"internal/app/x.go", "gatehouse/internal/config", false},
		{"internal/httpkit/x.go", "gatehouse/internal/dialect/nx", true},
		{"verify/x.go", "gatehouse/internal/identity", true},
		{"verify/licence/x.go", "github.com/go-jose/go-jose/v4", true},
		{"verify/licence/x.go", "golang.org/x/sys/unix", false},
		{"verify/licence/x.go", "gatehouse/verify/licence", false},
		{"verify/licence/x_test.go", "github.com/go-jose/go-jose/v4", false},
		{"internal/deliver/x.go", "math/rand/v2", true},
		{"internal/deliver/x.go", "net/smtp", true},
		{"internal/app/x_test.go", "C", true},
		{"internal/app/x.go", "testing", true},
		{"internal/store/storetest/x.go", "testing", false},
		{"x.go", "unsafe", true},
	}
	for _, tt := range tests {
		f := parseSource(t, tt.name, "package x\nimport _ \""+tt.imported+"\"\n")
		if got := len(brokenImports(f)) > 0; got != tt.refused {
			t.Errorf("%s importing %s: refused %v, want %v: %s", tt.name, tt.imported, got, tt.refused, brokenImports(f))
		}
	}
}
