package openwifi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/identity"
	"gatehouse/internal/picture"
)

// upload posts a file as browsers do.
func (h *house) upload(token, id, field string, file []byte) *httptest.ResponseRecorder {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if err := form.WriteField("comment", "mine"); err != nil {
		panic(err)
	}
	part, err := form.CreateFormFile(field, "me.bin")
	if err != nil {
		panic(err)
	}
	if _, err := part.Write(file); err != nil {
		panic(err)
	}
	if err := form.Close(); err != nil {
		panic(err)
	}
	return call(h.public, "POST", "/api/v1/avatar/"+id, body.String(), "Authorization", "Bearer "+token, "Content-Type", form.FormDataContentType())
}

func (h *house) avatarOf(token, id string, header ...string) *httptest.ResponseRecorder {
	return call(h.public, "GET", "/api/v1/avatar/"+id, "", append(header, "Authorization", "Bearer "+token)...)
}

func encoded(encode func(io.Writer, image.Image) error) []byte {
	var b bytes.Buffer
	if err := encode(&b, image.NewPaletted(image.Rect(0, 0, 900, 600), color.Palette{color.NRGBA{200, 40, 40, 255}})); err != nil {
		panic(err)
	}
	return b.Bytes()
}

const drawing = `<svg xmlns="http://www.w3.org/2000/svg"><rect width="8" height="8"/></svg>`

// Whatever the file calls itself, and whichever way it comes: what is served is an image, with its own type.
func TestAvatarFormats(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	token := h.signedIn(t, "ines@example.com", "Harbour-42").Access
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"png":  {encoded(png.Encode), picture.PNG},
		"jpeg": {encoded(func(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) }), picture.JPEG},
		"gif":  {encoded(func(w io.Writer, m image.Image) error { return gif.Encode(w, m, nil) }), picture.PNG},
		"svg":  {[]byte(drawing), picture.SVG},
	} {
		file := append(tt.file, " \n"...)
		for how, post := range map[string]func() *httptest.ResponseRecorder{
			"a form": func() *httptest.ResponseRecorder { return h.upload(token, ines, "picture", file) },
			"the body": func() *httptest.ResponseRecorder {
				return call(h.public, "POST", "/api/v1/avatar/"+ines, string(file), "Authorization", "Bearer "+token, "Content-Type", "text/html")
			},
			"the body, of curl": func() *httptest.ResponseRecorder {
				return call(h.public, "POST", "/api/v1/avatar/"+ines, string(file), "Authorization", "Bearer "+token, "Content-Type", "application/x-www-form-urlencoded")
			},
			"the body, of no type": func() *httptest.ResponseRecorder {
				return call(h.public, "POST", "/api/v1/avatar/"+ines, string(file), "Authorization", "Bearer "+token)
			},
		} {
			if w := post(); w.Code != http.StatusOK {
				t.Errorf("%s as %s: %d %s", name, how, w.Code, w.Body)
				continue
			}
			w := h.avatarOf(token, ines)
			if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != tt.want || w.Body.Len() == 0 {
				t.Errorf("%s as %s: %d %s", name, how, w.Code, got)
			}
			if w := call(h.public, "DELETE", "/api/v1/avatar/"+ines, "ignored", "Authorization", "Bearer "+token); w.Code != http.StatusOK || w.Body.Len() > 0 {
				t.Errorf("removing: %d %s", w.Code, w.Body)
			}
		}
	}
}

// refusedUpload is an answer with the envelope and the three fields.
func refusedUpload(w *httptest.ResponseRecorder) bool {
	var body struct {
		AvatarID         string `json:"avatarId"`
		Failed           int    `json:"errorCode"`
		ErrorText        string `json:"errorText"`
		ErrorCode        int
		ErrorDetails     string
		ErrorDescription string
	}
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	return d.Decode(&body) == nil && w.Code == http.StatusBadRequest && body.AvatarID == ines && body.Failed != 0 && body.ErrorText != "" &&
		body.ErrorCode == http.StatusBadRequest && body.ErrorDetails == "POST" && body.ErrorDescription != ""
}

// Strictly less than the limit, which is configured.
func TestAvatarSize(t *testing.T) {
	for _, limit := range []int{2_000_000, 100_000} {
		h := newHouse(t, func(d *openwifi.Dialect) { d.Manage.Pictures = picture.New(picture.Options{MaxBytes: limit}) })
		h.world(t)
		token := h.signedIn(t, "ines@example.com", "Harbour-42").Access
		sized := func(n int) []byte { return slices.Concat(encoded(png.Encode), make([]byte, n))[:n] }
		raw := func(file []byte, known bool) *httptest.ResponseRecorder {
			r := newRequest("POST", "/api/v1/avatar/"+ines, "", string(file))
			r.Header.Set("Authorization", "Bearer "+token)
			if !known {
				r.ContentLength = -1
			}
			return serve(h.public, r)
		}
		if w := h.upload(token, ines, "file", sized(limit-1)); w.Code != http.StatusOK {
			t.Errorf("a form just below %d: %d %s", limit, w.Code, w.Body)
		}
		if w := raw(sized(limit-1), false); w.Code != http.StatusOK {
			t.Errorf("a body just below %d: %d %s", limit, w.Code, w.Body)
		}
		kept := h.avatarOf(token, ines).Body.String()
		for name, w := range map[string]*httptest.ResponseRecorder{
			"a form": h.upload(token, ines, "file", sized(limit)), "a larger form": h.upload(token, ines, "file", sized(limit+100_000)),
			"a body": raw(sized(limit), true), "a body of unknown length": raw(sized(limit), false), "a larger body": raw(sized(3*limit), false),
		} {
			if said := w.Body.String(); !refusedUpload(w) || !strings.Contains(said, fmt.Sprint(limit)) {
				t.Errorf("%s of %d: %d %s", name, limit, w.Code, said)
			}
		}
		if h.avatarOf(token, ines).Body.String() != kept {
			t.Error("what was refused is stored")
		}
	}
}

// A hostile upload is a 400 with the three fields, and the picture that was there stays.
func TestHostileUploads(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	token := h.signedIn(t, "ines@example.com", "Harbour-42").Access
	if w := h.upload(token, ines, "file", []byte(drawing)); w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	before := h.avatarOf(token, ines)
	form := func(boundary, body string) *httptest.ResponseRecorder {
		return call(h.public, "POST", "/api/v1/avatar/"+ines, strings.ReplaceAll(body, "\n", "\r\n"), "Authorization", "Bearer "+token, "Content-Type", "multipart/form-data"+boundary)
	}
	const file = "--b\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\n\n" + drawing + "\n"
	for name, w := range map[string]*httptest.ResponseRecorder{
		"nothing":                         h.upload(token, ines, "file", nil),
		"html":                            h.upload(token, ines, "file", []byte("<!doctype html><script>alert(1)</script>")),
		"script in svg":                   h.upload(token, ines, "file", []byte(strings.Replace(drawing, "<rect", "<script>alert(1)</script><rect", 1))),
		"event in svg":                    h.upload(token, ines, "file", []byte(strings.Replace(drawing, "<rect", "<rect onload='alert(1)'", 1))),
		"entities in svg":                 h.upload(token, ines, "file", []byte(`<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>`+drawing)),
		"bomb":                            h.upload(token, ines, "file", []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02")),
		"cut":                             h.upload(token, ines, "file", encoded(png.Encode)[:100]),
		"no boundary":                     form("", file+"--b--\n"),
		"an empty boundary":               form(`; boundary=""`, file+"--b--\n"),
		"another boundary":                form("; boundary=c", file+"--b--\n"),
		"a form without end":              form("; boundary=b", file),
		"no part":                         form("; boundary=b", "--b--\n"),
		"no file":                         form("; boundary=b", "--b\nContent-Disposition: form-data; name=\"f\"\n\n"+drawing+"\n--b--\n"),
		"a file without a name":           form("; boundary=b", "--b\nContent-Disposition: form-data; name=\"f\"; filename=\"\"\n\n"+drawing+"\n--b--\n"),
		"two files":                       form("; boundary=b", file+file+"--b--\n"),
		"many parts":                      form("; boundary=b", strings.Repeat("--b\nContent-Disposition: form-data; name=\"f\"\n\nx\n", 1000)+file+"--b--\n"),
		"a part of many headers":          form("; boundary=b", "--b\n"+strings.Repeat("X-A: b\n", 100_000)+"\n"+drawing+"\n--b--\n"),
		"a form that says it is an image": call(h.public, "POST", "/api/v1/avatar/"+ines, file+"--b--\n", "Authorization", "Bearer "+token, "Content-Type", "image/png"),
		"two types":                       call(h.public, "POST", "/api/v1/avatar/"+ines, drawing, "Authorization", "Bearer "+token, "Content-Type", "image/svg+xml", "Content-Type", "multipart/form-data; boundary=b"),
	} {
		if said := w.Body.String(); !refusedUpload(w) {
			t.Errorf("%s: %d %s", name, w.Code, said)
		}
	}
	if after := h.avatarOf(token, ines); after.Body.String() != before.Body.String() || after.Header().Get("ETag") != before.Header().Get("ETag") {
		t.Errorf("it is another one now: %s", after.Body)
	}
}

func TestAvatarNotSentTwice(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	token := h.signedIn(t, "ines@example.com", "Harbour-42").Access
	h.upload(token, ines, "file", []byte(drawing))
	tag := h.avatarOf(token, ines).Header().Get("ETag")
	for sent, status := range map[string]int{
		tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, strings.Trim(tag, `"`): 200, "": 200,
	} {
		if w := h.avatarOf(token, ines, "If-None-Match", sent); w.Code != status || (w.Body.Len() == 0) != (status == 304) || w.Header().Get("ETag") != tag {
			t.Errorf("If-None-Match %s: %d %s", sent, w.Code, w.Body)
		}
	}
	if w := h.avatarOf(h.signedIn(t, "plain@example.com", "Quiet-Sky-11").Access, ines, "If-None-Match", tag); w.Code != http.StatusForbidden {
		t.Errorf("another's, by its tag: %d", w.Code)
	}
}

// The whole table of who may do what with whose avatar (openwifi.md 1.8, 1.10).
func TestAvatarRights(t *testing.T) {
	h := newHouse(t)
	roles := []string{"root", "partner", "admin", "csr", "system", "installer", "noc", "accounting", "subscriber"}
	id := func(i, side int) string { return fmt.Sprintf("0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b%02d%02d", side, i) }
	tokens := make([]string, len(roles))
	for i, name := range roles {
		for side := range 2 { // one who asks and another of the same role
			email := fmt.Sprintf("%s%d@example.com", name, side)
			h.person(t, id(i, side), email, "Quiet-Sky-11", func(s *identity.Subject, _ *identity.Credential) {
				s.Attributes = identity.Attributes{openwifi.Door: []byte(`{"role":"` + name + `"}`)}
				s.Superadmin = name == "root"
			})
			if side == 0 {
				tokens[i] = h.signedIn(t, email, "Quiet-Sky-11").Access
			}
		}
	}
	rights := map[string]struct {
		read   bool
		change string // the roles that she may not change; "*" all
	}{
		"root": {true, ""}, "partner": {true, "root"}, "admin": {true, "root partner"}, "csr": {true, "*"}, "system": {true, "*"},
		"installer": {false, "*"}, "noc": {false, "*"}, "accounting": {false, "*"}, "subscriber": {false, "*"},
	}
	tried := 0
	for i, caller := range roles {
		for j, target := range roles {
			for side := range 2 {
				self := i == j && side == 0
				whose := id(j, side)
				mayRead := self || rights[caller].read
				mayChange := self || rights[caller].change != "*" && !slices.Contains(strings.Fields(rights[caller].change), target)
				mayRemove := self || caller == "root"
				for _, act := range []struct {
					name string
					may  bool
					do   func() *httptest.ResponseRecorder
				}{
					{"set", mayChange, func() *httptest.ResponseRecorder { return h.upload(tokens[i], whose, "file", []byte(drawing)) }},
					{"read", mayRead, func() *httptest.ResponseRecorder {
						h.upload(tokens[0], whose, "file", []byte(drawing))
						return h.avatarOf(tokens[i], whose)
					}},
					{"remove", mayRemove, func() *httptest.ResponseRecorder {
						return call(h.public, "DELETE", "/api/v1/avatar/"+whose, "", "Authorization", "Bearer "+tokens[i])
					}},
				} {
					tried++
					w := act.do()
					if act.may && w.Code != http.StatusOK || !act.may && (w.Code != http.StatusForbidden || code(w.Body) != 7) {
						t.Errorf("%s may %s that of %s (herself %v): %v, got %d %s", caller, act.name, target, self, act.may, w.Code, w.Body)
					}
				}
			}
		}
	}
	if tried != 9*9*2*3 {
		t.Errorf("%d cells tried", tried)
	}
}

// Whatever form a file comes in: it is taken, or it is a bad request that writes nothing.
func FuzzUpload(f *testing.F) {
	h := newHouse(f)
	h.world(f)
	token := h.signedIn(f, "ines@example.com", "Harbour-42").Access
	const form = "multipart/form-data; boundary=b"
	file := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n" + drawing + "\r\n"
	f.Add("image/svg+xml", drawing)
	f.Add(form, file+"--b--\r\n")
	f.Add(form, file+file+"--b--\r\n")
	f.Add(form, strings.Repeat("--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\ny\r\n", 17)+"--b--\r\n")
	f.Add(form, "--b\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	f.Add("multipart/mixed", file)
	f.Fuzz(func(t *testing.T, mediaType, body string) {
		r := newRequest("POST", "/api/v1/avatar/"+ines, "", body)
		r.Header["Authorization"], r.Header["Content-Type"] = []string{"Bearer " + token}, []string{mediaType}
		before, feed := h.lastEvent(t), h.lastChange(t)
		w := serve(h.public, r)
		switch w.Code {
		case http.StatusOK:
		case http.StatusBadRequest:
			if h.lastEvent(t) != before || h.lastChange(t) != feed {
				t.Errorf("%q %q: refused, and written all the same", mediaType, body)
			}
		default:
			t.Errorf("%q %q: %d %s", mediaType, body, w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q %q: %s", mediaType, body, w.Body)
		}
	})
}
