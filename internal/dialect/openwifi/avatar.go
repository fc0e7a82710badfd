package openwifi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// avatarRoutes are /avatar (openwifi.md 1.10).
func (d *Dialect) avatarRoutes() []httpkit.Route {
	return []httpkit.Route{
		d.route(http.MethodPost, base+"/avatar/{id}", "setAvatar", d.setAvatar),
		d.route(http.MethodGet, base+"/avatar/{id}", "avatar", d.avatar),
		d.route(http.MethodDelete, base+"/avatar/{id}", "removeAvatar", d.removeAvatar),
	}
}

const (
	avatarFailed = 13 // errorCode of an upload that was not taken
	noAvatar     = "0"

	multipartRoom = 64 << 10 // for what stands around the file
	maxParts      = 16

	// A picture must do nothing, not even an SVG that somebody opens on our origin; package picture lets nothing through that could.
	inertPolicy = "default-src 'none'; sandbox"
)

// avatarMarker is what UserInfo shows of the avatar.
func avatarMarker(marker string) identity.Attributes {
	patch, _ := json.Marshal(map[string]string{"avatar": marker}) // strings marshal
	return identity.Attributes{Door: patch}
}

// avatarOf says who is signed in, and whose avatar the request is about.
func (d *Dialect) avatarOf(r *http.Request) (staff.By, identity.SubjectID, error) {
	by, err := d.by(r)
	if err != nil {
		return staff.By{}, "", err
	}
	id := r.PathValue("id")
	if !identity.ValidID(id) {
		return staff.By{}, "", identity.NotFound.Because("no such person")
	}
	return by, identity.SubjectID(id), nil
}

// setAvatar answers POST /avatar/{id}.
func (d *Dialect) setAvatar(w http.ResponseWriter, r *http.Request) error {
	by, id, err := d.avatarOf(r)
	if err != nil {
		return err
	}
	file, err := d.uploaded(r)
	if err == nil {
		err = d.Manage.SetPicture(r.Context(), by.Caller, id, manage.NewPicture{
			Data: file, Merge: avatarMarker(strconv.FormatInt(d.Now().Unix(), 10)), May: d.mayAvatar(by, staff.SetPicture, id),
		})
	}
	if errors.Is(err, identity.Invalid) || errors.Is(err, identity.TooLarge) {
		return d.notTaken(w, r, id, err)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, avatarTaken{AvatarID: string(id), Operation: http.MethodPost, Details: "Command completed."})
}

// avatar answers GET /avatar/{id}. A client that has it already gets 304, and nobody loads it.
func (d *Dialect) avatar(w http.ResponseWriter, r *http.Request) error {
	by, id, err := d.avatarOf(r)
	if err != nil {
		return err
	}
	var held func(string) bool
	if r.Header.Get("If-None-Match") != "" {
		held = func(tag string) bool { return httpkit.Holds(r, quoted(tag)) }
	}
	p, err := d.Profiles.Picture(r.Context(), id, d.mayAvatar(by, staff.Read, id), held)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Security-Policy", inertPolicy)
	h.Set("Content-Disposition", "attachment")
	h.Set("Access-Control-Expose-Headers", "Content-Disposition")
	h.Set("X-Content-Type-Options", "nosniff")
	httpkit.Document{Body: p.Bytes, ETag: quoted(p.Tag), ContentType: p.MediaType, CacheControl: "private"}.ServeHTTP(w, r)
	return nil
}

// quoted is a tag as headers have it.
func quoted(tag string) string { return `"` + tag + `"` }

// removeAvatar answers DELETE /avatar/{id}: 200 and nothing.
func (d *Dialect) removeAvatar(w http.ResponseWriter, r *http.Request) error {
	by, id, err := d.avatarOf(r)
	if err != nil {
		return err
	}
	if err := d.Manage.RemovePicture(r.Context(), by.Caller, id, d.mayAvatar(by, staff.RemovePicture, id), avatarMarker(noAvatar)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// uploaded reads the file: the one file part of a multipart body, or the body (openwifi.md 1.10).
func (d *Dialect) uploaded(r *http.Request) ([]byte, error) {
	most := int64(d.Manage.Pictures.MaxBytes())
	types := r.Header["Content-Type"]
	if len(types) > 1 {
		return nil, identity.Invalid.Because("there are two content types")
	}
	media, parameters := "", map[string]string(nil)
	if len(types) == 1 {
		media, parameters, _ = mime.ParseMediaType(types[0]) // whatever cannot be read is a type that does not matter
	}
	isForm := strings.HasPrefix(media, "multipart/")
	if isForm {
		most += multipartRoom
	}
	body, err := httpkit.ReadBody(r, most)
	if errors.Is(err, identity.TooLarge) {
		return nil, d.Manage.Pictures.TooLarge()
	}
	switch {
	case err != nil:
		return nil, err
	case len(body) == 0, isForm && parameters["boundary"] == "":
		return nil, noFile
	case isForm:
		return filePart(body, parameters["boundary"])
	}
	return body, nil
}

var noFile = identity.Invalid.Because("there is no file in the request")

// filePart finds the one file in a form; fields beside it do not matter.
func filePart(body []byte, boundary string) ([]byte, error) {
	form := multipart.NewReader(bytes.NewReader(body), boundary)
	var file []byte
	found := false
	for range maxParts {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			if !found {
				return nil, noFile
			}
			return file, nil
		}
		if err != nil {
			return nil, noFile
		}
		if part.FileName() == "" {
			continue // the reader skips its rest
		}
		if found {
			return nil, identity.Invalid.Because("there is more than one file in the request")
		}
		found = true
		if file, err = io.ReadAll(part); err != nil {
			return nil, noFile
		}
	}
	return nil, identity.Invalid.Because("there are too many parts in the request")
}

// avatarTaken is the answer to an upload: the vendor's own and its definition's at once.
type avatarTaken struct {
	AvatarID  string `json:"avatarId"`
	ErrorCode int    `json:"errorCode"`
	Code      int
	Operation string
	Details   string
}

// avatarRefused is the envelope with the vendor's three fields.
type avatarRefused struct {
	AvatarID  string `json:"avatarId"`
	Failed    int    `json:"errorCode"`
	ErrorText string `json:"errorText"`
	errorBody
}

// notTaken answers what is wrong with an upload: 400 with the three fields.
func (d *Dialect) notTaken(w http.ResponseWriter, r *http.Request, id identity.SubjectID, err error) error {
	status, envelope := refusal(w.Header(), r.Method, d.noted(r, numbered{err, badParameters}))
	return writeJSON(w, status, avatarRefused{AvatarID: string(id), Failed: avatarFailed, ErrorText: envelope.ErrorDescription, errorBody: envelope})
}

// mayAvatar asks the table of openwifi.md 1.8.
func (d *Dialect) mayAvatar(by staff.By, act staff.Act, id identity.SubjectID) profile.May {
	return func(ctx context.Context, r identity.Reader) error {
		return d.Staff.Check(ctx, r, by, d.people(), act, id)
	}
}
