package httpkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

const (
	// MaxBody is how much of a body is read where a contract names no limit of its own.
	MaxBody = 64 << 10

	maxDepth  = 32
	maxDigits = 32 // of a number: no field of ours needs more, and a huge exponent costs whoever expands it
)

// ReadBody reads at most limit bytes; more is identity.TooLarge. A body that the operation's deadline cuts off is
// identity.Unavailable, one that breaks off by itself identity.Invalid.
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, identity.TooLarge.Because(fmt.Sprintf("the body is over %d bytes", limit))
	}
	if r.Body == nil {
		return nil, nil
	}
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(r.ContentLength) + bytes.MinRead) // read in one piece
	}
	if _, err := body.ReadFrom(io.LimitReader(r.Body, limit+1)); err != nil {
		if _, limited := r.Context().Deadline(); limited && errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, identity.Unavailable.Wrap(err)
		}
		return nil, &identity.Error{Kind: identity.Invalid, Public: "the body could not be read", Err: err}
	}
	if int64(body.Len()) > limit {
		return nil, identity.TooLarge.Because(fmt.Sprintf("the body is over %d bytes", limit))
	}
	return body.Bytes(), nil
}

// RequireJSON refuses a body of another media type; parameters do not matter. An absent type is refused too, and a repeated
// one: which of them counts would be anybody's guess.
func RequireJSON(r *http.Request) error {
	if mediaType(r.Header) != "application/json" {
		return identity.MediaType.Because("the body must be application/json")
	}
	return nil
}

// mediaType gives the one Content-Type in lower case; "" where it is absent, repeated or damaged.
func mediaType(h http.Header) string {
	values := h["Content-Type"]
	if len(values) != 1 {
		return ""
	}
	media, _, err := mime.ParseMediaType(values[0])
	if err != nil {
		return ""
	}
	return media
}

// Object checks that body is one JSON object that means one thing to every reader, and gives its members: UTF-8, no name twice
// at any depth, no depth or number beyond reason, nothing behind it (RFC 8259, sections 4, 8.1 and 9). Lone surrogates are
// refused, because readers turn different ones into the same character (RFC 7493, section 2.1), and so is NUL, which no
// database text can hold: it would be refused there, as a failure of ours.
//
// The scanner is our own because encoding/json merges equal names and repairs broken text without a word.
func Object(body []byte) (map[string]json.RawMessage, error) {
	s := scanner{text: body}
	s.space()
	members := map[string]json.RawMessage{}
	var err error
	switch s.peek() {
	case '{':
		err = s.object(1, members)
	case '[', '"', 't', 'f', 'n', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		err = identity.Invalid.Because("the body is not a JSON object")
	default:
		err = errNotJSON
	}
	if err != nil {
		return nil, err
	}
	s.space()
	if s.at != len(s.text) {
		return nil, identity.Invalid.Because("there is something behind the JSON object")
	}
	return members, nil
}

var (
	errNotJSON = identity.Invalid.Because("the body is not JSON")
	errNotText = identity.Invalid.Because("the body is not UTF-8")
	errTooDeep = identity.Invalid.Because("the body is nested too deep")
)

// Marshal is compact JSON without HTML escapes and without a line end: the bytes that contracts show.
func Marshal(v any) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, 1024)) // most answers fit: a buffer that grows from nothing costs five allocations
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// scanner walks over one JSON text and judges it. It decodes nothing but names.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// take steps over c, if it is next.
func (s *scanner) take(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// object scans from its brace on, and keeps the members where keep is not nil.
func (s *scanner) object(depth int, keep map[string]json.RawMessage) error {
	if depth > maxDepth {
		return errTooDeep
	}
	s.at++ // '{'
	s.space()
	if s.take('}') {
		return nil
	}
	seen := names{}
	for {
		if s.peek() != '"' {
			return errNotJSON
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		if !seen.add(name) {
			return identity.Invalid.In(clip(name), "is given twice")
		}
		s.space()
		if !s.take(':') {
			return errNotJSON
		}
		s.space()
		start := s.at
		if err := s.value(depth); err != nil {
			return err
		}
		if keep != nil {
			keep[name] = json.RawMessage(s.text[start:s.at:s.at])
		}
		s.space()
		if s.take('}') {
			return nil
		}
		if !s.take(',') {
			return errNotJSON
		}
		s.space()
	}
}

func (s *scanner) array(depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	s.at++ // '['
	s.space()
	if s.take(']') {
		return nil
	}
	for {
		if err := s.value(depth); err != nil {
			return err
		}
		s.space()
		if s.take(']') {
			return nil
		}
		if !s.take(',') {
			return errNotJSON
		}
		s.space()
	}
}

// value scans one value that stands inside depth objects and arrays.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth+1, nil)
	case c == '[':
		return s.array(depth + 1)
	case c == '"':
		return s.str()
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return errNotJSON
}

func (s *scanner) word(w string) error {
	if len(s.text)-s.at < len(w) || string(s.text[s.at:s.at+len(w)]) != w {
		return errNotJSON
	}
	s.at += len(w)
	return nil
}

func (s *scanner) number() error {
	start := s.at
	s.take('-')
	if !s.take('0') && s.digits() == 0 {
		return errNotJSON
	}
	if s.take('.') && s.digits() == 0 {
		return errNotJSON
	}
	if c := s.peek(); c == 'e' || c == 'E' || s.at-start > maxDigits {
		return identity.Invalid.Because("a number is beyond reason")
	}
	return nil
}

func (s *scanner) digits() (n int) {
	for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
		s.at++
		n++
	}
	return n
}

// str scans a string from its quote on.
func (s *scanner) str() error {
	s.at++ // '"'
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case c < 0x20:
			return errNotJSON
		case c < utf8.RuneSelf:
			s.at++
		default:
			r, size := utf8.DecodeRune(s.text[s.at:])
			if r == utf8.RuneError && size == 1 {
				return errNotText
			}
			s.at += size
		}
	}
	return errNotJSON
}

func (s *scanner) escape() error {
	s.at++ // '\'
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.at++
		return nil
	case 'u':
		r, ok := s.hex()
		switch {
		case !ok:
			return errNotJSON
		case r == 0:
			return identity.Invalid.Because("the body has a NUL character")
		case !utf16.IsSurrogate(r):
			return nil
		}
		if s.take('\\') && s.peek() == 'u' {
			if low, ok := s.hex(); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
				return nil
			}
		}
		return errNotText
	}
	return errNotJSON
}

// hex scans u and four digits.
func (s *scanner) hex() (rune, bool) {
	if len(s.text)-s.at < 5 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s.text[s.at+1:s.at+5]), 16, 16)
	if err != nil {
		return 0, false
	}
	s.at += 5
	return rune(n), true
}

func (s *scanner) name() (string, error) {
	start := s.at
	if err := s.str(); err != nil {
		return "", err
	}
	return unquote(s.text[start:s.at]), nil
}

// unquote decodes a string that the scanner has accepted.
func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	for _, c := range inner {
		if c == '\\' {
			var text string
			_ = json.Unmarshal(quoted, &text) // cannot fail on what the scanner accepts
			return text
		}
	}
	return string(inner)
}

// names is a set that stays a short list for the few members that objects have, and becomes a map for those that a
// stranger builds to make a list slow.
type names struct {
	few  []string
	many map[string]struct{}
}

func (n *names) add(name string) bool {
	if n.many != nil {
		if _, ok := n.many[name]; ok {
			return false
		}
		n.many[name] = struct{}{}
		return true
	}
	for _, have := range n.few {
		if have == name {
			return false
		}
	}
	n.few = append(n.few, name)
	if len(n.few) > 16 {
		n.many = make(map[string]struct{}, 2*len(n.few))
		for _, have := range n.few {
			n.many[have] = struct{}{}
		}
	}
	return true
}
