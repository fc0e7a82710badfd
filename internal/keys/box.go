package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"gatehouse/internal/identity"
)

// MasterKeyFile is the master key's name in the data directory.
const MasterKeyFile = "master.key"

// masterKeyLength is AES-256's.
const masterKeyLength = 32

// sealVersion comes first in everything sealed, so that a later form can be told from this one.
const sealVersion = 1

// checkSetting holds the master key's check value.
const checkSetting = "master-key-check"

// Box seals what the store keeps and must be able to read back, and derives keys and authentication codes. A purpose names
// what a secret is for: sealed for one purpose, it opens for no other, so that nobody who can write to the database can make
// one row's secret serve as another's.
type Box struct {
	root []byte // HKDF's pseudo-random key; the master key itself encrypts nothing
	aead cipher.AEAD
}

// NewBox takes the 32 bytes of the master key.
func NewBox(master []byte) (*Box, error) {
	if len(master) != masterKeyLength {
		return nil, fmt.Errorf("the master key has %d bytes, not %d", len(master), masterKeyLength)
	}
	root, err := hkdf.Extract(sha256.New, master, []byte("gatehouse"))
	if err != nil {
		return nil, err
	}
	b := &Box{root: root}
	block, err := aes.NewCipher(b.expand("seal"))
	if err != nil {
		return nil, err
	}
	// Random nonces of the library's own making: no test's seeded randomness can make two equal.
	if b.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	return b, nil
}

// expand is the only way from the root to a key; its labels never overlap, because only the last part is the caller's.
func (b *Box) expand(label string) []byte {
	key, err := hkdf.Expand(sha256.New, b.root, label, sha256.Size)
	if err != nil {
		panic(err) // only for lengths past 255 hashes
	}
	return key
}

// Seal encrypts with AES-256-GCM.
func (b *Box) Seal(purpose string, plain []byte) []byte {
	sealed := make([]byte, 1, 1+len(plain)+b.aead.Overhead())
	sealed[0] = sealVersion
	return b.aead.Seal(sealed, nil, plain, boundTo(purpose))
}

// Open is Seal's inverse. Its error is Internal: what we sealed ourselves opens, or somebody changed it.
func (b *Box) Open(purpose string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, errors.New("open: not sealed by this version")
	}
	plain, err := b.aead.Open(nil, nil, sealed[1:], boundTo(purpose))
	if err != nil {
		return nil, errors.New("open: sealed with another key or for another purpose, or damaged")
	}
	return plain, nil
}

func boundTo(purpose string) []byte { return append([]byte{sealVersion}, purpose...) }

// Derive gives a key of its own for a purpose (RFC 5869).
func (b *Box) Derive(purpose string) [32]byte { return [32]byte(b.expand("derive/" + purpose)) }

// MAC authenticates parts under a key of its own for the purpose. Each part counts with its length, so that moving a byte
// from one to the next changes the code.
func (b *Box) MAC(purpose string, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, b.expand("mac/"+purpose))
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		mac.Write(length[:])
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// CheckValue tells whether two boxes have one key, and nothing about it.
func (b *Box) CheckValue() []byte { return b.expand("check") }

// LoadMaster opens the box with the key from the environment, else with the one in the data directory, which it makes at the
// first start. Two processes that start at once end with one key.
func LoadMaster(dataDir string, fromEnv identity.Secret, rand io.Reader) (*Box, error) {
	if fromEnv != "" {
		master, err := decodeMaster(fromEnv.Reveal())
		if err != nil {
			return nil, fmt.Errorf("GATEHOUSE_MASTER_KEY: %w; make one with `openssl rand -base64 32`", err)
		}
		return NewBox(master)
	}
	path := filepath.Join(dataDir, MasterKeyFile)
	master, err := readMaster(path)
	if errors.Is(err, os.ErrNotExist) {
		if err = createMaster(dataDir, path, rand); err == nil {
			master, err = readMaster(path)
		}
	}
	if err != nil {
		return nil, err
	}
	return NewBox(master)
}

func readMaster(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("master key: %s is not a file; put the key's base64 text there, or in GATEHOUSE_MASTER_KEY", path)
	}
	// Windows has no such bits: there the directory's access list must do.
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("master key: %s may be read by others (mode %04o); run `chmod 600 %s`, and replace what it protects if somebody did read it",
			path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	master, err := decodeMaster(string(text))
	if err != nil {
		return nil, fmt.Errorf("master key: %s: %w; put back the file that belongs to this data directory", path, err)
	}
	return master, nil
}

// createMaster writes the whole key beside its place and then links it there: linking fails where a key stands, and nobody
// ever reads half a one. Where another process was first, its key stays.
func createMaster(dataDir, path string, rand io.Reader) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make the master key: %w; give one in GATEHOUSE_MASTER_KEY if the data directory cannot hold it", err)
		}
	}()
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return err
	}
	master := make([]byte, masterKeyLength)
	if _, err := io.ReadFull(rand, master); err != nil {
		return err
	}
	f, err := os.CreateTemp(dataDir, MasterKeyFile+".*") // mode 0600, O_EXCL
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.WriteString(base64.StdEncoding.EncodeToString(master) + "\n"); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	// What is sealed next must not outlive the name of its key in a power cut.
	dir, err := os.Open(dataDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && runtime.GOOS != "windows" {
		return err
	}
	return nil
}

func decodeMaster(text string) ([]byte, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	master, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("the key is not base64") // err would quote the key
	}
	if len(master) != masterKeyLength {
		return nil, fmt.Errorf("the key has %d bytes, not %d", len(master), masterKeyLength)
	}
	return master, nil
}

// VerifyMaster ties the store to its master key at the first start, and refuses any other afterwards: a node with a foreign
// key would seal what its neighbours cannot open.
func VerifyMaster(ctx context.Context, store identity.Store, box *Box) error {
	kept, err := checkValue(ctx, store)
	if errors.Is(err, identity.NotFound) {
		err = store.Update(ctx, func(tx identity.Tx) error {
			_, err := tx.CreateSetting(ctx, identity.Setting{Name: checkSetting, Sealed: box.CheckValue()})
			return err
		})
		if err == nil {
			kept, err = checkValue(ctx, store) // another node may have been first
		}
	}
	if err != nil {
		return fmt.Errorf("check the master key: %w", err)
	}
	if !hmac.Equal(kept, box.CheckValue()) {
		return errors.New("the master key does not open this store; put back the " + MasterKeyFile +
			" that the store was made with, or set GATEHOUSE_MASTER_KEY to it (every node needs the same)")
	}
	return nil
}

// Tied says whether a store belongs to a master key already.
func Tied(ctx context.Context, store identity.Store) (bool, error) {
	_, err := checkValue(ctx, store)
	if errors.Is(err, identity.NotFound) {
		return false, nil
	}
	return err == nil, err
}

func checkValue(ctx context.Context, store identity.Store) (kept []byte, err error) {
	err = store.View(ctx, func(r identity.Reader) error {
		setting, err := r.Setting(ctx, checkSetting)
		kept = setting.Sealed
		return err
	})
	return kept, err
}
