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
	members := map[string]json.RawMessage{}
	for {
		name, err := d.Token()
		if err != nil {
			return nil, errors.New("not JSON")
		}
		if name == json.Delim('}') {
			break
		}
		start := d.InputOffset()
		if err := value(d, 1); err != nil {
			return nil, err
		}
		if _, twice := members[name.(string)]; twice {
			return nil, fmt.Errorf("%.40q stands twice", name)
		}
		members[name.(string)] = bytes.TrimLeft(data[start:d.InputOffset()], ": \t\r\n")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return members, nil
}

// value reads one value to its end, and refuses a name given twice at any depth of it.
func value(d *json.Decoder, depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deep")
	}
	t, err := d.Token()
	if err != nil {
		return errors.New("not JSON")
	}
	switch t {
	case json.Delim('{'):
		names := map[string]bool{}
		for {
			name, err := d.Token()
			if err != nil {
				return errors.New("not JSON")
			}
			if name == json.Delim('}') {
				return nil
			}
			if names[name.(string)] {
				return fmt.Errorf("%.40q stands twice", name)
			}
			names[name.(string)] = true
			if err := value(d, depth+1); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for d.More() {
			if err := value(d, depth+1); err != nil {
				return err
			}
		}
		if _, err := d.Token(); err != nil {
			return errors.New("not JSON")
		}
	}
	return nil
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
