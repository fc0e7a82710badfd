package world

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
)

// Service makes a store match a file, and writes it as one.
type Service struct {
	Store    identity.Store
	Manage   *manage.Service
	Licences *licence.Service
	// CheckHash says whether a password hash can be verified here; nil: nobody asks.
	CheckHash func(encoded string) error
}

// Options of Plan and Apply.
type Options struct {
	Prune  bool            // delete what the file's lists do not have
	Caller identity.Caller // for the audit log; its zero Door becomes "world"
}

// Action is what a step does.
type Action string

// The actions.
const (
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
)

// Step is one difference between file and store.
type Step struct {
	Action  Action   `json:"action"`
	Kind    string   `json:"kind"` // organisation, site, policy, role, subject, client, service, identity provider, agreement, device, licence
	Name    string   `json:"name"`
	Changes []string `json:"changes,omitempty"` // of an update; never a secret
}

func (s Step) String() string {
	text := string(s.Action) + " " + s.Kind + " " + s.Name
	if len(s.Changes) > 0 {
		text += ": " + strings.Join(s.Changes, ", ")
	}
	return text
}

// Plan says what Apply would do, and does nothing.
func (s *Service) Plan(ctx context.Context, w *World, o Options) ([]Step, error) {
	return s.run(ctx, w, o, true)
}

// Apply makes the store match the file, all or nothing, and says what it did. Mistakes in the file are Mistakes.
func (s *Service) Apply(ctx context.Context, w *World, o Options) ([]Step, error) {
	return s.run(ctx, w, o, false)
}

// errPlanned takes back a transaction that only wanted to know: a plan by the code that applies cannot differ from it.
var errPlanned = errors.New("planned")

func (s *Service) run(ctx context.Context, w *World, o Options, plan bool) ([]Step, error) {
	o.Caller.Door = cmp.Or(o.Caller.Door, "world")
	if err := s.hashes(w); err != nil {
		return nil, err
	}
	proofs, err := s.prove(ctx, w, plan)
	if err != nil {
		return nil, err
	}
	var steps []Step
	err = s.Store.Update(ctx, func(tx identity.Tx) error {
		a := &applier{Service: s, w: w, o: o, tx: tx, proofs: proofs, site: map[identity.OrganisationID]map[string]identity.Site{}}
		if err := a.all(ctx); err != nil {
			return err
		}
		steps = a.steps
		if plan {
			return errPlanned
		}
		return nil
	})
	if err != nil && !errors.Is(err, errPlanned) {
		return nil, err
	}
	return steps, nil
}

// hashes refuses those that nobody could ever sign in with.
func (s *Service) hashes(w *World) error {
	if s.CheckHash == nil {
		return nil
	}
	var m Mistakes
	for _, subject := range w.Subjects {
		if subject.PasswordHash != "" && s.CheckHash(subject.PasswordHash) != nil {
			m.add(w.File, subject.at("password_hash"), "is no password hash that can be verified here")
		}
	}
	for _, c := range w.Clients {
		if c.SecretHash != "" && !strings.HasPrefix(c.SecretHash, "{SHA256}") && s.CheckHash(c.SecretHash) != nil {
			m.add(w.File, c.at("secret_hash"), "is no hash that can be verified here")
		}
	}
	return m.err()
}

// proof is what became of one plain secret before the transaction: hashing takes tens of milliseconds, and SQLite has one writer.
type proof struct {
	against string // the hash that it was compared with; "": none stood
	keep    bool   // and matched
	hash    string // the new one otherwise
}

// proofs by place in the file.
type proofs struct {
	subjects []proof
	clients  []proof
}

func (s *Service) prove(ctx context.Context, w *World, plan bool) (proofs, error) {
	all := proofs{make([]proof, len(w.Subjects)), make([]proof, len(w.Clients))}
	words := make([]string, len(w.Subjects))
	err := s.Store.View(ctx, func(r identity.Reader) error {
		for i, subject := range w.Subjects {
			if subject.Password == "" {
				continue
			}
			found, err := find(ctx, r, subject)
			if err != nil || found == nil {
				if err != nil {
					return err
				}
				continue
			}
			words[i] = found.Email
			c, err := r.Credential(ctx, found.ID, identity.Password)
			if err != nil && !errors.Is(err, identity.NotFound) {
				return err
			}
			all.subjects[i].against = c.Hash
		}
		for i, client := range w.Clients {
			if client.Secret == "" {
				continue
			}
			c, err := r.Client(ctx, client.ID)
			if err != nil && !errors.Is(err, identity.NotFound) {
				return err
			}
			all.clients[i].against = c.SecretHash
		}
		return nil
	})
	if err != nil {
		return proofs{}, err
	}
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0)) // the pool has no more workers, and its queue is for sign-ins
	for i, subject := range w.Subjects {
		if subject.Password != "" {
			work.Go(func() error {
				return refused(w.File, subject.record, s.proveOne(ctx, &all.subjects[i], subject.Password, words[i], plan))
			})
		}
	}
	for i, client := range w.Clients {
		if client.Secret != "" {
			work.Go(func() error {
				return refused(w.File, client.record, s.proveOne(ctx, &all.clients[i], client.Secret, string(client.ID), plan))
			})
		}
	}
	return all, work.Wait()
}

// unhashed stands in plans where a new hash would, which nobody needs to wait for.
const unhashed = "planned"

func (s *Service) proveOne(ctx context.Context, p *proof, secret identity.Secret, words string, plan bool) (err error) {
	if p.against != "" {
		if p.keep, err = s.matches(ctx, p.against, secret, words); err != nil || p.keep {
			return err
		}
	}
	if plan {
		p.hash = unhashed
		return nil
	}
	p.hash, err = s.Manage.Passwords.Hasher.Hash(ctx, secret)
	return err
}

func (s *Service) matches(ctx context.Context, hash string, secret identity.Secret, words string) (bool, error) {
	if generated(hash) {
		return sameGenerated(hash, secret), nil
	}
	match, _, err := s.Manage.Passwords.Hasher.Verify(ctx, hash, secret, words)
	return match, err
}

// find gives the stored subject that an entry of the file is about; nil: none yet.
func find(ctx context.Context, r identity.Reader, s Subject) (*identity.Subject, error) {
	if s.ID != "" {
		found, err := r.Subject(ctx, s.ID)
		if err == nil {
			return &found, nil
		}
		if !errors.Is(err, identity.NotFound) {
			return nil, err
		}
	}
	field, typed := manage.FieldEmail, s.Email
	if typed == "" && len(s.Aliases) > 0 {
		field, typed = manage.FieldAlias, s.Aliases[0]
	}
	if typed == "" {
		return nil, nil
	}
	l, err := manage.NewLogin(field, typed, s.zero())
	if err != nil {
		return nil, err
	}
	found, err := r.SubjectByLogin(ctx, l.Folded)
	if errors.Is(err, identity.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if field == manage.FieldEmail {
		// Another's alias is no reason to take her for the one meant; making the subject will say that it is taken.
		own, err := manage.NewLogin(manage.FieldEmail, found.Email, s.zero())
		if err != nil || own.Folded != l.Folded {
			return nil, nil
		}
	}
	return &found, nil
}

// applier is one run inside one transaction.
type applier struct {
	*Service
	w      *World
	o      Options
	tx     identity.Tx
	proofs proofs
	steps  []Step
	site   map[identity.OrganisationID]map[string]identity.Site
	late   []func() error // demotions and suspensions: after the promotions that may replace the last superadmin
	wrong  Mistakes       // of the records so far
}

func (a *applier) step(action Action, kind, name string, changes ...string) {
	a.steps = append(a.steps, Step{action, kind, name, changes})
}

// all goes from what is referred to, to what refers to it. It goes on past a record that is refused, so that all of the file's mistakes
// are told, and leaves out what only a whole file can be judged by.
func (a *applier) all(ctx context.Context) error {
	if err := a.references(ctx); err != nil {
		return err
	}
	for _, p := range a.w.Policies {
		if err := a.each(ctx, p.record, func() error { return a.policy(ctx, p) }); err != nil {
			return err
		}
	}
	for _, o := range a.w.Organisations {
		if err := a.each(ctx, o.record, func() error { return a.organisation(ctx, o) }); err != nil {
			return err
		}
	}
	for _, role := range a.w.Roles {
		if err := a.each(ctx, role.record, func() error { return a.role(ctx, role) }); err != nil {
			return err
		}
	}
	for i, s := range a.w.Subjects {
		if err := a.each(ctx, s.record, func() error { return a.subject(ctx, s, a.proofs.subjects[i]) }); err != nil {
			return err
		}
	}
	if len(a.wrong) == 0 {
		for _, last := range a.late {
			if err := last(); err != nil {
				return err
			}
		}
	}
	if err := a.licensing(ctx); err != nil {
		return err
	}
	for i, c := range a.w.Clients {
		if err := a.each(ctx, c.record, func() error { return a.client(ctx, c, a.proofs.clients[i]) }); err != nil {
			return err
		}
	}
	for _, service := range a.w.Services {
		if err := a.each(ctx, service.record, func() error { return a.service(ctx, service) }); err != nil {
			return err
		}
	}
	for _, p := range a.w.Providers {
		if err := a.each(ctx, p.record, func() error { return a.provider(ctx, p) }); err != nil {
			return err
		}
	}
	if err := a.wrong.err(); err != nil || !a.o.Prune {
		return err
	}
	return a.prune(ctx)
}

// each does one record, unless it names what is not there. A refusal is kept as a mistake; the error is what stops the whole.
func (a *applier) each(ctx context.Context, of record, do func() error) error {
	if slices.ContainsFunc(a.wrong, func(m Mistake) bool { return strings.HasPrefix(m.Field, of.field+".") }) {
		return nil
	}
	err := do()
	if err == nil || len(a.wrong) > 0 && err == error(identity.NotFound) {
		return nil // in the second case it refers to a record that was refused
	}
	var told Mistakes
	if err := refused(a.w.File, of, err); !errors.As(err, &told) {
		return err
	}
	if a.wrong = append(a.wrong, told...); len(a.wrong) >= maxMistakes {
		return a.wrong.err()
	}
	// A verb may have worded what the engine refused, which then does nothing more in this transaction.
	if _, err := a.tx.RevocationEpoch(ctx); err != nil {
		return a.wrong.err()
	}
	return nil
}

// references finds every name in the file that leads nowhere, neither in it nor in the store.
func (a *applier) references(ctx context.Context) error {
	m := &a.wrong
	known := map[string]bool{}
	for _, p := range a.w.Policies {
		known["policy "+p.Policy.Key] = true
	}
	for _, role := range a.w.Roles {
		known["role "+role.Key] = true
	}
	for _, o := range a.w.Organisations {
		known["organisation "+o.Key] = true
		for _, s := range o.Sites {
			known["site "+o.Key+"\x00"+s.Key] = true
		}
	}
	// stands asks the store once for each name.
	stands := func(name string, look func() error) (bool, error) {
		is, asked := known[name]
		if asked {
			return is, nil
		}
		err := look()
		if err != nil && !errors.Is(err, identity.NotFound) {
			return false, err
		}
		known[name] = err == nil
		return err == nil, nil
	}
	policy := func(key *string, at place) error {
		if key == nil || *key == "" {
			return nil
		}
		ok, err := stands("policy "+*key, func() error { _, err := a.tx.PolicyByKey(ctx, *key); return err })
		if err == nil && !ok {
			m.add(a.w.File, at, fmt.Sprintf("there is no policy %q", *key))
		}
		return err
	}
	for _, o := range a.w.Organisations {
		if err := policy(o.Policy, o.at("policy")); err != nil {
			return err
		}
	}
	for _, s := range a.w.Subjects {
		if err := policy(s.Policy, s.at("security_policy")); err != nil {
			return err
		}
		for _, member := range s.Memberships {
			ok, err := stands("organisation "+member.Organisation, func() error {
				_, err := a.tx.OrganisationByKey(ctx, member.Organisation)
				return err
			})
			if err != nil {
				return err
			}
			if !ok {
				m.add(a.w.File, member.at("organisation"), fmt.Sprintf("there is no organisation %q", member.Organisation))
			}
			if ok && member.Site != "" {
				ok, err := stands("site "+member.Organisation+"\x00"+member.Site, func() error { return a.siteStands(ctx, member) })
				if err != nil {
					return err
				}
				if !ok {
					m.add(a.w.File, member.at("site"), fmt.Sprintf("organisation %q has no site %q", member.Organisation, member.Site))
				}
			}
			if member.Role != "" {
				ok, err := stands("role "+member.Role, func() error { _, err := a.tx.Role(ctx, member.Role); return err })
				if err != nil {
					return err
				}
				if !ok {
					m.add(a.w.File, member.at("role"), fmt.Sprintf("there is no role %q", member.Role))
				}
			}
		}
	}
	return a.licensingReferences(ctx, m, known, stands)
}

func (a *applier) siteStands(ctx context.Context, m Membership) error {
	o, err := a.tx.OrganisationByKey(ctx, m.Organisation)
	if err != nil {
		return err
	}
	_, err = a.siteOf(ctx, o.ID, m.Site)
	return err
}

// siteOf finds a site by its key; the sites of an organisation are read once.
func (a *applier) siteOf(ctx context.Context, id identity.OrganisationID, key string) (identity.Site, error) {
	sites, known := a.site[id]
	if !known {
		list, err := a.tx.Sites(ctx, id)
		if err != nil {
			return identity.Site{}, err
		}
		sites = map[string]identity.Site{}
		for _, s := range list {
			sites[s.Key] = s
		}
		a.site[id] = sites
	}
	site, ok := sites[key]
	if !ok {
		return site, identity.NotFound
	}
	return site, nil
}

// differs notes a field that is to change, and gives what it is to be.
func differs[T comparable](changes *[]string, field string, old T, want *T) *T {
	if want == nil || *want == old {
		return nil
	}
	*changes = append(*changes, fmt.Sprintf("%s %s → %s", field, shown(old), shown(*want)))
	return want
}

func shown(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}

// patches gives the doors whose attributes are to change.
func patches(changes *[]string, old, want identity.Attributes) identity.Attributes {
	var merge identity.Attributes
	for _, door := range sortedDoors(want) {
		if old[door] != nil && manage.SameJSON(old[door], want[door]) || manage.Patches(old[door], want[door]) {
			continue
		}
		if merge == nil {
			merge = identity.Attributes{}
		}
		merge[door] = want[door]
		*changes = append(*changes, string(door))
	}
	return merge
}

func (a *applier) policy(ctx context.Context, p Policy) error {
	old, err := a.tx.PolicyByKey(ctx, p.Policy.Key)
	if err != nil && !errors.Is(err, identity.NotFound) {
		return err
	}
	p.Policy.ID = old.ID
	switch {
	case old.ID == "":
		a.step(Create, "policy", p.Policy.Key)
	case manage.SamePolicy(p.Policy, old):
		return nil
	default:
		var changes []string
		differs(&changes, "description", old.Description, &p.Description)
		differs(&changes, "password", old.Password, &p.Password)
		differs(&changes, "second_factor", old.SecondFactor, &p.SecondFactor)
		factors, want := fmt.Sprint(old.Factors), fmt.Sprint(p.Factors)
		if factors != want {
			changes = append(changes, "factors "+factors+" → "+want)
		}
		differs(&changes, "session.idle", old.SessionIdle, &p.SessionIdle)
		differs(&changes, "session.absolute", old.SessionMax, &p.SessionMax)
		differs(&changes, "lockout", old.Lockout, &p.Lockout)
		hours, networks := policy.Hours(p.Policy), policy.Networks(p.Policy)
		differs(&changes, "hours", policy.Hours(old), &hours)
		differs(&changes, "networks", policy.Networks(old), &networks)
		a.step(Update, "policy", p.Policy.Key, changes...)
	}
	_, err = a.Manage.SavePolicyIn(ctx, a.tx, a.o.Caller, p.Policy)
	return err
}

func (a *applier) policyID(ctx context.Context, key *string) (*identity.PolicyID, error) {
	var id identity.PolicyID
	if key == nil {
		return nil, nil
	}
	if *key != "" {
		p, err := a.tx.PolicyByKey(ctx, *key)
		if err != nil {
			return nil, err
		}
		id = p.ID
	}
	return &id, nil
}

func (a *applier) organisation(ctx context.Context, o Organisation) error {
	policy, err := a.policyID(ctx, o.Policy)
	if err != nil {
		return err
	}
	old, err := a.tx.OrganisationByKey(ctx, o.Key)
	if errors.Is(err, identity.NotFound) && o.ID != "" {
		old, err = a.tx.Organisation(ctx, o.ID) // its key changed
	}
	switch {
	case errors.Is(err, identity.NotFound):
		if old, err = a.newOrganisation(ctx, o, policy); err != nil {
			// Whatever is hers is judged, too: by an organisation that goes again with the mistake.
			_, _ = a.Manage.CreateOrganisationIn(ctx, a.tx, a.o.Caller, manage.NewOrganisation{Key: o.Key})
			return err
		}
	case err != nil:
		return err
	case o.ID != "" && o.ID != old.ID:
		return identity.Conflict.In("id", "the organisation with this key has another id in the store")
	default:
		var changes []string
		change := manage.OrganisationChange{
			Key: differs(&changes, "key", old.Key, &o.Key), Name: differs(&changes, "name", old.Name, o.Name),
			Merge: patches(&changes, old.Attributes, o.Attributes),
		}
		if policy != nil && *policy != old.PolicyID {
			change.PolicyID, changes = policy, append(changes, "policy "+shown(*o.Policy))
		}
		if o.ExpiresAt != nil && !o.ExpiresAt.Equal(old.ExpiresAt) {
			change.ExpiresAt, changes = o.ExpiresAt, append(changes, "expiration_time "+o.ExpiresAt.Format(timeForm))
		}
		if len(changes) > 0 {
			a.step(Update, "organisation", o.Key, changes...)
			if _, err := a.Manage.UpdateOrganisationIn(ctx, a.tx, a.o.Caller, old.ID, change); err != nil {
				return err
			}
		}
	}
	return a.sites(ctx, o, old)
}

func (a *applier) newOrganisation(ctx context.Context, o Organisation, policy *identity.PolicyID) (identity.Organisation, error) {
	in := manage.NewOrganisation{ID: o.ID, Hash: o.Hash, Key: o.Key, Attributes: o.Attributes}
	if o.Name != nil {
		in.Name = *o.Name
	}
	if policy != nil {
		in.PolicyID = *policy
	}
	if o.ExpiresAt != nil {
		in.ExpiresAt = *o.ExpiresAt
	}
	a.step(Create, "organisation", o.Key)
	return a.Manage.CreateOrganisationIn(ctx, a.tx, a.o.Caller, in)
}

func (a *applier) sites(ctx context.Context, o Organisation, stored identity.Organisation) error {
	for _, s := range o.Sites {
		old, err := a.siteOf(ctx, stored.ID, s.Key)
		if err != nil && !errors.Is(err, identity.NotFound) {
			return err
		}
		want := identity.Site{ID: old.ID, OrganisationID: stored.ID, Key: s.Key, Name: old.Name}
		if s.Name != nil {
			want.Name = *s.Name
		}
		name := o.Key + "/" + s.Key
		var changes []string
		switch {
		case old.ID == "":
			want.ID = s.ID
			a.step(Create, "site", name)
		case s.ID != "" && s.ID != old.ID:
			return refused(a.w.File, s.record, identity.Conflict.In("id", "the site with this key has another id in the store"))
		case differs(&changes, "name", old.Name, &want.Name) == nil:
			continue
		default:
			a.step(Update, "site", name, changes...)
		}
		saved, err := a.Manage.SaveSiteIn(ctx, a.tx, a.o.Caller, want)
		if err != nil {
			return refused(a.w.File, s.record, err)
		}
		a.site[stored.ID][s.Key] = saved
	}
	return nil
}

func (a *applier) role(ctx context.Context, role Role) error {
	old, err := a.tx.Role(ctx, role.Key)
	if err != nil && !errors.Is(err, identity.NotFound) {
		return err
	}
	saved, err := a.Manage.SaveRoleIn(ctx, a.tx, a.o.Caller, role.Role)
	if err != nil {
		return err
	}
	var changes []string
	before, after := strings.Join(old.Privileges, " "), strings.Join(saved.Privileges, " ")
	switch {
	case old.Key == "":
		a.step(Create, "role", role.Key)
	case differs(&changes, "privileges", before, &after) != nil:
		a.step(Update, "role", role.Key, changes...)
	}
	return nil
}

func (a *applier) client(ctx context.Context, c Client, p proof) error {
	old, err := a.tx.Client(ctx, c.ID)
	if err != nil && !errors.Is(err, identity.NotFound) {
		return err
	}
	if c.Secret != "" && old.SecretHash != p.against {
		return changedMeanwhile
	}
	secret := c.SecretHash
	if c.Secret != "" && !p.keep {
		secret = p.hash
	}
	var changes []string
	to, err := a.bound(ctx, c, old, &changes)
	if err != nil {
		return err
	}
	if old.ID == "" {
		in := manage.NewClient{ID: c.ID, SecretHash: secret, Attributes: c.Attributes}
		for _, f := range []struct{ into, value *string }{{&in.Name, c.Name}, {&in.SigningAlg, c.SigningAlg}} {
			if f.value != nil {
				*f.into = *f.value
			}
		}
		for _, f := range []struct{ into, value *[]string }{
			{&in.Grants, c.Grants}, {&in.Scopes, c.Scopes}, {&in.RedirectURIs, c.RedirectURIs}, {&in.Audiences, c.Audiences},
		} {
			if f.value != nil {
				*f.into = *f.value
			}
		}
		in.Suspended = c.Suspended != nil && *c.Suspended
		if to.organisation != nil {
			in.OrganisationID = *to.organisation
		}
		if to.device != nil {
			in.DeviceID = *to.device
		}
		a.step(Create, "client", string(c.ID))
		_, err := a.Manage.CreateClientIn(ctx, a.tx, a.o.Caller, in)
		return err
	}
	suspended := !old.SuspendedAt.IsZero()
	change := manage.ClientChange{
		OrganisationID: to.organisation, DeviceID: to.device,
		Name: differs(&changes, "name", old.Name, c.Name), SigningAlg: differs(&changes, "signing_alg", old.SigningAlg, c.SigningAlg),
		Suspended: differs(&changes, "suspended", suspended, c.Suspended), Merge: patches(&changes, old.Attributes, c.Attributes),
		Grants: differsList(&changes, "grants", old.Grants, c.Grants), Scopes: differsList(&changes, "scopes", old.Scopes, c.Scopes),
		RedirectURIs: differsList(&changes, "redirect_uris", old.RedirectURIs, c.RedirectURIs),
		Audiences:    differsList(&changes, "audiences", old.Audiences, c.Audiences),
	}
	if secret != "" && secret != old.SecretHash || c.Public && old.SecretHash != "" {
		change.SecretHash, changes = &secret, append(changes, "secret")
	}
	if len(changes) == 0 {
		return nil
	}
	a.step(Update, "client", string(c.ID), changes...)
	_, err = a.Manage.UpdateClientIn(ctx, a.tx, a.o.Caller, c.ID, change)
	return err
}

func differsList(changes *[]string, field string, old []string, want *[]string) *[]string {
	if want == nil {
		return nil
	}
	before, after := strings.Join(old, " "), strings.Join(*want, " ")
	if differs(changes, field, before, &after) == nil {
		return nil
	}
	return want
}

// changedMeanwhile is a secret that was not the one any more that the file's was compared with.
var changedMeanwhile = identity.Conflict.Because("somebody changed this secret just now; apply again")

func (a *applier) service(ctx context.Context, service Listed) error {
	all, err := a.tx.Services(ctx)
	if err != nil {
		return err
	}
	name := service.Type + " " + service.PublicURI
	var old *identity.Service
	for i := range all {
		if all[i].Type == service.Type && all[i].PublicURI == service.PublicURI && all[i].ExpiresAt.IsZero() {
			old = &all[i]
		}
	}
	var changes []string
	switch {
	case old == nil:
		a.step(Create, "service", name)
	case differs(&changes, "private_uri", old.PrivateURI, &service.PrivateURI) == nil:
		return nil
	default:
		a.step(Update, "service", name, changes...)
	}
	_, err = a.Manage.SaveServiceIn(ctx, a.tx, a.o.Caller, service.Service)
	return err
}

func (a *applier) provider(ctx context.Context, p Provider) error {
	old, err := a.tx.IdentityProvider(ctx, p.Key)
	if err != nil && !errors.Is(err, identity.NotFound) {
		return err
	}
	want := manage.ProviderDefaults(p.IdentityProvider)
	if p.Suspended {
		want.SuspendedAt = a.Manage.Now()
	}
	saved, err := a.Manage.SaveProviderIn(ctx, a.tx, a.o.Caller, want, p.Secret)
	if err != nil {
		return err
	}
	if old.Key == "" {
		a.step(Create, "identity provider", p.Key)
		return nil
	}
	var changes []string
	suspended := !old.SuspendedAt.IsZero()
	differs(&changes, "kind", old.Kind, &want.Kind)
	differs(&changes, "name", old.Name, &want.Name)
	differs(&changes, "issuer", old.Issuer, &want.Issuer)
	differs(&changes, "client_id", old.ClientID, &want.ClientID)
	differsList(&changes, "tenants", old.Tenants, &want.Tenants)
	differs(&changes, "email", old.EmailTrust, &want.EmailTrust)
	differs(&changes, "create_accounts", old.CreateAccounts, &want.CreateAccounts)
	differs(&changes, "suspended", suspended, &p.Suspended)
	if !bytes.Equal(old.Sealed, saved.Sealed) {
		changes = append(changes, "client_secret")
	}
	if len(changes) > 0 {
		a.step(Update, "identity provider", p.Key, changes...)
	}
	return nil
}
