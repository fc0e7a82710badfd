package licence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Memory is what a device must not forget between two checks. The zero value knows nothing.
type Memory struct {
	IssuedAt        time.Time // the latest time at which the issuer made a document or list that was accepted here
	SeenAt          time.Time // the latest time of the device's own clock, no later than the end of the documents checked
	RevocationEpoch int64     // the newest revocation list's
}

// merge gives what either knows: two processes may keep one file.
func (m Memory) merge(other Memory) Memory {
	return Memory{
		IssuedAt: latest(m.IssuedAt, other.IssuedAt), SeenAt: latest(m.SeenAt, other.SeenAt), RevocationEpoch: max(m.RevocationEpoch, other.RevocationEpoch),
	}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Store keeps a Memory. Where nothing is kept yet, Load gives the zero Memory and no error. Save is durable when it returns.
// A Verifier calls it from one goroutine at a time.
type Store interface {
	Load() (Memory, error)
	Save(Memory) error
}

// File is a Store in a small file of this name. It is replaced in one step (fsync, rename), so that a power cut leaves the old or the
// new one; where the name is a link, the file that it leads to is. Its folder must exist and be the device's alone. Deleting the file starts anew; a file that cannot be read is refused rather
// than forgotten.
type File string

const (
	maxFile  = 4 << 10
	maxLinks = 40 // as many as Linux follows
)

type wireMemory struct {
	Format          int   `json:"format"`
	IssuedAt        int64 `json:"issued_at"` // Unix seconds; 0: none
	SeenAt          int64 `json:"seen_at"`
	RevocationEpoch int64 `json:"revocation_epoch"`
}

// Load reads the file.
func (name File) Load() (Memory, error) {
	f, err := os.Open(string(name))
	if errors.Is(err, fs.ErrNotExist) {
		return Memory{}, nil
	}
	if err != nil {
		return Memory{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Memory{}, err
	}
	m, err := parseMemory(data)
	if err != nil {
		return Memory{}, fmt.Errorf("%s: %w", string(name), err)
	}
	return m, nil
}

func parseMemory(data []byte) (Memory, error) {
	if len(data) > maxFile {
		return Memory{}, errors.New("too long")
	}
	members, err := object(data)
	if err != nil {
		return Memory{}, err
	}
	w := wireMemory{IssuedAt: -1, SeenAt: -1, RevocationEpoch: -1}
	f := &fields{members: members}
	f.read("format", &w.Format)
	f.read("issued_at", &w.IssuedAt)
	f.read("seen_at", &w.SeenAt)
	f.read("revocation_epoch", &w.RevocationEpoch)
	switch {
	case f.err != nil:
		return Memory{}, f.err
	case w.Format != 1:
		return Memory{}, fmt.Errorf("of format %d, not 1", w.Format)
	case w.IssuedAt < 0 || w.IssuedAt > lastSecond || w.SeenAt < 0 || w.SeenAt > lastSecond || w.RevocationEpoch < 0:
		return Memory{}, errors.New("holds what nobody wrote")
	}
	return Memory{IssuedAt: instant(w.IssuedAt), SeenAt: instant(w.SeenAt), RevocationEpoch: w.RevocationEpoch}, nil
}

func instant(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return second(s)
}

// place follows links. A box whose system is not written to has one that leads to where it may write: in the link's own place the memory
// would be gone with the next start.
func (name File) place() (string, error) {
	path := string(name)
	for range maxLinks {
		to, err := os.Readlink(path)
		if err != nil { // a file, or nothing yet
			return path, nil
		}
		if !filepath.IsAbs(to) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			to = filepath.Join(dir, to)
		}
		path = to
	}
	return "", fmt.Errorf("%s: too many links", string(name))
}

// Save replaces the file.
func (name File) Save(m Memory) error {
	w := wireMemory{Format: 1, RevocationEpoch: m.RevocationEpoch}
	if !m.IssuedAt.IsZero() {
		w.IssuedAt = m.IssuedAt.Unix()
	}
	if !m.SeenAt.IsZero() {
		w.SeenAt = m.SeenAt.Unix()
	}
	data, err := json.Marshal(w)
	if err != nil {
		return err
	}
	path, err := name.place()
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if runtime.GOOS == "windows" { // folders cannot be synced there
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
