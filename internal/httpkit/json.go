package httpkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/identity"
)

const (
	// MaxBody is how much of a body is read where a contract names no limit of its own.
	MaxBody = 64 << 10

	maxDepth  = 32
	maxDigits = 32 // of a number: no field of ours needs more, and a huge exponent costs whoever expands it
)

// ReadBody reads at most limit bytes; more is identity.TooLarge.
func ReadBody(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, identity.TooLarge.Because(fmt.Sprintf("the body is over %d bytes", limit))
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, &identity.Error{Kind: identity.Invalid, Public: "the body could not be read", Err: err}
	}
	if int64(len(body)) > limit {
		return nil, identity.TooLarge.Because(fmt.Sprintf("the body is over %d bytes", limit))
	}
	return body, nil
}

// RequireJSON refuses a body of another media type; parameters do not matter. An absent type is refused too.
func RequireJSON(r *http.Request) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return identity.MediaType.Because("the body must be application/json")
	}
	return nil
}

// Object checks that body is one JSON object that means one thing to every reader, and gives its members: UTF-8, no key twice at
// any depth, no depth or number beyond reason, nothing behind it (RFC 8259, sections 4, 8.1 and 9).
func Object(body []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, identity.Invalid.Because("the body is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	first, err := dec.Token()
	if err != nil {
		return nil, notJSON(err)
	}
	if first != json.Delim('{') {
		return nil, identity.Invalid.Because("the body is not a JSON object")
	}
	if err := walkObject(dec, 1); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, identity.Invalid.Because("there is something behind the JSON object")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, notJSON(err)
	}
	return members, nil
}

func notJSON(err error) error {
	return &identity.Error{Kind: identity.Invalid, Public: "the body is not JSON", Err: err}
}

func walkObject(dec *json.Decoder, depth int) error {
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return notJSON(err)
		}
		name, _ := key.(string)
		if seen[name] {
			return identity.Invalid.In(clip(name), "is given twice")
		}
		seen[name] = true
		if err := walkValue(dec, depth); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	if err != nil {
		return notJSON(err)
	}
	return nil
}

func walkValue(dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return notJSON(err)
	}
	switch v := tok.(type) {
	case json.Number:
		if len(v) > maxDigits || strings.ContainsAny(string(v), "eE") {
			return identity.Invalid.Because("a number is beyond reason")
		}
	case json.Delim:
		if depth >= maxDepth {
			return identity.Invalid.Because("the body is nested too deep")
		}
		if v == '{' {
			return walkObject(dec, depth+1)
		}
		for dec.More() {
			if err := walkValue(dec, depth+1); err != nil {
				return err
			}
		}
		if _, err := dec.Token(); err != nil {
			return notJSON(err)
		}
	}
	return nil
}

// Decode is Object into a struct's fields by their json tags, compared exactly: encoding/json would take "username" for
// "Username". Unknown members are ignored; a value of the wrong type is Invalid in its field.
func Decode(body []byte, into any) error {
	members, err := Object(body)
	if err != nil {
		return err
	}
	return Fill(members, into)
}

// Fill puts members into a struct's fields as Decode does.
func Fill(members map[string]json.RawMessage, into any) error {
	v := reflect.ValueOf(into).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		raw, given := members[name]
		if !given {
			continue
		}
		if field.Type.Kind() == reflect.Struct && len(raw) > 0 && raw[0] == '{' {
			var inner map[string]json.RawMessage
			if err := json.Unmarshal(raw, &inner); err != nil {
				return identity.Invalid.In(name, "is not an object")
			}
			if err := Fill(inner, v.Field(i).Addr().Interface()); err != nil {
				return err
			}
			continue
		}
		if err := json.Unmarshal(raw, v.Field(i).Addr().Interface()); err != nil {
			return identity.Invalid.In(name, "is of the wrong type")
		}
	}
	return nil
}

// Marshal is compact JSON without HTML escapes and without a line end: the bytes that contracts show.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
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
