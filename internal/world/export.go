package world

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
)

// The file as export writes it: every list and every flag, so that with pruning another store becomes the same; secrets as hashes,
// or sealed with the master key.
type (
	fileWorld struct {
		Policies      []filePolicy       `yaml:"policies"`
		Organisations []fileOrganisation `yaml:"organisations"`
		Roles         []fileRole         `yaml:"roles"`
		Subjects      []fileSubject      `yaml:"subjects"`
		Clients       []fileClient       `yaml:"clients"`
		Services      []fileService      `yaml:"services"`
		Providers     []fileProvider     `yaml:"identity_providers"`
		Agreements    []fileAgreement    `yaml:"agreements"`
		Devices       []fileDevice       `yaml:"devices"`
		Licences      []fileLicence      `yaml:"licences"`
	}
	filePolicy struct {
		Key         string `yaml:"key"`
		Description string `yaml:"description,omitempty"`
		Password    struct {
			MinLength  int `yaml:"min_length,omitempty"`
			Classes    int `yaml:"classes,omitempty"`
			History    int `yaml:"history,omitempty"`
			MaxAgeDays int `yaml:"max_age_days,omitempty"`
			MinScore   int `yaml:"min_score,omitempty"`
		} `yaml:"password,omitempty"`
		SecondFactor string   `yaml:"second_factor,omitempty"`
		Factors      []string `yaml:"factors,omitempty,flow"`
		Session      struct {
			Idle     string `yaml:"idle,omitempty"`
			Absolute string `yaml:"absolute,omitempty"`
		} `yaml:"session,omitempty"`
		Lockout struct {
			Tries  int    `yaml:"tries,omitempty"`
			Window string `yaml:"window,omitempty"`
		} `yaml:"lockout,omitempty"`
		Hours    []fileWindow `yaml:"hours,omitempty"`
		Zone     string       `yaml:"zone,omitempty"`
		Networks []string     `yaml:"networks,omitempty,flow"`
	}
	fileWindow struct {
		Days  []string `yaml:"days,omitempty,flow"`
		From  string   `yaml:"from"`
		Until string   `yaml:"until"`
	}
	fileOrganisation struct {
		Key            string     `yaml:"key"`
		ID             string     `yaml:"id"`
		Hash           string     `yaml:"hash,omitempty"`
		Name           string     `yaml:"name"`
		Sites          []fileSite `yaml:"sites"`
		Policy         any        `yaml:"policy"`
		Expiration     *time.Time `yaml:"expiration_time,omitempty"`
		fileAttributes `yaml:",inline"`
	}
	fileSite struct {
		Key  string `yaml:"key"`
		ID   string `yaml:"id"`
		Name string `yaml:"name"`
	}
	fileRole struct {
		Key        string   `yaml:"key"`
		Privileges []string `yaml:"privileges,flow"`
	}
	fileSubject struct {
		ID             string           `yaml:"id"`
		Hash           string           `yaml:"hash,omitempty"`
		Kind           string           `yaml:"kind,omitempty"`
		Email          string           `yaml:"email,omitempty"`
		Aliases        []string         `yaml:"aliases,flow"`
		Name           string           `yaml:"name"`
		GivenName      string           `yaml:"given_name"`
		MiddleName     string           `yaml:"middle_name"`
		FamilyName     string           `yaml:"family_name"`
		Phone          string           `yaml:"phone"`
		Locale         string           `yaml:"locale"`
		PasswordHash   string           `yaml:"password_hash,omitempty"`
		MustChange     *bool            `yaml:"must_change_password,omitempty"`
		Verified       bool             `yaml:"verified"`
		MustVerify     bool             `yaml:"must_verify"`
		Suspended      bool             `yaml:"suspended"`
		Superadmin     bool             `yaml:"superadmin"`
		Owner          string           `yaml:"owner"`
		SecurityPolicy any              `yaml:"security_policy"`
		Memberships    []fileMembership `yaml:"memberships"`
		Identities     []fileIdentity   `yaml:"identities"`
		Factors        fileFactors      `yaml:"factors"`
		fileAttributes `yaml:",inline"`
	}
	fileMembership struct {
		Organisation   string `yaml:"organisation"`
		Site           string `yaml:"site,omitempty"`
		Role           string `yaml:"role,omitempty"`
		TitanRole      string `yaml:"titan_role,omitempty"`
		fileAttributes `yaml:",inline"`
	}
	fileFactors struct {
		TOTPSealed string `yaml:"totp_sealed,omitempty"`
		Email      any    `yaml:"email,omitempty"`
		SMS        string `yaml:"sms,omitempty"`
	}
	fileClient struct {
		ID             string   `yaml:"id"`
		Name           string   `yaml:"name"`
		SecretHash     string   `yaml:"secret_hash,omitempty"`
		Public         bool     `yaml:"public,omitempty"`
		Grants         []string `yaml:"grants,flow"`
		Scopes         []string `yaml:"scopes,flow"`
		RedirectURIs   []string `yaml:"redirect_uris"`
		Audiences      []string `yaml:"audiences"`
		SigningAlg     string   `yaml:"signing_alg"`
		Organisation   any      `yaml:"organisation"` // null: the house's
		Device         any      `yaml:"device"`
		Suspended      bool     `yaml:"suspended"`
		fileAttributes `yaml:",inline"`
	}
	fileService struct {
		Type       string `yaml:"type"`
		URI        string `yaml:"uri"`
		PrivateURI string `yaml:"private_uri,omitempty"`
	}
	fileIdentity struct {
		Authority string `yaml:"authority"`
		ID        string `yaml:"id"`
		Provider  string `yaml:"provider,omitempty"`
		Email     string `yaml:"email,omitempty"`
	}
	fileProvider struct {
		Key            string   `yaml:"key"`
		Kind           string   `yaml:"kind"`
		Name           string   `yaml:"name"`
		Issuer         string   `yaml:"issuer"`
		ClientID       string   `yaml:"client_id"`
		SecretSealed   string   `yaml:"client_secret_sealed,omitempty"`
		Tenants        []string `yaml:"tenants,flow"`
		Email          string   `yaml:"email"`
		CreateAccounts bool     `yaml:"create_accounts"`
		Suspended      bool     `yaml:"suspended"`
	}
	// fileAttributes are what doors keep of a record.
	fileAttributes struct {
		Titan    any                   `yaml:"titan,omitempty"`
		Nx       any                   `yaml:"nx,omitempty"`
		Insights any                   `yaml:"insights,omitempty"`
		OpenWiFi any                   `yaml:"openwifi,omitempty"`
		Others   map[identity.Door]any `yaml:"attributes,omitempty"`
	}
)

const exportHeader = `# The world of a Gatehouse, as "gatehouse export" wrote it. Secrets are hashes, or sealed with the master key; keep the file as you
# keep the database. "gatehouse apply -f" of it changes nothing; with --prune it makes another store the same.
`

// Export writes the store as a file, byte for byte the same for the same world.
func (s *Service) Export(ctx context.Context) ([]byte, error) {
	var file fileWorld
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		file, err = read(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.WriteString(exportHeader)
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(file); err != nil {
		return nil, fmt.Errorf("write the world: %w", err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("write the world: %w", err)
	}
	return out.Bytes(), nil
}

// exporter remembers the names of what others refer to.
type exporter struct {
	r             identity.Reader
	policies      map[identity.PolicyID]string
	organisations map[identity.OrganisationID]string
	sites         map[identity.SiteID]string
	agreements    map[identity.AgreementID]string
	devices       map[identity.DeviceID]string
	file          fileWorld
}

func read(ctx context.Context, r identity.Reader) (fileWorld, error) {
	e := &exporter{
		r: r, policies: map[identity.PolicyID]string{}, organisations: map[identity.OrganisationID]string{}, sites: map[identity.SiteID]string{},
		agreements: map[identity.AgreementID]string{}, devices: map[identity.DeviceID]string{},
	}
	for _, part := range []func(context.Context) error{e.readPolicies, e.readOrganisations, e.readRoles, e.readSubjects, e.readServices, e.readProviders, e.readAgreements, e.readDevices, e.readLicences, e.readClients} {
		if err := part(ctx); err != nil {
			return fileWorld{}, err
		}
	}
	return e.file, nil
}

func (e *exporter) readPolicies(ctx context.Context) error {
	all, err := e.r.Policies(ctx)
	e.file.Policies = []filePolicy{}
	for _, p := range all {
		e.policies[p.ID] = p.Key
		f := filePolicy{Key: p.Key, Description: p.Description, SecondFactor: string(p.SecondFactor)}
		f.Password.MinLength, f.Password.Classes, f.Password.History = p.Password.MinLength, p.Password.Classes, p.Password.History
		f.Password.MaxAgeDays, f.Password.MinScore = p.Password.MaxAgeDays, p.Password.MinScore
		for _, kind := range p.Factors {
			f.Factors = append(f.Factors, string(kind))
		}
		f.Session.Idle, f.Session.Absolute = span(p.SessionIdle), span(p.SessionMax)
		f.Lockout.Tries, f.Lockout.Window = p.Lockout.Tries, span(p.Lockout.Window)
		for _, s := range p.Hours { // one at most, and one list of networks (manage.CheckPolicy)
			f.Zone = s.Zone
			for _, w := range s.Windows {
				window := fileWindow{From: policy.Clock(w.From), Until: policy.Clock(w.Until)}
				for _, day := range w.Days {
					window.Days = append(window.Days, weekdays[day])
				}
				f.Hours = append(f.Hours, window)
			}
		}
		f.Networks = slices.Concat(p.Networks...)
		e.file.Policies = append(e.file.Policies, f)
	}
	return err
}

// span leaves out what is not there.
func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return policy.Span(d)
}

func (e *exporter) readOrganisations(ctx context.Context) error {
	e.file.Organisations = []fileOrganisation{}
	var after identity.OrganisationID
	for {
		page, err := e.r.Organisations(ctx, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, o := range page {
			after = o.ID
			e.organisations[o.ID] = o.Key
			f := fileOrganisation{Key: o.Key, ID: string(o.ID), Hash: o.Hash, Name: o.Name, Policy: e.policy(o.PolicyID), Sites: []fileSite{}}
			if !o.ExpiresAt.IsZero() {
				f.Expiration = &o.ExpiresAt
			}
			if f.fileAttributes, err = attributes(o.Attributes); err != nil {
				return err
			}
			sites, err := e.r.Sites(ctx, o.ID)
			if err != nil {
				return err
			}
			for _, s := range sites {
				e.sites[s.ID] = s.Key
				f.Sites = append(f.Sites, fileSite{s.Key, string(s.ID), s.Name})
			}
			e.file.Organisations = append(e.file.Organisations, f)
		}
	}
}

// policy gives a key, or nothing: written out, so that it takes away what another store has.
func (e *exporter) policy(id identity.PolicyID) any {
	if key := e.policies[id]; key != "" {
		return key
	}
	return nil
}

func (e *exporter) readRoles(ctx context.Context) error {
	all, err := e.r.Roles(ctx)
	e.file.Roles = []fileRole{}
	for _, role := range all {
		e.file.Roles = append(e.file.Roles, fileRole{role.Key, listed(role.Privileges)})
	}
	return err
}

func listed(all []string) []string {
	if all == nil {
		return []string{}
	}
	return all
}

func (e *exporter) readSubjects(ctx context.Context) error {
	e.file.Subjects = []fileSubject{}
	var after identity.SubjectID
	for {
		page, err := e.r.Subjects(ctx, identity.SubjectFilter{After: after, Limit: pageSize})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, s := range page {
			after = s.ID
			f, err := e.subject(ctx, s)
			if err != nil {
				return fmt.Errorf("export subject %s: %w", s.ID, err)
			}
			e.file.Subjects = append(e.file.Subjects, f)
		}
	}
}

func (e *exporter) subject(ctx context.Context, s identity.Subject) (fileSubject, error) {
	f := fileSubject{
		ID: string(s.ID), Hash: s.Hash, Email: s.Email, Aliases: []string{}, Name: s.Name, GivenName: s.GivenName, MiddleName: s.MiddleName,
		FamilyName: s.FamilyName, Phone: s.Phone, Locale: s.Locale, Verified: !s.VerifiedAt.IsZero(), MustVerify: s.MustVerify,
		Suspended: !s.SuspendedAt.IsZero(), Superadmin: s.Superadmin, Owner: s.Owner, SecurityPolicy: e.policy(s.PolicyID), Memberships: []fileMembership{},
		Identities: []fileIdentity{},
	}
	if s.Kind != identity.Person {
		f.Kind = string(s.Kind)
	}
	var err error
	if f.fileAttributes, err = attributes(s.Attributes); err != nil {
		return f, err
	}
	logins, err := e.r.Logins(ctx, s.ID)
	if err != nil {
		return f, err
	}
	for _, l := range logins {
		if !l.Primary {
			f.Aliases = append(f.Aliases, l.Typed)
		}
	}
	memberships, err := e.r.Memberships(ctx, s.ID)
	if err != nil {
		return f, err
	}
	for _, m := range memberships {
		one, err := e.membership(m)
		if err != nil {
			return f, err
		}
		f.Memberships = append(f.Memberships, one)
	}
	identities, err := e.r.LinkedIdentitiesOf(ctx, s.ID)
	if err != nil {
		return f, err
	}
	for _, l := range identities {
		f.Identities = append(f.Identities, fileIdentity{l.Authority, l.ExternalID, l.Provider, l.Email})
	}
	credentials, err := e.r.Credentials(ctx, s.ID)
	if err != nil {
		return f, err
	}
	for _, c := range credentials {
		switch c.Kind {
		case identity.Password:
			f.PasswordHash, f.MustChange = c.Hash, &c.MustChange
		case identity.TOTP:
			f.Factors.TOTPSealed = string(c.ID) + ":" + base64.StdEncoding.EncodeToString(c.Sealed)
		case identity.EmailCode:
			f.Factors.Email = c.Target
			if c.Target == s.Email {
				f.Factors.Email = true
			}
		case identity.SMSCode:
			f.Factors.SMS = c.Target
		}
	}
	return f, nil
}

func (e *exporter) membership(m identity.Membership) (fileMembership, error) {
	f := fileMembership{Organisation: e.organisations[m.OrganisationID], Site: e.sites[m.SiteID], Role: m.Role}
	own := m.Attributes
	var hub map[string]json.RawMessage
	if json.Unmarshal(own[titan], &hub) == nil && len(hub) == 1 && json.Unmarshal(hub["role"], &f.TitanRole) == nil {
		own = identity.Attributes{}
		for door, text := range m.Attributes {
			if door != titan {
				own[door] = text
			}
		}
	}
	var err error
	f.fileAttributes, err = attributes(own)
	return f, err
}

func (e *exporter) readClients(ctx context.Context) error {
	e.file.Clients = []fileClient{}
	var after identity.ClientID
	for {
		page, err := e.r.Clients(ctx, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, c := range page {
			after = c.ID
			f := fileClient{
				ID: string(c.ID), Name: c.Name, SecretHash: c.SecretHash, Public: c.SecretHash == "", Grants: listed(c.Grants), Scopes: listed(c.Scopes),
				RedirectURIs: listed(c.RedirectURIs), Audiences: listed(c.Audiences), SigningAlg: c.SigningAlg,
				Organisation: orNone(e.organisations[c.OrganisationID]), Device: orNone(e.devices[c.DeviceID]), Suspended: !c.SuspendedAt.IsZero(),
			}
			if f.fileAttributes, err = attributes(c.Attributes); err != nil {
				return err
			}
			e.file.Clients = append(e.file.Clients, f)
		}
	}
}

func (e *exporter) readServices(ctx context.Context) error {
	all, err := e.r.Services(ctx)
	e.file.Services = []fileService{}
	for _, s := range all {
		if s.ExpiresAt.IsZero() { // what registered itself is no part of the described world
			e.file.Services = append(e.file.Services, fileService{s.Type, s.PublicURI, s.PrivateURI})
		}
	}
	return err
}

func (e *exporter) readProviders(ctx context.Context) error {
	all, err := e.r.IdentityProviders(ctx)
	e.file.Providers = []fileProvider{}
	for _, p := range all {
		e.file.Providers = append(e.file.Providers, fileProvider{
			Key: p.Key, Kind: string(p.Kind), Name: p.Name, Issuer: p.Issuer, ClientID: p.ClientID, Tenants: listed(p.Tenants),
			SecretSealed: base64.StdEncoding.EncodeToString(p.Sealed), Email: string(p.EmailTrust), CreateAccounts: p.CreateAccounts,
			Suspended: !p.SuspendedAt.IsZero(),
		})
	}
	return err
}

func attributes(all identity.Attributes) (fileAttributes, error) {
	var f fileAttributes
	for _, door := range sortedDoors(all) {
		v, err := manage.DecodeJSON(all[door])
		if err != nil {
			return f, fmt.Errorf("what door %s keeps is not JSON: %w", door, err)
		}
		switch door {
		case titan:
			f.Titan = v
		case nx:
			f.Nx = v
		case insights:
			f.Insights = v
		case openwifi:
			f.OpenWiFi = v
		default:
			if f.Others == nil {
				f.Others = map[identity.Door]any{}
			}
			f.Others[door] = v
		}
	}
	return f, nil
}
