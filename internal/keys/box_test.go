package keys_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

func box(t testing.TB, fill byte) *keys.Box {
	t.Helper()
	b, err := keys.NewBox(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBoxOpensOnlyWhatItSealedForThePurpose(t *testing.T) {
	b := box(t, 1)
	plain := []byte("JBSWY3DPEHPK3PXP")
	sealed := b.Seal("totp:ada", plain)
	if got, err := b.Open("totp:ada", sealed); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Open = %q, %v", got, err)
	}
	if bytes.Contains(sealed, plain) {
		t.Error("the sealed text shows the plain one")
	}
	if bytes.Equal(sealed, b.Seal("totp:ada", plain)) {
		t.Error("two seals of one text are equal: the nonce is not random")
	}
	if _, err := b.Open("totp:bob", sealed); err == nil {
		t.Error("opened for another purpose")
	}
	if _, err := box(t, 2).Open("totp:ada", sealed); err == nil {
		t.Error("opened by another master key")
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := b.Open("totp:ada", changed); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
	}
	for n := range sealed {
		if _, err := b.Open("totp:ada", sealed[:n]); err == nil {
			t.Errorf("opened when cut to %d bytes", n)
		}
	}
}

func TestMACTellsPartsApart(t *testing.T) {
	b := box(t, 1)
	codes := map[string]string{}
	for name, code := range map[string][]byte{
		"ab,c": b.MAC("p", []byte("ab"), []byte("c")), "a,bc": b.MAC("p", []byte("a"), []byte("bc")),
		"abc": b.MAC("p", []byte("abc")), "abc,": b.MAC("p", []byte("abc"), nil), "other purpose": b.MAC("q", []byte("abc")),
		"other key": box(t, 2).MAC("p", []byte("abc")),
	} {
		if twin, taken := codes[string(code)]; taken {
			t.Errorf("%s and %s have one code", name, twin)
		}
		codes[string(code)] = name
	}
	if d, c := b.Derive("check"), b.CheckValue(); bytes.Equal(d[:], c) {
		t.Error("a derived key equals the check value, which is no secret")
	}
}

func TestLoadMaster(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	tests := []struct {
		name, file string
		mode       os.FileMode
		env        identity.Secret
		want       string // part of the error
	}{
		{"made at the first start", "", 0, "", ""},
		{"found", good + "\n", 0o600, "", ""},
		{"owner may read only", good, 0o400, "", ""},
		{"the environment wins", "not a key", 0o600, identity.Secret(good), ""},
		{"others may read it", good, 0o644, "", "chmod 600"},
		{"the group may write it", good, 0o620, "", "chmod 600"},
		{"not base64", "correct horse battery staple!", 0o600, "", "not base64"},
		{"empty", "", 0o600, "", "0 bytes, not 32"},
		{"too short", base64.StdEncoding.EncodeToString(make([]byte, 31)), 0o600, "", "31 bytes, not 32"},
		{"environment malformed", "", 0, "hunter2!", "GATEHOUSE_MASTER_KEY"},
		{"environment too long", "", 0, identity.Secret(base64.StdEncoding.EncodeToString(make([]byte, 33))), "33 bytes, not 32"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			path := filepath.Join(dir, keys.MasterKeyFile)
			if tt.mode != 0 {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(tt.file), tt.mode); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, tt.mode); err != nil { // past the umask
					t.Fatal(err)
				}
			}
			b, err := keys.LoadMaster(dir, tt.env, rand.Reader)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				again, err := keys.LoadMaster(dir, tt.env, rand.Reader)
				if err != nil || !bytes.Equal(b.CheckValue(), again.CheckValue()) {
					t.Fatalf("the second start has another key (%v)", err)
				}
				if entries, _ := os.ReadDir(dir); len(entries) > 1 {
					t.Errorf("left beside the key: %v", entries)
				}
				if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
					t.Errorf("mode %v", info.Mode())
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("err = %v, want %q in it", err, tt.want)
			}
			if tt.file != "" && strings.Contains(err.Error(), strings.TrimSpace(tt.file)) || tt.env != "" && strings.Contains(err.Error(), tt.env.Reveal()) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestTwoProcessesMakeOneMasterKey(t *testing.T) {
	dir := t.TempDir()
	var seen sync.Map
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 16 {
		wg.Go(func() {
			<-start
			b, err := keys.LoadMaster(dir, "", rand.Reader)
			if err != nil {
				t.Error(err)
				return
			}
			seen.Store(string(b.CheckValue()), true)
		})
	}
	close(start)
	wg.Wait()
	n := 0
	seen.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d different keys", n)
	}
}

func TestLoadMasterSaysWhatToDoWithoutADirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.LoadMaster(filepath.Join(file, "data"), "", rand.Reader); err == nil {
		t.Error("no error")
	}
	if _, err := keys.LoadMaster(t.TempDir(), "", io.LimitReader(rand.Reader, 5)); err == nil {
		t.Error("no error where randomness ran out")
	}
}
