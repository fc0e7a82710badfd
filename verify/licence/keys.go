package licence

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of a key set.
const (
	MaxKeySet = 256 << 10 // bytes
	maxKeys   = 256       // Ed25519 keys in it
)

// strict is base64url without padding, and with unused bits zero: one text for one value.
var strict = base64.RawURLEncoding.Strict()

// Keys are an issuer's public keys by their ids.
type Keys struct {
	byID   map[string]ed25519.PublicKey
	verify func(key ed25519.PublicKey, message, signature []byte) bool
}

// ParseKeys reads a JSON Web Key Set (RFC 7517), as the issuer's jwks_uri serves it, and takes the Ed25519 keys (kty OKP, RFC 8037) that
// are for signatures and have a kid. Other keys are other people's business and ignored. It fails when no key is left, when two
// have one kid, and when the set holds a private key, which then is no secret any more.
//
// How the set reaches the device decides what the check is worth: whoever can put a key in can make licences.
func ParseKeys(jwks []byte) (*Keys, error) {
	if len(jwks) > MaxKeySet {
		return nil, fmt.Errorf("licence: key set of %d bytes, %d are the most", len(jwks), MaxKeySet)
	}
	set, err := object(jwks)
	if err != nil {
		return nil, fmt.Errorf("licence: key set: %w", err)
	}
	var entries []json.RawMessage
	f := &fields{members: set}
	if f.read("keys", &entries); f.err != nil || entries == nil {
		return nil, errors.New("licence: key set: keys must be an array")
	}
	keys := &Keys{byID: map[string]ed25519.PublicKey{}, verify: ed25519.Verify}
	for i, entry := range entries {
		kid, key, err := parseKey(entry)
		if err != nil {
			return nil, fmt.Errorf("licence: key set: key %d: %w", i+1, err)
		}
		if key == nil {
			continue
		}
		if keys.byID[kid] != nil {
			return nil, fmt.Errorf("licence: key set: two keys have the kid %q", kid)
		}
		keys.byID[kid] = key
	}
	switch {
	case len(keys.byID) == 0:
		return nil, errors.New("licence: key set: no Ed25519 key for signatures in it")
	case len(keys.byID) > maxKeys:
		return nil, fmt.Errorf("licence: key set: %d Ed25519 keys, %d are the most", len(keys.byID), maxKeys)
	}
	return keys, nil
}

// parseKey gives no key where the entry is not for us.
func parseKey(entry json.RawMessage) (string, ed25519.PublicKey, error) {
	members, err := object(entry)
	if err != nil {
		return "", nil, err
	}
	if members["d"] != nil || members["k"] != nil {
		return "", nil, errors.New("is a private or a shared key: it must never leave its owner")
	}
	var (
		kty, crv, kid, use, alg, x string
		ops                        []string
	)
	f := &fields{members: members}
	for name, into := range map[string]*string{"kty": &kty, "crv": &crv, "kid": &kid, "use": &use, "alg": &alg, "x": &x} {
		f.read(name, into)
	}
	f.read("key_ops", &ops)
	switch {
	case f.err != nil && kty != "OKP":
		return "", nil, nil
	case f.err != nil:
		return "", nil, f.err
	case kty != "OKP" || crv != "Ed25519" || kid == "":
		return "", nil, nil
	case use != "" && use != "sig", alg != "" && alg != Algorithm && alg != "Ed25519", ops != nil && !slices.Contains(ops, "verify"):
		return "", nil, nil
	case len(kid) > maxWord:
		return "", nil, fmt.Errorf("its kid has %d bytes, %d are the most", len(kid), maxWord)
	}
	key, err := decode(x)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return "", nil, errors.New("x is not an Ed25519 key in base64url")
	}
	return kid, key, nil
}

// decode is strict base64url that also refuses what the library skips: line breaks.
func decode(segment string) ([]byte, error) {
	if segment == "" || strings.ContainsAny(segment, "\r\n") {
		return nil, errors.New("not base64url")
	}
	return strict.DecodeString(segment)
}

// open gives the payload of a compact JWS of this type after the one signature check that it costs.
func (k *Keys) open(text, typ string, most int) ([]byte, error) {
	if len(text) > most {
		return nil, fmt.Errorf("%w: %d bytes, %d are the most", ErrMalformed, len(text), most)
	}
	signed := strings.LastIndexByte(text, '.')
	if signed < 0 {
		return nil, fmt.Errorf("%w: not a compact JWS", ErrMalformed)
	}
	head, body, ok := strings.Cut(text[:signed], ".")
	if !ok || strings.Contains(body, ".") {
		return nil, fmt.Errorf("%w: not a compact JWS", ErrMalformed)
	}
	header, err := decode(head)
	if err != nil {
		return nil, fmt.Errorf("%w: header is not base64url", ErrMalformed)
	}
	payload, err := decode(body)
	if err != nil {
		return nil, fmt.Errorf("%w: payload is not base64url", ErrMalformed)
	}
	key, err := k.named(header, typ)
	if err != nil {
		return nil, err
	}
	signature, err := decode(text[signed+1:])
	if err != nil || len(signature) != ed25519.SignatureSize {
		return nil, fmt.Errorf("%w: signature is not 64 bytes in base64url", ErrMalformed)
	}
	if !k.verify(key, []byte(text[:signed]), signature) {
		return nil, ErrSignature
	}
	return payload, nil
}

// named gives the key that a header names. A header holds typ, alg and kid and nothing else: crit, jwk, jku, x5u, x5c, zip, b64
// have no meaning here, and refusing all that is not known needs no list that could miss one.
func (k *Keys) named(header []byte, typ string) (ed25519.PublicKey, error) {
	if len(header) > 1<<10 {
		return nil, fmt.Errorf("%w: header too long", ErrMalformed)
	}
	members, err := object(header)
	if err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	var said struct{ typ, alg, kid string }
	f := &fields{members: members}
	f.read("typ", &said.typ)
	f.read("alg", &said.alg)
	f.read("kid", &said.kid)
	if f.err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrMalformed, f.err)
	}
	if said.typ != typ {
		return nil, fmt.Errorf("%w: typ is %.40q, must be %q", ErrType, said.typ, typ)
	}
	if said.alg != Algorithm {
		return nil, fmt.Errorf("%w: alg is %.40q", ErrAlgorithm, said.alg)
	}
	if len(members) != 3 {
		return nil, fmt.Errorf("%w: header must hold alg, kid and typ alone", ErrMalformed)
	}
	key := k.byID[said.kid]
	if key == nil {
		return nil, fmt.Errorf("%w: kid %.40q", ErrUnknownKey, said.kid)
	}
	return key, nil
}
