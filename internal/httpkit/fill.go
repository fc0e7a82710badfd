package httpkit

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"gatehouse/internal/identity"
)

// Optional is a member whose absence, null and value mean three things, as in a PATCH.
type Optional[T any] struct {
	Present bool // the member was sent, perhaps as null
	Null    bool
	Value   T
}

func (o *Optional[T]) bindMember(raw []byte, field string) error {
	*o = Optional[T]{Present: true}
	if string(raw) == "null" {
		o.Null = true
		return nil
	}
	return bind(raw, reflect.ValueOf(&o.Value).Elem(), field)
}

// member is what binds itself and needs the field's name for its refusal.
type member interface {
	bindMember(raw []byte, field string) error
}

// Decode is Object into a struct's fields by their json tags, compared exactly: encoding/json would take "username" for
// "Username". Unknown members are ignored; a value of the wrong type is Invalid in its field, by the sender's name for it (a
// path below the top: a.b, list[2]). null leaves a field as it is, as if it were absent, but clears a pointer, and Optional
// tells the three apart.
//
// A field without a tag is never filled: a stranger must not reach what a struct keeps for itself.
func Decode(body []byte, into any) error {
	members, err := Object(body)
	if err != nil {
		return err
	}
	return Fill(members, into)
}

// Fill puts members into a struct's fields as Decode does.
func Fill(members map[string]json.RawMessage, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("httpkit: Fill wants a pointer to a struct, not %T", into))
	}
	return bindStruct(members, target.Elem(), "")
}

func bindStruct(members map[string]json.RawMessage, target reflect.Value, path string) error {
	for _, f := range fieldsOf(target.Type()) {
		raw := members[f.name]
		if len(raw) == 0 {
			continue
		}
		field := f.name
		if path != "" {
			field = path + "." + f.name
		}
		if err := bind(raw, target.FieldByIndex(f.index), field); err != nil {
			return err
		}
	}
	return nil
}

func bind(raw []byte, target reflect.Value, field string) error {
	own := target.Addr().Interface()
	if m, ok := own.(member); ok {
		return m.bindMember(raw, field)
	}
	null := raw[0] == 'n'
	if null && target.Kind() != reflect.Pointer {
		return nil
	}
	switch own := own.(type) {
	case *json.RawMessage:
		*own = append((*own)[:0], raw...)
		return nil
	case json.Unmarshaler:
		if own.UnmarshalJSON(raw) != nil {
			return identity.Invalid.In(clip(field), "has the wrong form")
		}
		return nil
	case encoding.TextUnmarshaler:
		if raw[0] != '"' {
			return identity.Invalid.In(clip(field), "must be a string")
		}
		if own.UnmarshalText([]byte(unquote(raw))) != nil {
			return identity.Invalid.In(clip(field), "has the wrong form")
		}
		return nil
	}
	switch target.Kind() {
	case reflect.Pointer:
		if null {
			target.SetZero()
			return nil
		}
		value := reflect.New(target.Type().Elem())
		if err := bind(raw, value.Elem(), field); err != nil {
			return err
		}
		target.Set(value)
		return nil
	case reflect.String:
		if raw[0] != '"' {
			return identity.Invalid.In(clip(field), "must be a string")
		}
		target.SetString(unquote(raw))
		return nil
	case reflect.Bool:
		if raw[0] != 't' && raw[0] != 'f' {
			return identity.Invalid.In(clip(field), "must be true or false")
		}
		target.SetBool(raw[0] == 't')
		return nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(string(raw), 10, target.Type().Bits())
		if err != nil {
			return identity.Invalid.In(clip(field), "must be an integer")
		}
		target.SetInt(n)
		return nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(string(raw), 10, target.Type().Bits())
		if err != nil {
			return identity.Invalid.In(clip(field), "must be a positive integer")
		}
		target.SetUint(n)
		return nil
	case reflect.Float32, reflect.Float64:
		n, err := strconv.ParseFloat(string(raw), target.Type().Bits())
		if err != nil || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
			return identity.Invalid.In(clip(field), "must be a number")
		}
		target.SetFloat(n)
		return nil
	case reflect.Struct:
		members, err := Object(raw)
		if err != nil {
			return identity.Invalid.In(clip(field), "must be an object")
		}
		return bindStruct(members, target, field)
	case reflect.Map:
		members, err := Object(raw)
		if err != nil {
			return identity.Invalid.In(clip(field), "must be an object")
		}
		made := reflect.MakeMapWithSize(target.Type(), len(members))
		for name, raw := range members {
			value := reflect.New(target.Type().Elem()).Elem()
			if err := bind(raw, value, field+"."+name); err != nil {
				return err
			}
			made.SetMapIndex(reflect.ValueOf(name).Convert(target.Type().Key()), value)
		}
		target.Set(made)
		return nil
	case reflect.Slice:
		if raw[0] != '[' {
			return identity.Invalid.In(clip(field), "must be an array")
		}
		var elements []json.RawMessage
		_ = json.Unmarshal(raw, &elements) // scanned already
		made := reflect.MakeSlice(target.Type(), len(elements), len(elements))
		for i, raw := range elements {
			if err := bind(raw, made.Index(i), field+"["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
		target.Set(made)
		return nil
	case reflect.Interface:
		if json.Unmarshal(raw, target.Addr().Interface()) != nil {
			return identity.Invalid.In(clip(field), "has the wrong form") // a number that float64 cannot hold
		}
		return nil
	}
	panic(fmt.Sprintf("httpkit: Decode cannot fill a %s", target.Type()))
}

type structField struct {
	name  string
	index []int
}

var structFields sync.Map // reflect.Type -> []structField

// fieldsOf lists what Decode may fill in t: the exported fields, those of embedded structs included.
func fieldsOf(t reflect.Type) []structField {
	if known, ok := structFields.Load(t); ok {
		return known.([]structField)
	}
	var fields []structField
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() || throughPointer(t, f.Index) {
			continue
		}
		fields = append(fields, structField{name, f.Index})
	}
	structFields.Store(t, fields)
	return fields
}

// throughPointer says whether the way to a field leads through an embedded pointer, which Decode does not make.
func throughPointer(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		t = t.Field(i).Type
		if t.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}
