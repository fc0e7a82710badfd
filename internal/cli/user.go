package cli

import (
	"fmt"
	"strings"

	"gatehouse/internal/app"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
)

type userCmd struct {
	Add          userAddCmd          `cmd:"" help:"Make somebody, with a password from standard input or without."`
	List         userListCmd         `cmd:"" help:"List everybody."`
	Show         userShowCmd         `cmd:"" help:"Show one with logins, factors and memberships."`
	Suspend      userSuspendCmd      `cmd:"" help:"Stop her from signing in, and end her sessions."`
	Resume       userResumeCmd       `cmd:"" help:"Let her sign in again."`
	Delete       userDeleteCmd       `cmd:"" help:"Remove her and all that is hers."`
	SetPassword  userSetPasswordCmd  `cmd:"" help:"Set a password from standard input; her sessions end."`
	Sessions     userSessionsCmd     `cmd:"" help:"List her sessions."`
	SignOut      userSignOutCmd      `cmd:"" help:"End all her sessions."`
	Verify       userVerifyCmd       `cmd:"" help:"Mail her a link to confirm her address; until she follows it she cannot sign in."`
	ResetFactors userResetFactorsCmd `cmd:"" help:"Remove her second factors; her sessions end."`
	Identities   userIdentitiesCmd   `cmd:"" help:"List her identities at other houses."`
	Unlink       userUnlinkCmd       `cmd:"" help:"Take one of them away; her sessions end. Her only way in stays."`
}

// who names a subject by any login, or by id.
type who struct {
	Login string `arg:"" help:"Any of her logins, or her id."`
}

func (w who) find(e *environment, h *app.House) (profile.Profile, error) {
	p, err := h.Profiles.Find(e.ctx, w.Login)
	if identity.KindOf(err) == identity.NotFound {
		return p, identity.NotFound.Because(fmt.Sprintf("nobody has the login %q; `gatehouse user list` shows everybody", w.Login))
	}
	return p, err
}

// userVerb is what all verbs about one subject take.
type userVerb struct {
	who
	jsonFlag
}

// do runs a verb about the subject, and prints her as she is then, or the verb's words.
func (v userVerb) do(e *environment, verb func(h *app.House, p profile.Profile) (said string, err error)) error {
	return e.with(func(h *app.House) error {
		p, err := v.find(e, h)
		if err != nil {
			return err
		}
		said, err := verb(h, p)
		if err != nil {
			return err
		}
		if !v.JSON {
			return say(e, said)
		}
		after, err := h.Profiles.Of(e.ctx, p.Subject.ID)
		if identity.KindOf(err) == identity.NotFound { // deleted: she is shown for the last time
			after, err = p, nil
		}
		if err != nil {
			return err
		}
		return object(e.Out, userObject(after))
	})
}

func say(e *environment, text string) error {
	_, err := fmt.Fprintln(e.Out, tame(text))
	return err
}

// called is how people recognise her.
func called(s identity.Subject) string {
	if s.Email != "" {
		return s.Email
	}
	return string(s.ID)
}

type userAddCmd struct {
	Email         string `arg:"" help:"Her address, which is her login."`
	Name          string `help:"As displayed; the address if not given."`
	Superadmin    bool   `help:"She may do everything."`
	PasswordStdin bool   `help:"Read her password from standard input. Without it she has none, and uses a reset link."`
	jsonFlag
}

func (c *userAddCmd) Run(e *environment) error {
	in := manage.NewSubject{Email: c.Email, Name: c.Name, Superadmin: c.Superadmin, Verified: true}
	if c.PasswordStdin {
		password, err := e.secret("password")
		if err != nil {
			return err
		}
		in.Password = password
	}
	return e.making(func(h *app.House) error {
		s, err := h.Manage.Create(e.ctx, e.caller(), in)
		if identity.KindOf(err) == identity.Conflict {
			return identity.Conflict.Because(fmt.Sprintf("somebody has the login %q already; `gatehouse user show %[1]s` says who", c.Email))
		}
		if err != nil {
			return err
		}
		if c.JSON {
			p, err := h.Profiles.Of(e.ctx, s.ID)
			if err != nil {
				return err
			}
			return object(e.Out, userObject(p))
		}
		return say(e, fmt.Sprintf("%s is made (%s)", s.Email, s.ID))
	})
}

type userListCmd struct {
	Prefix string `help:"Only those with a login that begins so." placeholder:"TEXT"`
	Org    string `help:"Only members of the organisation with this key." placeholder:"KEY"`
	listFlags
}

func (c *userListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		f := identity.SubjectFilter{Prefix: strings.ToLower(c.Prefix)}
		if c.Org != "" {
			o, err := findOrg(e, h, c.Org)
			if err != nil {
				return err
			}
			f.OrganisationID = o.ID
		}
		t := newTable(e.Out, c.JSON, "LOGIN", "NAME", "SUPERADMIN", "SUSPENDED", "LAST SIGN-IN", "ID")
		return t.end(each(func(limit int) ([]identity.Subject, error) {
			f.Limit = limit
			return h.Profiles.Subjects(e.ctx, f)
		}, func(s identity.Subject) {
			f.After = s.ID
			t.row(subjectObject(s), s.Email, s.Name, yes(s.Superadmin), yes(!s.SuspendedAt.IsZero()), when(s.LastSignInAt), string(s.ID))
		}))
	})
}

type userShowCmd struct{ userVerb }

func (c *userShowCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		p, err := c.find(e, h)
		if err != nil {
			return err
		}
		if c.JSON {
			return object(e.Out, userObject(p))
		}
		s := p.Subject
		t := newTable(e.Out, false, called(s), s.Name)
		t.row(nil, "id", string(s.ID))
		for _, l := range p.Logins {
			t.row(nil, "login", l.Typed+" ("+string(l.Kind)+")")
		}
		t.row(nil, "superadmin", yes(s.Superadmin))
		t.row(nil, "suspended", when(s.SuspendedAt))
		t.row(nil, "address confirmed", when(s.VerifiedAt))
		t.row(nil, "last sign-in", when(s.LastSignInAt))
		t.row(nil, "password set", when(p.PasswordSetAt))
		t.row(nil, "must change it", yes(p.MustChange))
		for _, f := range p.Factors {
			t.row(nil, "second factor", string(f))
		}
		for _, a := range p.Organisations {
			for _, m := range a.Memberships {
				t.row(nil, "member", strings.TrimSpace(strings.Trim(a.Organisation.Key+"/"+m.Site.Key, "/")+" "+m.Membership.Role))
			}
		}
		return t.end(nil)
	})
}

type userSuspendCmd struct{ userVerb }

func (c *userSuspendCmd) Run(e *environment) error {
	return c.do(e, func(h *app.House, p profile.Profile) (string, error) {
		err := h.Manage.Suspend(e.ctx, e.caller(), p.Subject.ID, "suspended by an operator")
		return called(p.Subject) + " is suspended and signed out", lastSuperadmin(err)
	})
}

type userResumeCmd struct{ userVerb }

func (c *userResumeCmd) Run(e *environment) error {
	return c.do(e, func(h *app.House, p profile.Profile) (string, error) {
		return called(p.Subject) + " may sign in", h.Manage.Resume(e.ctx, e.caller(), p.Subject.ID)
	})
}

type userDeleteCmd struct{ userVerb }

func (c *userDeleteCmd) Run(e *environment) error {
	return c.do(e, func(h *app.House, p profile.Profile) (string, error) {
		err := h.Manage.Delete(e.ctx, e.caller(), p.Subject.ID)
		return fmt.Sprintf("%s is deleted (%s)", called(p.Subject), p.Subject.ID), lastSuperadmin(err)
	})
}

// lastSuperadmin adds to the core's refusal what the operator can do about it.
func lastSuperadmin(err error) error {
	if identity.KindOf(err) == identity.Denied {
		return identity.Denied.Because(explain(err) + ": make another one first, with `gatehouse user add EMAIL --superadmin --password-stdin`")
	}
	return err
}

type userSetPasswordCmd struct {
	userVerb
	MustChange bool `help:"She must change it at her next sign-in."`
}

func (c *userSetPasswordCmd) Run(e *environment) error {
	password, err := e.secret("password")
	if err != nil {
		return err
	}
	return c.do(e, func(h *app.House, p profile.Profile) (string, error) {
		return called(p.Subject) + " has a new password and is signed out", h.Manage.SetPassword(e.ctx, e.caller(), p.Subject.ID,
			manage.NewPassword{Password: password, MustChange: c.MustChange, Reason: "set by an operator"})
	})
}

type userSessionsCmd struct {
	who
	listFlags
}

func (c *userSessionsCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		p, err := c.find(e, h)
		if err != nil {
			return err
		}
		alive, err := aliveOf(e, h, p.Subject.ID)
		if err != nil {
			return err
		}
		t := newSessionTable(e, h, c.JSON)
		t.show(alive)
		return t.end(nil)
	})
}

type userSignOutCmd struct{ userVerb }

func (c *userSignOutCmd) Run(e *environment) error {
	return c.do(e, func(h *app.House, p profile.Profile) (string, error) {
		alive, err := aliveOf(e, h, p.Subject.ID)
		if err != nil {
			return "", err
		}
		err = h.Sessions.EndAll(e.ctx, e.caller(), p.Subject.ID, "", "signed out by an operator")
		return fmt.Sprintf("%s is signed out (%s)", called(p.Subject), countWord(len(alive), "session")), err
	})
}

type userResetFactorsCmd struct{ userVerb }

func (c *userResetFactorsCmd) Run(e *environment) error {
	return c.do(e, func(h *app.House, p profile.Profile) (string, error) {
		removed, err := h.Manage.ResetFactors(e.ctx, e.caller(), p.Subject.ID)
		if len(removed) == 0 {
			return called(p.Subject) + " has no second factor", err
		}
		words := make([]string, len(removed))
		for i, kind := range removed {
			words[i] = string(kind)
		}
		return fmt.Sprintf("%s has no second factor any more (%s) and is signed out", called(p.Subject), strings.Join(words, ", ")), err
	})
}

type subjectJSON struct {
	ID         string   `json:"id"`
	Number     int64    `json:"number"`
	Kind       string   `json:"kind"`
	Email      string   `json:"email"`
	Name       string   `json:"name"`
	Superadmin bool     `json:"superadmin"`
	Suspended  bool     `json:"suspended"`
	VerifiedAt string   `json:"verified_at,omitempty"`
	CreatedAt  string   `json:"created_at"`
	LastSignIn string   `json:"last_sign_in_at,omitempty"`
	Logins     []string `json:"logins,omitempty"`
	Factors    []string `json:"factors,omitempty"`
	Member     []member `json:"memberships,omitempty"`
}

type member struct {
	Organisation string `json:"organisation"`
	Site         string `json:"site,omitempty"`
	Role         string `json:"role,omitempty"`
}

func subjectObject(s identity.Subject) subjectJSON {
	return subjectJSON{
		ID: string(s.ID), Number: s.Number, Kind: string(s.Kind), Email: s.Email, Name: s.Name, Superadmin: s.Superadmin,
		Suspended: !s.SuspendedAt.IsZero(), VerifiedAt: when(s.VerifiedAt), CreatedAt: when(s.CreatedAt), LastSignIn: when(s.LastSignInAt),
	}
}

func userObject(p profile.Profile) subjectJSON {
	u := subjectObject(p.Subject)
	for _, l := range p.Logins {
		u.Logins = append(u.Logins, l.Typed)
	}
	for _, f := range p.Factors {
		u.Factors = append(u.Factors, string(f))
	}
	for _, a := range p.Organisations {
		for _, m := range a.Memberships {
			u.Member = append(u.Member, member{a.Organisation.Key, m.Site.Key, m.Membership.Role})
		}
	}
	return u
}
