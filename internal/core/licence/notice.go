package licence

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
)

// What people and services are told of a licence; the names are those of mail templates and of the audit log.
const (
	endsSoon = "licence-ends-soon"
	expired  = "licence-expired"
)

// eventNames are what a webhook and the audit log call them.
var eventNames = map[string]string{endsSoon: "licence.ends_soon", expired: "licence.expired"}

const (
	noticeStep  = 100  // licences in one look
	maxTold     = 20   // people who are told of one licence
	maxAsked    = 5000 // members among whom they are looked for
	membersPage = 500
)

// noticeAt says when a licence is told of next, if nothing was told of this end of it yet.
func (s *Service) noticeAt(l identity.Licence, now time.Time) time.Time {
	switch {
	case l.ExpiresAt.IsZero() || !l.RevokedAt.IsZero():
		return time.Time{}
	case s.Terms.EndsSoon == 0:
		return l.ExpiresAt
	}
	if soon := l.ExpiresAt.Add(-s.Terms.EndsSoon); soon.After(now) {
		return soon
	}
	if now.Before(l.ExpiresAt) {
		return now // it ends sooner than people like to know
	}
	return l.ExpiresAt
}

// movedNotice is noticeAt for a licence whose end has moved. What was over before and still is, is no news.
func (s *Service) movedNotice(l, old identity.Licence, now time.Time) time.Time {
	over := func(l identity.Licence) bool { return !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt) }
	if over(l) && over(old) {
		return time.Time{}
	}
	return s.noticeAt(l, now)
}

// Tell tells people and services of licences that end soon or have ended: each once, in the transaction that notes it, so that neither
// a killed node nor a second one makes it none or two. One node calls it, from time to time.
func (s *Service) Tell(ctx context.Context) error {
	for {
		var due []Shown
		err := s.Store.View(ctx, func(r identity.Reader) error {
			list, err := r.DueLicences(ctx, s.Now(), noticeStep)
			if err != nil {
				return err
			}
			due, err = complete(ctx, r, list)
			return err
		})
		if err != nil || len(due) == 0 {
			return err
		}
		moved := false
		for _, l := range due {
			told, err := s.tell(ctx, l)
			if err != nil {
				return fmt.Errorf("tell of licence %s: %w", l.ID, err)
			}
			moved = moved || told
		}
		if !moved { // another node is at it
			return nil
		}
	}
}

func (s *Service) tell(ctx context.Context, l Shown) (told bool, err error) {
	now := s.Now()
	what, next := endsSoon, l.ExpiresAt
	if !now.Before(l.ExpiresAt) {
		what, next = expired, time.Time{}
	}
	people, err := s.people(ctx, l)
	if err != nil {
		return false, err
	}
	err = s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		if told, err = tx.MoveNotice(ctx, l.ID, l.NoticeAt, next); err != nil || !told {
			return err
		}
		for _, p := range people {
			if err := s.Outbox.Mail(ctx, tx, p.Email, what, p.Locale, words(l, p, now)); err != nil {
				return err
			}
		}
		caller := identity.Caller{Door: "house"}
		if err := s.call(ctx, tx, what, l, now); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, caller, audit.Entry{Action: eventNames[what], OrganisationID: l.OrganisationID, After: map[string]any{
			"id": l.ID, "key": l.Key, "expires_at": l.ExpiresAt, "told": len(people),
		}})
	})
	return told && err == nil, err
}

// people are who is mailed: those of the organisation whom Told names, and who signed. A suspended person, and one whose address is
// not confirmed, is not: it may be somebody else's.
func (s *Service) people(ctx context.Context, l Shown) ([]identity.Subject, error) {
	var told []identity.Subject
	err := s.Store.View(ctx, func(r identity.Reader) error {
		told = nil
		var ids []identity.SubjectID
		if l.SignedBy != "" {
			ids = append(ids, l.SignedBy)
		}
		var after identity.SubjectID
		for asked := 0; asked < maxAsked && s.Told != nil; asked += membersPage {
			page, err := r.Members(ctx, l.OrganisationID, after, membersPage)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			for _, m := range page {
				if after = m.SubjectID; s.Told(m) && !slices.Contains(ids, m.SubjectID) {
					ids = append(ids, m.SubjectID)
				}
			}
		}
		people, err := r.SubjectsByID(ctx, ids)
		for _, p := range people {
			if p.Active() && !p.VerifiedAt.IsZero() && p.Email != "" && len(told) < maxTold {
				told = append(told, p)
			}
		}
		return err
	})
	return told, err
}

// words are what a mail is made of.
func words(l Shown, p identity.Subject, now time.Time) map[string]string {
	days := int(l.ExpiresAt.Sub(now).Hours()+23) / 24
	return map[string]string{
		"name": p.Name, "organisation": audit.Line(l.Organisation.Name, 200), "agreement": audit.Line(l.Agreement.Name, 200), "licence": l.Key,
		"date": l.ExpiresAt.UTC().Format(time.DateOnly), "grace": l.ExpiresAt.Add(l.Grace).UTC().Format(time.DateOnly), "days": strconv.Itoa(max(days, 0)),
	}
}

// notice is what a webhook is sent.
type notice struct {
	Event   string        `json:"event"`
	At      time.Time     `json:"at"`
	Licence noticeLicence `json:"licence"`
}

type noticeLicence struct {
	ID           string       `json:"id"`
	Key          string       `json:"key"`
	Organisation noticeParty  `json:"organisation"`
	Provider     *noticeParty `json:"provider,omitempty"`
	Agreement    noticeParty  `json:"agreement"`
	StartsAt     time.Time    `json:"starts_at"`
	ExpiresAt    time.Time    `json:"expires_at"`
	GraceEndsAt  time.Time    `json:"grace_ends_at"`
}

type noticeParty struct {
	ID   string `json:"id"`
	Key  string `json:"key"`
	Name string `json:"name"`
}

// Headers of a webhook's calls. The signature is the HMAC-SHA256 of the body under the shared key, in hexadecimal digits.
const (
	eventHeader     = "X-Gatehouse-Event"
	signatureHeader = "X-Gatehouse-Signature"
)

func (s *Service) call(ctx context.Context, tx identity.Tx, what string, l Shown, now time.Time) error {
	if s.Terms.Webhook == "" {
		return nil
	}
	n := notice{Event: eventNames[what], At: now.UTC(), Licence: noticeLicence{
		ID: string(l.ID), Key: l.Key, Organisation: noticeParty{string(l.Organisation.ID), l.Organisation.Key, l.Organisation.Name},
		Agreement: noticeParty{string(l.Agreement.ID), l.Agreement.Key, l.Agreement.Name},
		StartsAt:  l.StartsAt, ExpiresAt: l.ExpiresAt, GraceEndsAt: l.ExpiresAt.Add(l.Grace),
	}}
	if l.Provider.ID != "" {
		n.Licence.Provider = &noticeParty{string(l.Provider.ID), l.Provider.Key, l.Provider.Name}
	}
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	header := map[string]string{eventHeader: n.Event}
	if s.Terms.WebhookKey != "" {
		mac := hmac.New(sha256.New, []byte(s.Terms.WebhookKey.Reveal()))
		mac.Write(body)
		header[signatureHeader] = "sha256=" + hex.EncodeToString(mac.Sum(nil))
	}
	if err := s.Outbox.Call(ctx, tx, "POST", s.Terms.Webhook, header, string(body)); err != nil {
		return errors.Join(errors.New("call the webhook"), err)
	}
	return nil
}
