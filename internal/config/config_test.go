package config

import (
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/identity"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

// write puts a configuration file into a directory of the test and gives its name.
func write(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDefault(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Errorf("Default() breaks its own rules: %v", err)
	}
	got := map[string]any{
		"listen": c.Listen, "internal": c.InternalListen, "issuer": c.Issuer, "data": c.Data, "database": c.Database.Reveal(),
		"frontend": c.Titan.FrontendURL, "from": c.MailFrom, "token life": c.OpenWiFi.TokenLife, "nx access": c.Nx.AccessLife,
		"doors":    []bool{c.Nx.Enabled, c.Insights.Enabled, c.Titan.Enabled, c.OpenWiFi.Enabled, c.OIDC.Enabled},
		"openwifi": c.OpenWiFi.CORSOrigins, "memory": c.Password.MemoryKiB, "level": c.Log.Level,
	}
	want := map[string]any{
		"listen": "127.0.0.1:8080", "internal": "", "issuer": "http://127.0.0.1:8080", "data": "./gatehouse-data", "database": "",
		"frontend": "http://127.0.0.1:8080", "from": "gatehouse@localhost", "token life": 720 * time.Hour, "nx access": 5 * time.Minute,
		"doors":    []bool{true, true, true, true, true},
		"openwifi": []string{"*"}, "memory": uint32(19456), "level": slog.LevelInfo,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Default() (-want +got):\n%s", diff)
	}
}

// The names are a promise to operators: design and manuals print them.
func TestNames(t *testing.T) {
	want := []string{
		"GATEHOUSE_LISTEN", "GATEHOUSE_INTERNAL_LISTEN", "GATEHOUSE_ISSUER", "GATEHOUSE_DATA", "GATEHOUSE_DATABASE",
		"GATEHOUSE_SMTP_URL", "GATEHOUSE_MAIL_FROM", "GATEHOUSE_SMS_URL", "GATEHOUSE_TLS_CERT", "GATEHOUSE_TLS_KEY",
		"GATEHOUSE_MASTER_KEY", "GATEHOUSE_NX_UPSTREAM", "GATEHOUSE_NX_CLIENT_ID", "GATEHOUSE_NX_REDIRECT_URLS",
		"GATEHOUSE_TITAN_FRONTEND_URL", "GATEHOUSE_OPENWIFI_TOKEN_LIFE", "GATEHOUSE_OPENWIFI_SERVICE_KEY",
	}
	seen := map[string]bool{}
	for _, s := range Reference() {
		for _, name := range []string{s.Env, s.Key, "--" + s.Flag} {
			if seen[name] {
				t.Errorf("%s names two settings", name)
			}
			seen[name] = true
		}
		if s.Meaning == "" || s.Takes == "" {
			t.Errorf("%s is not explained", s.Key)
		}
		if !slices.ContainsFunc(sections, func(sec struct{ group, title string }) bool { return sec.group == group(s.Key) }) {
			t.Errorf("%s is in no section of the documentation", s.Key)
		}
	}
	for _, name := range want {
		if !seen[name] {
			t.Errorf("no setting is called %s", name)
		}
	}
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	file := write(t, "gatehouse.yaml", "listen: 127.0.0.1:1\nissuer: https://file.example\nnx: {access_life: 10m, hosts: [a.example, b.example]}\nlog:\n  level: debug\n")
	env := []string{"HOME=/root", "GATEHOUSE_CONFIG=" + file, "GATEHOUSE_LISTEN=127.0.0.1:2", "GATEHOUSE_ISSUER=https://env.example", "GATEHOUSE_LOG_LEVEL="}
	c, err := Load(Sources{Environ: env, Flags: map[string]string{"listen": "127.0.0.1:3"}})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Listen, c.Issuer, c.Nx.AccessLife, c.Nx.Hosts, c.Log.Level, c.Nx.RefreshLife, c.Origin("listen"), c.Origin("issuer"), c.Origin("nx.access_life"), c.Origin("nx.refresh_life")}
	want := []any{"127.0.0.1:3", "https://env.example", 10 * time.Minute, []string{"a.example", "b.example"}, slog.LevelDebug, 8 * time.Hour,
		"--listen", "GATEHOUSE_ISSUER", file + ":3", "default"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}

	flagged, err := Load(Sources{Environ: []string{"GATEHOUSE_CONFIG=/does/not/exist"}, Flags: map[string]string{"config": file}})
	if err != nil || flagged.Issuer != "https://file.example" {
		t.Errorf("--config must win over GATEHOUSE_CONFIG: issuer %q, error %v", flagged.Issuer, err)
	}
}

func TestEveryMistakeAtOnce(t *testing.T) {
	file := write(t, "bad.yaml", `listen: nowhere
isuer: https://auth.example
nx:
  acess_life: 5m
  access_life: 1m
  refresh_life: 30d
upstream: https://nx.example
titan: yes
openwifi:
  enabled: maybe
  hosts: [https://x.example]
  enabled: true
log: {level: [info]}
`)
	_, err := Load(Sources{
		Flags: map[string]string{"config": file, "nx-prefx": "/x", "tls-cert": "cert.pem"},
		Environ: []string{
			"GATEHOUSE_LISTN=127.0.0.1:1", "GATEHOUSE_AUDIT_RETENTION=90", "GATEHOUSE_TEST_POSTGRES=x",
			"GATEHOUSE_PORT_8080_TCP=tcp://10.0.0.1:8080", "GATEHOUSE_SERVICE_HOST=10.0.0.1", "GATEHOUSE_DATABASE=mysql://root:hunter2@db/x",
		},
	})
	var got Mistakes
	if !errors.As(err, &got) {
		t.Fatalf("Load = %v, want Mistakes", err)
	}
	want := []string{
		"GATEHOUSE_LISTN: unknown variable; did you mean GATEHOUSE_LISTEN?",
		"--nx-prefx: unknown flag; did you mean nx-prefix?",
		file + ":2: isuer: unknown key; did you mean issuer?",
		file + ":4: nx.acess_life: unknown key; did you mean nx.access_life?",
		file + ":7: upstream: unknown key; did you mean nx.upstream?",
		file + ":8: titan: a value where settings belong; write its settings below it, indented",
		file + ":12: openwifi.enabled: already set in line 10; keep one of them",
		file + ":13: log.level: a list where one value is expected; write one value",
		`GATEHOUSE_AUDIT_RETENTION: audit.retention: "90" has no unit; add one, as in 90s`,
		file + `:6: nx.refresh_life: "30d": days are not a unit here; write 720h`,
		file + `:10: openwifi.enabled: "maybe" is neither true nor false; write true or false`,
		file + `:1: listen: "nowhere" is no listen address; write host:port, as in 127.0.0.1:8080 or [::1]:8080`,
		"GATEHOUSE_DATABASE: database: not one of the known kinds of URL; begin with postgres:// or postgresql://",
		file + ":5: nx.access_life: 1m is out of range; write a duration, 2m1s to 24h",
		file + `:11: openwifi.hosts: "https://x.example" is no host name; write a host name without scheme, port or wildcard, in lower case`,
		"--tls-cert: tls_cert: a certificate without its key; set tls_key too, or neither",
	}
	lines := strings.Split(got.Error(), "\n")
	for _, w := range want {
		if !slices.Contains(lines, w) {
			t.Errorf("not reported: %s", w)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d mistakes reported, want %d:\n%s", len(lines), len(want), got)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the report repeats a password")
	}
}

func TestRefusedValues(t *testing.T) {
	tests := []struct{ key, value, want string }{
		{"listen", " ", "empty"},
		{"listen", "localhost:http", "no port"},
		{"listen", "bad host:80", "neither"},
		{"internal_listen", "127.0.0.1:8080", "the same address"},
		{"issuer", "auth.example", "no absolute"},
		{"issuer", "ftp://auth.example", "no absolute"},
		{"issuer", "https://", "names no host"},
		{"issuer", "https://auth.example/", "ends in a slash"},
		{"issuer", "https://auth.example?x=1", "has a query"},
		{"issuer", "https://auth.example#x", "has a fragment"},
		{"issuer", "https://me:hunter2@auth.example", "carries credentials"},
		{"issuer", "https://auth.example:99999", "no port"},
		{"issuer", "https://auth.example\x01", "control character"},
		{"data", " ", "empty"},
		{"database", "postgres://u:hunter2%zz@h/db", "not a URL"},
		{"smtp_url", "smtp:///", "no host"},
		{"smtp_url", "mail.example:25", "known kinds"},
		{"sms_url", "twilio://AC1@api.example", "no account and token"},
		{"sms_url", "twilio://AC1:hunter2@api.example", "needs a sender"},
		{"sms_url", "twilio://AC1:hunter2@api.example?from=+15145550100", ""},
		{"sms_per_hour", "-1", "out of range"},
		{"mail_from", "nobody", "no mail address"},
		{"master_key", "hunter2!", "not base64"},
		{"master_key", "aHVudGVyMg==", "7 bytes instead of 32"},
		{"openwifi.service_key", "short", "too short"},
		{"trusted_proxies", "10.0.0.1/8", "bits set behind its mask"},
		{"trusted_proxies", "proxy", "neither"},
		{"trusted_proxies", "0.0.0.0/0", "trusts the whole internet"},
		{"log.level", "loud", "no log level"},
		{"log.format", "xml", "none of the known words"},
		{"password.memory_kib", "64", "out of range"},
		{"password.parallel", "300", "out of range"},
		{"password.parallel", "-1", "out of range"},
		{"password.queue", "many", "no whole number"},
		{"password.queue", "99999999999999999999", "no whole number"},
		{"shutdown_grace", "-1s", "out of range"},
		{"audit.retention", "1h", "out of range"},
		{"nx.access_life", "2m", "out of range"},
		{"nx.access_life", "soon", "no duration"},
		{"nx.refresh_life", "1h", "out of range"},
		{"nx.remember_life", "4h", "shorter than nx.refresh_life"},
		{"nx.redirect_urls", "https://a.example,/relative", "no absolute"},
		{"nx.redirect_urls", "https://a.example,https://a.example", "twice"},
		{"nx.prefix", "nx", "no prefix"},
		{"nx.prefix", "/nx/", "no prefix"},
		{"nx.prefix", "/a/../b", "no prefix"},
		{"nx.prefix", "/{id}", "no prefix"},
		{"nx.prefix", "/healthz", "the server's own"},
		{"nx.base", "", "every path"},
		{"nx.base", "auth", "no prefix"},
		{"nx.base", "/api", "overlap"},
		{"nx.base", "/cdb/v1", "Nx Cloud's"},
		{"nx.base", "/console", "the server's own"},
		{"nx.base", "/nx/v2", ""},
		{"openwifi.prefix", "/auth", "overlap"},
		{"insights.hosts", "Auth.example", "lower case"},
		{"oidc.cors_origins", "https://app.example/", "no origin"},
		{"oidc.cors_origins", "null", "no absolute"},
		{"titan.idle_life", "48h", "shorter than titan.idle_life"},
		{"keys.publish_ahead", "720h", ""},
		{"keys.rotate_every", "2h", "before it signs"},
	}
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.value, func(t *testing.T) {
			_, err := Load(Sources{Flags: map[string]string{flagName(tt.key): tt.value}})
			if tt.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "--"+flagName(tt.key)+": ") {
				t.Errorf("Load = %v, want %q at the flag", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the report repeats a secret: %v", err)
			}
		})
	}
}

func TestAcceptedValues(t *testing.T) {
	key := base64.URLEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcde\xff"))
	tests := []struct {
		flags map[string]string
		get   func(Config) any
		want  any
	}{
		{map[string]string{"listen": ":8443", "tls-cert": "c", "tls-key": "k"}, func(c Config) any { return c.Issuer }, "https://localhost:8443"},
		{map[string]string{"listen": "[::1]:80"}, func(c Config) any { return c.Issuer }, "http://[::1]"},
		{map[string]string{"listen": "0.0.0.0:443", "tls-cert": "c", "tls-key": "k"}, func(c Config) any { return c.Issuer }, "https://localhost"},
		{map[string]string{"issuer": "https://auth.example/base"}, func(c Config) any { return c.Titan.FrontendURL + " " + c.MailFrom }, "https://auth.example/base gatehouse@auth.example"},
		{map[string]string{"trusted-proxies": "10.0.0.0/8, ::1"}, func(c Config) any { return c.TrustedProxies }, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}},
		{map[string]string{"openwifi-cors-origins": ""}, func(c Config) any { return len(c.OpenWiFi.CORSOrigins) }, 0},
		{map[string]string{"audit-retention": "0"}, func(c Config) any { return c.Audit.Retention }, time.Duration(0)},
		{map[string]string{"no-migrate": "1"}, func(c Config) any { return c.NoMigrate }, true},
		{map[string]string{"master-key-file": write(t, "master.key", key+"\n")}, func(c Config) any { b, err := c.MasterKeyBytes(); return fmt.Sprint(len(b), err) }, "32 <nil>"},
		{map[string]string{"database": "postgres:///gatehouse?host=/var/run/postgresql"}, func(c Config) any { return c.Database.Reveal() }, "postgres:///gatehouse?host=/var/run/postgresql"},
		{map[string]string{"openwifi-prefix": "/auth", "openwifi-hosts": "wifi.example"}, func(c Config) any { return c.OpenWiFi.Prefix }, "/auth"},
		{map[string]string{"openwifi-prefix": "/auth", "openwifi-enabled": "false"}, func(c Config) any { return c.OpenWiFi.Enabled }, false},
	}
	for _, tt := range tests {
		c, err := Load(Sources{Flags: tt.flags})
		if err != nil {
			t.Errorf("%v refused: %v", tt.flags, err)
			continue
		}
		got := tt.get(c)
		if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.flags, diff)
		}
	}
}

func TestSecretsFromFiles(t *testing.T) {
	smtp := write(t, "smtp", "smtps://u:hunter2@mail.example:465\n")
	c, err := Load(Sources{Environ: []string{"GATEHOUSE_SMTP_URL_FILE=" + smtp, "GATEHOUSE_SMS_URL=https://sms.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.SMTPURL.Reveal() != "smtps://u:hunter2@mail.example:465" {
		t.Errorf("smtp_url = %q", c.SMTPURL.Reveal())
	}
	for _, printed := range []string{fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprint(c.Values())} {
		if strings.Contains(printed, "hunter2") {
			t.Error("a printed Config shows a secret")
		}
	}
	empty := write(t, "empty", "\n")
	large := write(t, "large", strings.Repeat("x", maxSecret+1))
	for env, want := range map[string]string{
		"GATEHOUSE_SMTP_URL_FILE=" + empty:                                     "is empty",
		"GATEHOUSE_SMTP_URL_FILE=" + large:                                     "larger than",
		"GATEHOUSE_SMTP_URL_FILE=" + smtp + ".no":                              "no such file",
		"GATEHOUSE_SMTP_URL_FILE=" + t.TempDir():                               "is a directory",
		"GATEHOUSE_SMTP_URL=smtp://a.example\nGATEHOUSE_SMTP_URL_FILE=" + smtp: "GATEHOUSE_SMTP_URL gives the same secret",
		"GATEHOUSE_CONFIG=" + smtp + ".no":                                     "no such file",
	} {
		if _, err := Load(Sources{Environ: strings.Split(env, "\n")}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", env, err, want)
		}
	}
}

func TestFileSyntax(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", ""},
		{"comment", "# nothing\n", ""},
		{"null document", "---\n", ""},
		{"key left out", "nx:\nlisten:\n", ""},
		{"tab", "nx:\n\tprefix: /x\n", "f.yaml:2: found character that cannot start any token; write YAML"},
		{"scalar", "hello", "f.yaml:1: not a mapping"},
		{"list", "- a", "f.yaml:1: not a mapping"},
		{"two documents", "listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2\n", "a second document"},
		{"second document broken", "listen: 127.0.0.1:1\n---\n]\n", "did not find expected node content"},
		{"anchor", "listen: &a 127.0.0.1:1\ninternal_listen: *a\n", "f.yaml:2: internal_listen: anchors and aliases"},
		{"merge key", "nx:\n  <<: {prefix: /x}\n", "f.yaml:2: nx.<<: unknown key"},
		{"complex key", "? [a]\n: b\n", "a key that is no text"},
		{"settings as value", "listen: {host: x}\n", "settings where a value belongs"},
		{"nested list", "nx: {hosts: [[a]]}\n", "a list item that is no text"},
		{"item left out", "nx: {hosts: [a, ]}\n", ""},
		{"null item", "nx: {hosts: [~]}\n", "a list item that is no text"},
		{"not UTF-8", "listen: \xff\xfe\n", "UTF-8"},
		{"far from everything", "wibblewobble: 1\n", "gatehouse explain config"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var mistakes Mistakes
			parseFile("f.yaml", []byte(tt.text), &mistakes)
			if tt.want == "" && len(mistakes) > 0 || !strings.Contains(mistakes.Error(), tt.want) {
				t.Errorf("mistakes %q, want %q", mistakes.Error(), tt.want)
			}
		})
	}
}

func TestBound(t *testing.T) {
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4711}
	c, err := Load(Sources{Flags: map[string]string{"listen": "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	if b := c.Bound(addr); b.Issuer != "http://127.0.0.1:4711" || b.Titan.FrontendURL != b.Issuer {
		t.Errorf("issuer %q and front end %q do not follow the listener", b.Issuer, b.Titan.FrontendURL)
	}
	c, err = Load(Sources{Flags: map[string]string{"issuer": "https://auth.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if b := c.Bound(addr); b.Issuer != "https://auth.example" {
		t.Errorf("a given issuer became %q", b.Issuer)
	}
}

func TestValidateByHand(t *testing.T) {
	c := Default()
	c.Nx.AccessLife = time.Second
	c.MasterKey = identity.Secret("x")
	c.TLSKey = "k"
	err := c.Validate()
	for _, want := range []string{"nx.access_life: 1s", "master_key: ", "tls_cert: a key without"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want %q", err, want)
		}
	}
}

func TestDocumentation(t *testing.T) {
	name := filepath.Join("..", "..", "docs", "configuration.md")
	want := Markdown()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("docs/configuration.md is not what `go test ./internal/config -update` writes:\n%s", diff)
	}
	for _, s := range Reference() {
		if strings.Contains(s.Meaning+s.Takes, "|") {
			t.Errorf("%s: a bar would break the table", s.Key)
		}
	}
}

// Kong reads the flags that Flags describes, and what it read reaches Load.
func TestFlagsThroughKong(t *testing.T) {
	target, given := Flags()
	var cli struct {
		kong.Plugins
		Serve struct{} `cmd:""`
	}
	cli.Plugins = kong.Plugins{target}
	parser, err := kong.New(&cli, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"serve", "--listen=127.0.0.1:9", "--nx-enabled=false", "--no-migrate", "--internal-listen", ""}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"listen": "127.0.0.1:9", "nx-enabled": "false", "no-migrate": "true", "internal-listen": ""}
	if diff := cmp.Diff(want, given()); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
	if _, err := Load(Sources{Flags: given()}); err != nil {
		t.Errorf("Load: %v", err)
	}
	v := reflect.TypeOf(target).Elem()
	for i := range v.NumField() {
		if name := v.Field(i).Tag.Get("name"); name == "master-key" || name == "openwifi-service-key" {
			t.Errorf("--%s would show a secret in the process list", name)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{"listen: 127.0.0.1:1", "nx: {hosts: [a, b]}", "a: &a [*a]", "? {a: b}\n: c", "--- |\n x\n...\n", "%YAML 1.1\n---\n", "\t"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var mistakes Mistakes
		for key, e := range parseFile("f.yaml", data, &mistakes) {
			if !strings.HasPrefix(e.source, "f.yaml:") {
				t.Errorf("%s has no line: %q", key, e.source)
			}
		}
		for _, m := range mistakes {
			if m.Problem == "" || m.Source == "" {
				t.Errorf("a mistake that says nothing: %+v", m)
			}
		}
	})
}

func FuzzValue(f *testing.F) {
	f.Add(0, "127.0.0.1:8080")
	f.Add(2, "https://auth.example")
	f.Add(10, "10.0.0.0/8,::1")
	f.Fuzz(func(t *testing.T, i int, value string) {
		s := settings[max(i, 0)%len(settings)]
		c, err := Load(Sources{Flags: map[string]string{s.Flag: value}})
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s=%q loads but does not validate: %v", s.Key, value, err)
		}
		if s.Secret {
			return
		}
		again, err := Load(Sources{Flags: map[string]string{s.Flag: s.show(&c)}})
		if err != nil || s.show(&again) != s.show(&c) {
			t.Errorf("%s=%q shows as %q, which reads as %q (%v)", s.Key, value, s.show(&c), s.show(&again), err)
		}
	})
}
