package licence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

const maxDepth = 8

// object gives the members of one JSON object by their exact names. encoding/json alone matches names without case, takes the last of
// two equal ones and mends broken UTF-8: two readers could then read one signed text differently.
func object(data []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	if err := walk(d, '{', 1); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, errors.New("not JSON")
	}
	return members, nil
}

// walk reads to the end of an object or array that was opened, and refuses a name given twice at any depth.
func walk(d *json.Decoder, opened json.Delim, depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deep")
	}
	var names map[string]bool
	if opened == '{' {
		names = map[string]bool{}
	}
	name := opened == '{'
	for {
		t, err := d.Token()
		if err != nil {
			return errors.New("not JSON")
		}
		delim, isDelim := t.(json.Delim)
		switch {
		case isDelim && (delim == '}' || delim == ']'):
			return nil
		case name:
			text, _ := t.(string)
			if names[text] {
				return fmt.Errorf("%q stands twice", text)
			}
			names[text] = true
			name = false
			continue
		case isDelim:
			if err := walk(d, delim, depth+1); err != nil {
				return err
			}
		}
		name = opened == '{'
	}
}

// fields reads members and keeps the first error.
type fields struct {
	members map[string]json.RawMessage
	err     error
}

// read decodes a member; an absent one leaves into as it is. null is no value of anything here.
func (f *fields) read(name string, into any) {
	raw, ok := f.members[name]
	if !ok || f.err != nil {
		return
	}
	if string(raw) == "null" || json.Unmarshal(raw, into) != nil {
		f.err = fmt.Errorf("%s is of the wrong type", name)
	}
}

// inside gives the members of an object in the object.
func (f *fields) inside(name string) *fields {
	raw, ok := f.members[name]
	if !ok || f.err != nil {
		return &fields{}
	}
	var members map[string]json.RawMessage
	if string(raw) == "null" || json.Unmarshal(raw, &members) != nil {
		f.err = fmt.Errorf("%s is of the wrong type", name)
	}
	return &fields{members: members}
}
