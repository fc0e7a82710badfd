package manage

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
)

// NewPicture is a picture of somebody as it was uploaded.
type NewPicture struct {
	Data  []byte              // a stranger's; see package picture for what becomes of it
	Merge identity.Attributes // what doors remember of it; patches their JSON (RFC 7396)
	May   profile.May
}

// SetPicture gives somebody a picture, or another one. Nothing but a picture is stored, whatever else the file was.
func (s *Service) SetPicture(ctx context.Context, caller identity.Caller, id identity.SubjectID, in NewPicture) error {
	// Asked before the work, or strangers could give us any amount of it, and again in the transaction.
	if err := s.Store.View(ctx, func(r identity.Reader) error { return in.May(ctx, r) }); err != nil {
		return err
	}
	clean, err := s.Pictures.Clean(ctx, in.Data)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(clean.Bytes)
	p := identity.Picture{
		SubjectID: id, MediaType: clean.MediaType, Tag: base64.RawURLEncoding.EncodeToString(sum[:12]), Bytes: clean.Bytes, UpdatedAt: s.Now(),
	}
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if err := s.rememberPicture(ctx, tx, caller, id, in.May, in.Merge, audit.Entry{
			Action: "subject.picture.set", SubjectID: id, After: map[string]any{"media_type": p.MediaType, "bytes": len(p.Bytes), "tag": p.Tag},
		}); err != nil {
			return err
		}
		return tx.SavePicture(ctx, p)
	})
}

// RemovePicture takes somebody's picture away. One that is not there is identity.NotFound.
func (s *Service) RemovePicture(ctx context.Context, caller identity.Caller, id identity.SubjectID, may profile.May, merge identity.Attributes) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if err := s.rememberPicture(ctx, tx, caller, id, may, merge, audit.Entry{Action: "subject.picture.remove", SubjectID: id}); err != nil {
			return err
		}
		err := tx.DeletePicture(ctx, id)
		if errors.Is(err, identity.NotFound) {
			return identity.NotFound.Because("there is no picture of this person")
		}
		return err
	})
}

// rememberPicture asks whether it may be done, and notes the change at its subject, with its audit row.
func (s *Service) rememberPicture(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SubjectID, may profile.May, merge identity.Attributes, e audit.Entry) error {
	if err := may(ctx, tx); err != nil {
		return err
	}
	subject, err := tx.Subject(ctx, id)
	if err != nil {
		return err
	}
	if subject.Attributes, err = merged(subject.Attributes, nil, merge); err != nil {
		return err
	}
	return s.saveSubject(ctx, tx, caller, subject, e)
}
