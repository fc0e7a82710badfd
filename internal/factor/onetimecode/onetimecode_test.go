package onetimecode_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"testing"
	"time"

	"gatehouse/internal/factor/onetimecode"
)

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		random []byte
		want   string
	}{
		{[]byte{0, 0, 0}, "000000"}, {[]byte{0, 0xA3, 0x95}, "041877"}, {[]byte{0x0F, 0x42, 0x3F}, "999999"},
		{[]byte{0xF0, 0, 1}, "000001"},                // more bits than a code has are left out
		{[]byte{0x0F, 0x42, 0x40, 0, 0, 7}, "000007"}, // what is no code is thrown again
	} {
		if got, err := onetimecode.New(bytes.NewReader(tt.random)); err != nil || got != tt.want {
			t.Errorf("New(%x) = %q, %v, want %q", tt.random, got, err, tt.want)
		}
	}
	if _, err := onetimecode.New(bytes.NewReader([]byte{1})); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("without randomness: %v", err)
	}
}

// Every digit is as likely at every place: each of sixty counts is within six standard deviations of a tenth.
func TestCodesAreEven(t *testing.T) {
	const n = 60_000
	var counts [6][10]int
	for range n {
		code, err := onetimecode.New(rand.Reader)
		if err != nil || len(code) != 6 {
			t.Fatal(code, err)
		}
		for i := range code {
			counts[i][code[i]-'0']++
		}
	}
	for i, place := range counts {
		for digit, count := range place {
			if count < n/10-441 || count > n/10+441 {
				t.Errorf("digit %d is %d times of %d at place %d", digit, count, n, i)
			}
		}
	}
}

func TestSame(t *testing.T) {
	for typed, want := range map[string]bool{"041877": true, "41877": false, "041878": false, "": false, "041877 ": false, "０41877": false} {
		if onetimecode.Same("041877", typed) != want {
			t.Errorf("%q", typed)
		}
	}
}

func TestData(t *testing.T) {
	now := time.Unix(0, 0)
	for left, want := range map[time.Duration]string{5 * time.Minute: "5", 4*time.Minute + time.Second: "5", time.Second: "1", 0: "1"} {
		if got := onetimecode.Data("1", "Ada", now, now.Add(left)); got["minutes"] != want || got["code"] != "1" || got["name"] != "Ada" {
			t.Errorf("%v: %v", left, got)
		}
	}
}
