package signin_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// twice is a store that has each update lose once before it commits, as PostgreSQL may.
type twice struct{ identity.Store }

var errLost = errors.New("lost to another update")

func (s twice) Update(ctx context.Context, write func(identity.Tx) error) error {
	var refused error
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		if refused = write(tx); refused != nil {
			return refused
		}
		return errLost
	})
	if refused != nil {
		return err
	}
	return s.Store.Update(ctx, write)
}

// A sign-in that replaces an old hash runs again like any other where the store asks for it.
func TestAHashIsReplacedThoughTheUpdateRunsAgain(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, twice{store})
		s := c.Person(func(_ *identity.Subject, cred *identity.Credential) {
			cred.Hash = ssha(string(coretest.Password), "salt")
		})
		out, err := c.SignIn.Password(t.Context(), input(s.Email, coretest.Password))
		if err != nil {
			t.Fatal(err)
		}
		if out.Session.ID == "" {
			t.Error("no session")
		}
	})
}

// Ten wrong passwords are ten, whichever of her logins they were typed for. The lock itself stays each login's own, or it would
// tell a stranger which logins are one person's.
func TestSeveralLoginsGiveNoMoreTries(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.Update(func(tx identity.Tx) error {
			for i := range 3 {
				name := fmt.Sprintf("alias%d", i)
				if err := tx.CreateLogin(t.Context(), identity.Login{
					SubjectID: s.ID, Kind: identity.UsernameLogin, Typed: name, Folded: name, Skeleton: name, CreatedAt: c.Clock.Now(),
				}); err != nil {
					return err
				}
			}
			return nil
		})
		for try := range 10 {
			if _, err := c.SignIn.Password(t.Context(), input(fmt.Sprintf("alias%d", try%3), "wrong")); !errors.Is(err, identity.BadCredential) {
				t.Fatalf("try %d: %v", try, err)
			}
		}
		// The eleventh is not judged. It is answered as a wrong one, as it would be for a login of somebody else.
		for _, login := range []string{s.Email, "alias0"} {
			if out, err := c.SignIn.Password(t.Context(), input(login, coretest.Password)); !errors.Is(err, identity.BadCredential) || out.Session.ID != "" {
				t.Errorf("%s, right, after ten wrong ones for her: %v, want %v", login, err, identity.BadCredential)
			}
		}
		// Each login locks after ten tries of its own, known or not.
		for _, login := range []string{"alias1", "nobody"} {
			for {
				_, err := c.SignIn.Password(t.Context(), input(login, "wrong"))
				if errors.Is(err, identity.Locked) {
					break
				}
				if !errors.Is(err, identity.BadCredential) {
					t.Fatal(err)
				}
			}
			c.View(func(r identity.Reader) error {
				counted, err := r.Attempts(t.Context(), "login:"+hashed(login))
				if err == nil && counted.Count != 10 {
					t.Errorf("%s locked after %d tries", login, counted.Count)
				}
				return err
			})
		}
		c.Clock.Advance(15*time.Minute + time.Second)
		if _, err := c.SignIn.Password(t.Context(), input(s.Email, coretest.Password)); err != nil {
			t.Errorf("after the window: %v", err)
		}
	})
}

// lockedMeanwhile locks a login while a password for it is being verified, as parallel guesses do, and notes further hashing.
type lockedMeanwhile struct {
	credential.Hasher
	lock   func()
	hashed int
}

func (h *lockedMeanwhile) Verify(ctx context.Context, encoded string, pw identity.Secret, words string) (match, rehash bool, err error) {
	h.lock()
	return h.Hasher.Verify(ctx, encoded, pw, words)
}

func (h *lockedMeanwhile) Hash(ctx context.Context, pw identity.Secret) (string, error) {
	h.hashed++
	return h.Hasher.Hash(ctx, pw)
}

// A guess beyond the lock takes as long if it is right: no hash is made for it that a wrong one would not need.
func TestARightGuessBeyondTheLockTakesNoLonger(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		plain := c.Passwords.Hasher
		for name, in := range map[string]signin.PasswordInput{
			"to be hashed anew": input("", coretest.Password),
			"new password":      {Caller: coretest.Caller(coretest.Door), Password: coretest.Password, NewPassword: "another good phrase"},
		} {
			for key, want := range map[string]error{"login:": identity.Locked, "person:": identity.BadCredential} {
				s := c.Person(func(_ *identity.Subject, cred *identity.Credential) {
					if in.NewPassword == "" {
						cred.Hash = ssha(string(coretest.Password), "salt")
					}
				})
				counted := key + string(s.ID)
				if key == "login:" {
					counted = key + hashed(s.Email)
				}
				spy := &lockedMeanwhile{Hasher: plain, lock: func() {
					c.Update(func(tx identity.Tx) error {
						for range 10 {
							if _, err := tx.CountAttempt(t.Context(), counted, c.Clock.Now(), 15*time.Minute); err != nil {
								return err
							}
						}
						return nil
					})
				}}
				c.Passwords.Hasher = spy
				in.Login = s.Email
				_, err := c.SignIn.Password(t.Context(), in)
				c.Passwords.Hasher = plain
				if !errors.Is(err, want) || spy.hashed != 0 {
					t.Errorf("%s, %s: %v after %d hashes, want %v after none", name, key, err, spy.hashed, want)
				}
			}
		}
	})
}
