package openwifi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"gatehouse/internal/core/message"
	"gatehouse/internal/core/staff"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
)

// sendRoutes are /email, /sms (openwifi.md 1.11).
func (d *Dialect) sendRoutes() []httpkit.Route { return d.sendsFor(d.by) }

// sendsFor are those that the internal listener has too, where another service may ask.
func (d *Dialect) sendsFor(asks asker) []httpkit.Route {
	return []httpkit.Route{
		d.route(http.MethodPost, base+"/email", "sendEmail", d.asking(asks, d.email)),
		d.route(http.MethodPost, base+"/sms", "sendSMS", d.asking(asks, d.sms)),
	}
}

// noMail: a 503 as where a part is away, but with words that say so to whoever can configure one.
var noMail = answer{503, 0, 0, "Mail is not configured here.", true}

// email answers POST /email.
func (d *Dialect) email(w http.ResponseWriter, r *http.Request, by staff.By, _ query) error {
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	in := message.Mail{From: body.needed("from"), Subject: body.needed("subject"), Text: body.needed("text"), Recipients: body.neededTexts("recipients")}
	if body.mistake != nil {
		return body.mistake
	}
	err = d.Messages.Mail(r.Context(), by, in)
	if errors.Is(err, message.Off) {
		return &at{err, noMail}
	}
	if err != nil {
		return err
	}
	return writeDone(w, r)
}

// sms answers POST /sms: a code to a number, the code back, or free text. Who has it in her hands she proves herself: another service
// and a key of hers send text only.
func (d *Dialect) sms(w http.ResponseWriter, r *http.Request, by staff.By, q query) error {
	body, err := bodyOf(r)
	if err != nil {
		return err
	}
	to := body.needed("to")
	switch {
	case q.flag("validateNumber"):
		named(r, "startNumberProof")
		if body.mistake != nil {
			return body.mistake
		}
		err = d.Phones.StartProof(r.Context(), by.Caller, to)
	case q.flag("completeValidation"):
		named(r, "completeNumberProof")
		code, wrong := q.text("validationCode")
		switch {
		case body.mistake != nil:
			return body.mistake
		case wrong != nil:
			return wrong
		case code == "":
			return identity.Invalid.In("validationCode", "is required")
		}
		err = d.Phones.CompleteProof(r.Context(), by.Caller, to, strings.TrimSpace(code))
	default:
		text := body.needed("text") // from does not count: every SMS leaves under the house's sender
		if body.mistake != nil {
			return body.mistake
		}
		err = d.Messages.SMS(r.Context(), by, message.SMS{To: to, Text: text})
	}
	if err != nil {
		return atProof(err, "to")
	}
	return writeDone(w, r)
}

// neededTexts is an array of strings that must be there.
func (o *object) neededTexts(name string) []string {
	raw, given := o.fields[name]
	if !given || string(raw) == "null" {
		o.fail(identity.Invalid.In(name, "is required"))
		return nil
	}
	var texts []*string
	if json.Unmarshal(raw, &texts) != nil {
		texts = []*string{nil}
	}
	list := make([]string, 0, len(texts))
	for _, t := range texts {
		if t == nil {
			o.fail(identity.Invalid.In(name, "must be a list of strings"))
			return nil
		}
		list = append(list, *t)
	}
	return list
}
