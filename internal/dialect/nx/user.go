package nx

import (
	"encoding/json"
	"net/http"

	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
)

// readUser answers GET /user/{uuid}.
func (d *Dialect) readUser(w http.ResponseWriter, r *http.Request, c call) error {
	id, err := subjectID(r)
	if err != nil {
		return err
	}
	p, err := d.Profiles.ToRead(r.Context(), c.live.Subject.ID, id)
	if err != nil {
		return err
	}
	return d.writeUser(w, r, c, p)
}

// changeUser answers PATCH /user/{uuid}.
func (d *Dialect) changeUser(w http.ResponseWriter, r *http.Request, c call) error {
	id, err := subjectID(r)
	if err != nil {
		return err
	}
	in, err := d.read(r)
	if err != nil {
		return err
	}
	var change manage.Change
	if in.has("Name") {
		name := in.name("Name")
		change.Name = &name
	}
	patch := map[string]any{}
	if in.has("Newsletter") {
		patch["newsletter"] = in.flag("Newsletter")
	}
	if in.has("PhoneNumber") {
		patch["phone"] = nil // RFC 7396: null removes
		if number := in.phone("PhoneNumber"); number != "" {
			patch["phone"] = number
		}
	}
	if in.mistake != nil {
		return in.mistake
	}
	if len(patch) > 0 {
		text, err := json.Marshal(patch)
		if err != nil {
			return err
		}
		change.Merge = identity.Attributes{Door: text}
	}
	if _, err := d.Profiles.ToChange(r.Context(), c.live.Subject.ID, id); err != nil {
		return err
	}
	if _, err := d.Manage.Update(r.Context(), c.Caller, id, change); err != nil {
		return err
	}
	p, err := d.Profiles.ToRead(r.Context(), c.live.Subject.ID, id)
	if err != nil {
		return err
	}
	return d.writeUser(w, r, c, p)
}

func (d *Dialect) writeUser(w http.ResponseWriter, r *http.Request, c call, p profile.Profile) error {
	nxID, err := d.Cloud.AccountID(r.Context(), p.Subject.ID)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, asUser(p, nxID, c.organisation))
}

// subjectID reads the path. What is no id is nobody's.
func subjectID(r *http.Request) (identity.SubjectID, error) {
	text := r.PathValue("uuid")
	if !identity.ValidID(text) {
		return "", identity.NotFound.Because("no such person")
	}
	return identity.SubjectID(text), nil
}
