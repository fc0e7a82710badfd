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
	Add          userAddCmd          `cmd:"" help:"Make one, with a password from standard input or without."`
	List         userListCmd         `cmd:"" help:"List them."`
	Show         userShowCmd         `cmd:"" help:"Show one."`
	Suspend      userSuspendCmd      `cmd:"" help:"Stop her from signing in, and end her sessions."`
	Resume       userResumeCmd       `cmd:"" help:"Let her sign in again."`
	Delete       userDeleteCmd       `cmd:"" help:"Remove her and all that is hers."`
	SetPassword  userSetPasswordCmd  `cmd:"" help:"Set a password from standard input; her sessions end."`
	Sessions     userSessionsCmd     `cmd:"" help:"List her sessions."`
	SignOut      userSignOutCmd      `cmd:"" help:"End all her sessions."`
	ResetFactors userResetFactorsCmd `cmd:"" help:"Remove her second factors."`
}

// who names a subject by any login, or by id.
type who struct {
	Email string `arg:"" help:"Any of her logins, or her id."`
}

func (w who) find(e *environment, h *app.House) (profile.Profile, error) {
	p, err := h.Profiles.Find(e.ctx, w.Email)
	if identity.KindOf(err) == identity.NotFound {
		return p, identity.NotFound.Because(fmt.Sprintf("nobody has the login %q", w.Email))
	}
	return p, err
}

type userAddCmd struct {
	Email         string `arg:"" help:"Her address, which is her login."`
	Name          string `help:"As displayed; the address if not given."`
	Superadmin    bool   `help:"She may do everything."`
	PasswordStdin bool   `help:"Read her password from standard input. Without it she has none, and uses a reset link."`
	JSON          bool   `name:"json" help:"Print her as JSON."`
}

func (c *userAddCmd) Run(e *environment) error {
	in := manage.NewSubject{Email: c.Email, Name: c.Name, Superadmin: c.Superadmin, Verified: true}
	if c.PasswordStdin {
		pw, err := e.secret()
		if err != nil {
			return err
		}
		in.Password = pw
	}
	return e.with(func(h *app.House) error {
		s, err := h.Manage.Create(e.ctx, e.caller(), in)
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
		_, err = fmt.Fprintf(e.Out, "%s is made (%s)\n", s.Email, s.ID)
		return err
	})
}

type userListCmd struct {
	listFlags
	Prefix string `help:"Logins that begin so."`
	Org    string `help:"Members of the organisation with this key."`
}

func (c *userListCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		f := identity.SubjectFilter{Prefix: strings.ToLower(c.Prefix), Limit: page}
		if c.Org != "" {
			o, err := h.Profiles.OrganisationByKey(e.ctx, c.Org)
			if err != nil {
				return fmt.Errorf("organisation %q: %w", c.Org, err)
			}
			f.OrganisationID = o.ID
		}
		t := newTable(e.Out, c.JSON, "LOGIN", "NAME", "SUPERADMIN", "SUSPENDED", "LAST SIGN-IN", "ID")
		defer t.end()
		for {
			list, err := h.Profiles.Subjects(e.ctx, f)
			if err != nil {
				return err
			}
			for _, s := range list {
				t.row(subjectObject(s), s.Email, s.Name, yes(s.Superadmin), yes(!s.SuspendedAt.IsZero()), when(s.LastSignInAt), string(s.ID))
				f.After = s.ID
			}
			if len(list) < page {
				return nil
			}
		}
	})
}

type userShowCmd struct {
	who
	JSON bool `name:"json" help:"As JSON."`
}

func (c *userShowCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		p, err := c.find(e, h)
		if err != nil {
			return err
		}
		if c.JSON {
			return object(e.Out, userObject(p))
		}
		t := newTable(e.Out, false, p.Subject.Email, p.Subject.Name)
		defer t.end()
		s := p.Subject
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
				t.row(nil, "member", strings.Trim(a.Organisation.Key+"/"+m.Site.Key, "/")+" "+m.Membership.Role)
			}
		}
		return nil
	})
}

type userSuspendCmd struct{ who }

func (c *userSuspendCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		p, err := c.find(e, h)
		if err != nil {
			return err
		}
		return h.Manage.Suspend(e.ctx, e.caller(), p.Subject.ID, "suspended by an operator")
	})
}

type userResumeCmd struct{ who }

func (c *userResumeCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		p, err := c.find(e, h)
		if err != nil {
			return err
		}
		return h.Manage.Resume(e.ctx, e.caller(), p.Subject.ID)
	})
}

type userDeleteCmd struct{ who }

func (c *userDeleteCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		p, err := c.find(e, h)
		if err != nil {
			return err
		}
		return h.Manage.Delete(e.ctx, e.caller(), p.Subject.ID)
	})
}

type userSetPasswordCmd struct {
	who
	MustChange bool `help:"She must change it at her next sign-in."`
}

func (c *userSetPasswordCmd) Run(e *environment) error {
	pw, err := e.secret()
	if err != nil {
		return err
	}
	return e.with(func(h *app.House) error {
		p, err := c.find(e, h)
		if err != nil {
			return err
		}
		return h.Manage.SetPassword(e.ctx, e.caller(), p.Subject.ID, manage.NewPassword{Password: pw, MustChange: c.MustChange, Reason: "set by an operator"})
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
		list, err := h.Profiles.SessionsOf(e.ctx, p.Subject.ID)
		if err != nil {
			return err
		}
		t := sessionTable(e, c.JSON)
		defer t.end()
		for _, s := range list {
			sessionRow(t, s)
		}
		return nil
	})
}

type userSignOutCmd struct{ who }

func (c *userSignOutCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		p, err := c.find(e, h)
		if err != nil {
			return err
		}
		return h.Sessions.EndAll(e.ctx, e.caller(), p.Subject.ID, "", "signed out by an operator")
	})
}

type userResetFactorsCmd struct{ who }

func (c *userResetFactorsCmd) Run(e *environment) error {
	return e.with(func(h *app.House) error {
		p, err := c.find(e, h)
		if err != nil {
			return err
		}
		removed, err := h.Manage.ResetFactors(e.ctx, e.caller(), p.Subject.ID)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.Out, "removed %d second factors of %s\n", len(removed), p.Subject.Email)
		return err
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
