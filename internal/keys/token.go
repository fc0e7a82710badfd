package keys

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"gatehouse/internal/identity"
)

// maxToken is the longest text that is looked at, in bytes; maxList the longest that is printed for others to look at.
const (
	maxToken = 8 << 10
	maxList  = 4 << 20
)

// compact is the encoding of RFC 7515, section 2, without its leniency: unused bits must be zero.
var compact = base64.RawURLEncoding.Strict()

// Verified is what a token's signature vouches for. It says nothing of times, audience or purpose.
type Verified struct {
	Payload   []byte
	Type      string
	Algorithm string
	KeyID     string
}

// Sign prints claims as a compact JWS under the algorithm's active key. With EdDSA equal claims give equal tokens, as long as
// the key stays.
func (r *Ring) Sign(alg, typ string, claims any) (string, error) {
	return r.sign(alg, typ, claims, maxToken)
}

// SignList is Sign for what may be longer than a token, and is never shown as one.
func (r *Ring) SignList(alg, typ string, claims any) (string, error) {
	return r.sign(alg, typ, claims, maxList)
}

func (r *Ring) sign(alg, typ string, claims any, limit int) (string, error) {
	k := r.state.Load().signer(alg, r.now())
	if k == nil {
		return "", identity.Unavailable.Wrap(fmt.Errorf("no %s signing key", alg))
	}
	header, err := k.header(typ)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("marshal claims: %w", err)
	}
	// The header is encoded once per key and type, so that a token costs its signature and little more.
	input := make([]byte, 0, len(header)+compact.EncodedLen(len(payload))+1+compact.EncodedLen(k.signatureLength))
	input = append(input, header...)
	input = compact.AppendEncode(input, payload)
	signature, err := k.signer.SignPayload(input, jose.SignatureAlgorithm(alg))
	if err != nil {
		return "", fmt.Errorf("sign with %s: %w", k.ID, err)
	}
	if alg == string(jose.ES256) {
		lowS(signature)
	}
	input = append(input, '.')
	input = compact.AppendEncode(input, signature)
	if len(input) > limit {
		return "", fmt.Errorf("token of %d bytes: %w", len(input), identity.TooLarge)
	}
	return string(input), nil
}

var (
	errForm      = errors.New("not a compact JWS")
	errHeader    = errors.New("not a header that this house prints")
	errKey       = errors.New("unknown key")
	errSignature = errors.New("wrong signature")
)

// Verify gives what a token of ours says; anything else is identity.TokenInvalid.
//
// A token has exactly one spelling, or revoking one by its hash would leave its twins alive: strict base64url, the very header
// that Sign prints for the key, and of ES256's two signatures of equal worth the lower one.
func (r *Ring) Verify(raw string) (Verified, error) {
	v, err := r.verify(raw)
	if err != nil {
		return Verified{}, identity.TokenInvalid.Wrap(err)
	}
	return v, nil
}

func (r *Ring) verify(raw string) (Verified, error) {
	if len(raw) > maxToken {
		return Verified{}, errForm
	}
	head, rest, _ := strings.Cut(raw, ".")
	body, tail, _ := strings.Cut(rest, ".")
	header, err := decode(head)
	if err != nil {
		return Verified{}, err
	}
	if _, err := decode(body); err != nil {
		return Verified{}, err
	}
	signature, err := decode(tail)
	if err != nil {
		return Verified{}, err
	}

	var said struct{ Alg, Kid, Typ string }
	if err := json.Unmarshal(header, &said); err != nil {
		return Verified{}, errHeader
	}
	k := r.state.Load().byID[identity.KeyID(said.Kid)]
	if k == nil || k.expired(r.now()) {
		return Verified{}, errKey
	}
	// The algorithm is the key's (RFC 8725, section 3.1). Comparing the whole header refuses a swapped one, "none", jwk, jku,
	// x5u, x5c, crit and whatever else has no place there, without a list that could miss one.
	if printed, err := printHeader(k.Algorithm, k.ID, said.Typ); err != nil || printed != string(header) {
		return Verified{}, errHeader
	}
	if k.Algorithm == string(jose.ES256) && !isLowS(signature) {
		return Verified{}, errSignature
	}
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(k.Algorithm)})
	if err != nil {
		return Verified{}, errForm
	}
	payload, err := jws.Verify(k.public)
	if err != nil {
		return Verified{}, errSignature
	}
	return Verified{Payload: payload, Type: said.Typ, Algorithm: k.Algorithm, KeyID: string(k.ID)}, nil
}

// decode refuses what the library would skip: line breaks.
func decode(segment string) ([]byte, error) {
	if segment == "" || strings.ContainsAny(segment, "\r\n") {
		return nil, errForm
	}
	decoded, err := compact.DecodeString(segment)
	if err != nil {
		return nil, errForm
	}
	return decoded, nil
}

// printHeader is a format: tokens printed before an upgrade are compared with it after.
func printHeader(alg string, kid identity.KeyID, typ string) (string, error) {
	for _, c := range []byte(typ) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && !('0' <= c && c <= '9') && !strings.ContainsRune("+-.", rune(c)) {
			return "", fmt.Errorf("token type %q", typ)
		}
	}
	header := `{"alg":"` + alg + `","kid":"` + string(kid) + `"`
	if typ != "" {
		header += `,"typ":"` + typ + `"`
	}
	return header + "}", nil
}

// If (r, s) is an ECDSA signature, so is (r, n-s): anybody can turn one into the other.
var (
	p256Order, _ = new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	p256Half     = new(big.Int).Rsh(p256Order, 1)
)

func isLowS(signature []byte) bool {
	return len(signature) == 64 && new(big.Int).SetBytes(signature[32:]).Cmp(p256Half) <= 0
}

func lowS(signature []byte) {
	if s := new(big.Int).SetBytes(signature[32:]); s.Cmp(p256Half) > 0 {
		s.Sub(p256Order, s).FillBytes(signature[32:])
	}
}
