package licence_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/verify/licence"
)

// An edge box at its start: three files beside the program and one that the program keeps.
func Example() {
	// keys.json is what the issuer's jwks_uri serves, put there when the box was made.
	jwks, err := os.ReadFile("testdata/keys.json")
	if err != nil {
		log.Fatal(err)
	}
	keys, err := licence.ParseKeys(jwks)
	if err != nil {
		log.Fatal(err)
	}
	// camera-1.licence is what `gatehouse licence issue` printed, carried here by whatever way there is.
	document, err := os.ReadFile("testdata/camera-1.licence")
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "edge") // a folder of the box's own that survives restarts, such as /var/lib/edge
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	verifier := &licence.Verifier{
		Keys:   keys,
		Issuer: "https://id.example.test",
		Now:    func() time.Time { return time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC) }, // time.Now in a real box
		Store:  licence.File(filepath.Join(dir, "licence.state")),
	}
	claims, state, err := verifier.Verify(strings.TrimSpace(string(document)), licence.Binding{
		Device: "5a1d9b7e-3b0e-4a49-8d53-8f9f0a2c7c44", // who this box is
	})
	switch {
	case errors.Is(err, licence.ErrUnknownKey):
		log.Fatal("the issuer has new keys: bring a new keys.json")
	case err != nil:
		log.Fatal(err)
	case state == licence.InGrace:
		log.Print("the lease is over, renew it before ", claims.GraceEndsAt)
	}
	fmt.Println(claims.AgreementName, "is", state, "until", claims.ExpiresAt.Format(time.DateOnly))
	fmt.Println("inference:", claims.Has("inference"))

	// Output:
	// Edge Pro is valid until 2026-03-31
	// inference: true
}

// A revocation list arrives on a stick, some time after the document.
func ExampleParseRevocations() {
	jwks, err := os.ReadFile("testdata/keys.json")
	if err != nil {
		log.Fatal(err)
	}
	keys, err := licence.ParseKeys(jwks)
	if err != nil {
		log.Fatal(err)
	}
	list, err := os.ReadFile("testdata/revocations")
	if err != nil {
		log.Fatal(err)
	}
	document, err := os.ReadFile("testdata/camera-1.licence")
	if err != nil {
		log.Fatal(err)
	}

	verifier := &licence.Verifier{Keys: keys, Now: func() time.Time { return time.Date(2026, 3, 25, 0, 0, 0, 0, time.UTC) }}
	verifier.Revocations, err = licence.ParseRevocations(strings.TrimSpace(string(list)), keys)
	if err != nil {
		log.Fatal(err)
	}
	_, _, err = verifier.Verify(strings.TrimSpace(string(document)), licence.Binding{Device: "5a1d9b7e-3b0e-4a49-8d53-8f9f0a2c7c44"})
	fmt.Println(errors.Is(err, licence.ErrRevoked))

	// Output:
	// true
}
