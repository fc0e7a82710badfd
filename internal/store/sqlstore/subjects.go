package sqlstore

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"gatehouse/internal/identity"
)

const subjectColumns = `s.id, s.number, s.hash, s.kind, s.email, s.name, s.given_name, s.middle_name, s.family_name,
	s.phone, s.locale, s.superadmin, s.must_verify, COALESCE(s.policy_id, ''), s.owner, s.last_org_id, s.attributes, s.created_by, s.updated_by,
	s.created_at, s.updated_at, s.verified_at, s.suspended_at, s.last_sign_in_at`

func scanSubject(r Rows, s *identity.Subject) error {
	return r.Scan((*string)(&s.ID), &s.Number, &s.Hash, (*string)(&s.Kind), &s.Email, &s.Name, &s.GivenName,
		&s.MiddleName, &s.FamilyName, &s.Phone, &s.Locale, (*truth)(&s.Superadmin), (*truth)(&s.MustVerify), (*string)(&s.PolicyID),
		&s.Owner, (*string)(&s.LastOrgID), (*doorAttributes)(&s.Attributes), &s.CreatedBy, &s.UpdatedBy, at(&s.CreatedAt),
		at(&s.UpdatedAt), at(&s.VerifiedAt), at(&s.SuspendedAt), at(&s.LastSignInAt))
}

func (r reader) Subject(ctx context.Context, id identity.SubjectID) (identity.Subject, error) {
	return one(ctx, r.q, scanSubject, `SELECT `+subjectColumns+` FROM subjects s WHERE s.id = $1`, string(id))
}

func (r reader) SubjectByNumber(ctx context.Context, number int64) (identity.Subject, error) {
	return one(ctx, r.q, scanSubject, `SELECT `+subjectColumns+` FROM subjects s WHERE s.number = $1`, number)
}

func (r reader) SubjectByHash(ctx context.Context, hash string) (identity.Subject, error) {
	if hash == "" {
		return identity.Subject{}, identity.NotFound
	}
	return one(ctx, r.q, scanSubject, `SELECT `+subjectColumns+` FROM subjects s WHERE s.hash = $1 AND s.hash <> ''`, hash)
}

func (r reader) SubjectByLogin(ctx context.Context, folded string) (identity.Subject, error) {
	return one(ctx, r.q, scanSubject, `SELECT `+subjectColumns+`
		FROM logins l JOIN subjects s ON s.id = l.subject_id WHERE l.folded = $1`, folded)
}

// Subjects pages by id, or by matched login where a prefix is asked for: each page is a range of one index, however many
// rows there are. A part of a name or address can be anywhere in the text, so those filters read until a page is full.
func (r reader) Subjects(ctx context.Context, f identity.SubjectFilter) ([]identity.Subject, error) {
	var where []string
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	from, order := `subjects s`, `s.id`
	switch {
	case f.Prefix != "":
		from, order = `logins l JOIN subjects s ON s.id = l.subject_id`, `l.folded`
		low, high := arg(f.Prefix), arg(beyond(f.Prefix))
		where = append(where, `l.folded >= `+low, `l.folded < `+high,
			// A subject stands where her first matching login does.
			`NOT EXISTS (SELECT 1 FROM logins e WHERE e.subject_id = l.subject_id AND e.folded >= `+low+` AND e.folded < l.folded)`)
		if f.After != "" {
			after, err := r.firstLogin(ctx, f.After, f.Prefix)
			if err != nil {
				return nil, err
			}
			where = append(where, `l.folded > `+arg(after))
		}
		if f.OrganisationID != "" {
			where = append(where, `EXISTS (SELECT 1 FROM memberships m WHERE m.organisation_id = `+
				arg(string(f.OrganisationID))+` AND m.subject_id = s.id)`)
		}
	case f.OrganisationID != "":
		from, order = `memberships m JOIN subjects s ON s.id = m.subject_id`, `m.subject_id`
		where = append(where, `m.organisation_id = `+arg(string(f.OrganisationID)), `m.subject_id > `+arg(string(f.After)),
			// Several memberships, one for each site, are one subject.
			`NOT EXISTS (SELECT 1 FROM memberships e WHERE e.organisation_id = m.organisation_id AND e.subject_id = m.subject_id AND e.id < m.id)`)
	case f.After != "":
		where = append(where, `s.id > `+arg(string(f.After)))
	}
	if f.Kind != "" {
		where = append(where, `s.kind = `+arg(string(f.Kind)))
	}
	if f.Owner != "" {
		where = append(where, `s.owner = `+arg(f.Owner), `s.owner <> ''`)
	}
	if f.Name != "" {
		where = append(where, contains(`s.name_folded`, arg(fold(f.Name))))
	}
	if f.Email != "" {
		where = append(where, contains(`s.email_folded`, arg(fold(f.Email))))
	}
	if f.Suspended != nil {
		if *f.Suspended {
			where = append(where, `s.suspended_at <> 0`)
		} else {
			where = append(where, `s.suspended_at = 0`)
		}
	}
	query := `SELECT ` + subjectColumns + ` FROM ` + from
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	query += ` ORDER BY ` + order + ` LIMIT ` + arg(page(f.Limit))
	if f.Offset > 0 {
		query += ` OFFSET ` + arg(int64(f.Offset))
	}
	return list(ctx, r.q, scanSubject, query, args...)
}

// contains is a search for text inside a column. POSITION and INSTR have no common spelling, LIKE has, and its wildcards
// are taken out of the needle; what is searched was folded before, so that case does not matter to either engine's LIKE.
func contains(column, needle string) string {
	return column + ` LIKE '%' || REPLACE(REPLACE(REPLACE(` + needle + `, '!', '!!'), '%', '!%'), '_', '!_') || '%' ESCAPE '!'`
}

// firstLogin gives where a subject stands in a list by prefix. One who has gone since leaves the cursor without meaning.
func (r reader) firstLogin(ctx context.Context, id identity.SubjectID, prefix string) (string, error) {
	folded, err := list(ctx, r.q, func(rows Rows, s *string) error { return rows.Scan(s) },
		`SELECT folded FROM logins WHERE subject_id = $1 AND folded >= $2 AND folded < $3 ORDER BY folded LIMIT 1`,
		string(id), prefix, beyond(prefix))
	if err != nil {
		return "", err
	}
	if len(folded) == 0 {
		return "", identity.Invalid.In("after", "names nobody in this list")
	}
	return folded[0], nil
}

// fold is how names and addresses are compared when a part of them is searched for.
func fold(s string) string { return cases.Fold().String(norm.NFKC.String(s)) }

// idChunk is how many ids one statement looks up: one size, so that one statement is prepared.
const idChunk = 32

const subjectsByID = `SELECT ` + subjectColumns + ` FROM subjects s WHERE s.id IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
	$11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)`

func (r reader) SubjectsByID(ctx context.Context, ids []identity.SubjectID) ([]identity.Subject, error) {
	found := make(map[identity.SubjectID]identity.Subject, len(ids))
	for chunk := range slices.Chunk(ids, idChunk) {
		some, err := list(ctx, r.q, scanSubject, subjectsByID, chunkArgs(chunk)...)
		if err != nil {
			return nil, err
		}
		for _, s := range some {
			found[s.ID] = s
		}
	}
	var all []identity.Subject
	for _, id := range ids {
		if s, ok := found[id]; ok {
			all = append(all, s)
		}
	}
	return all, nil
}

// chunkArgs fills a statement for idChunk ids; fewer are filled up with the last one.
func chunkArgs[ID ~string](chunk []ID) []any {
	args := make([]any, idChunk)
	for i := range args {
		args[i] = string(chunk[min(i, len(chunk)-1)])
	}
	return args
}

func (r reader) NthSubject(ctx context.Context, kind identity.SubjectKind, after identity.SubjectID, skip int) (identity.SubjectID, error) {
	return one(ctx, r.q, func(r Rows, id *identity.SubjectID) error { return r.Scan((*string)(id)) },
		`SELECT id FROM subjects WHERE kind = $1 AND id > $2 ORDER BY id LIMIT 1 OFFSET $3`, string(kind), string(after), int64(max(skip, 0)))
}

func (r reader) CountSubjects(ctx context.Context, kind identity.SubjectKind, owner string) (int, error) {
	query, args := `SELECT COUNT(*) FROM subjects WHERE kind = $1`, []any{string(kind)}
	if owner != "" {
		query, args = query+` AND owner = $2 AND owner <> ''`, append(args, owner)
	}
	n, err := one(ctx, r.q, scanInt, query, args...)
	return int(n), err
}

func (r reader) AnySubject(ctx context.Context) (bool, error) {
	some, err := list(ctx, r.q, scanInt, `SELECT number FROM subjects LIMIT 1`)
	return len(some) > 0, err
}

func (r reader) ActiveSuperadmins(ctx context.Context) (int, error) {
	n, err := one(ctx, r.q, scanInt,
		`SELECT COUNT(*) FROM subjects WHERE superadmin = 1 AND suspended_at = 0 AND (must_verify = 0 OR verified_at <> 0)`)
	return int(n), err
}

const loginColumns = `subject_id, kind, typed, folded, skeleton, is_primary, created_at`

func scanLogin(r Rows, l *identity.Login) error {
	return r.Scan((*string)(&l.SubjectID), (*string)(&l.Kind), &l.Typed, &l.Folded, &l.Skeleton, (*truth)(&l.Primary), at(&l.CreatedAt))
}

func (r reader) Logins(ctx context.Context, id identity.SubjectID) ([]identity.Login, error) {
	return list(ctx, r.q, scanLogin,
		`SELECT `+loginColumns+` FROM logins WHERE subject_id = $1 ORDER BY is_primary DESC, folded LIMIT $2`, string(id), int64(maxPage))
}

func (r reader) LoginBySkeleton(ctx context.Context, skeleton string) (identity.Login, error) {
	return one(ctx, r.q, scanLogin, `SELECT `+loginColumns+` FROM logins WHERE skeleton = $1`, skeleton)
}

func (t *tx) CreateSubject(ctx context.Context, s *identity.Subject) error {
	attrs, err := attributes(s.Attributes)
	if err != nil {
		return err
	}
	s.Number, err = writeInt(ctx, t.q, `INSERT INTO subjects (id, hash, kind, email, email_folded, name, name_folded, given_name,
		middle_name, family_name, phone, locale, superadmin, policy_id, last_org_id, attributes, created_by, updated_by,
		created_at, updated_at, verified_at, suspended_at, last_sign_in_at, must_verify, owner)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, NULLIF($14, ''), $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)
		RETURNING number`,
		string(s.ID), s.Hash, string(s.Kind), s.Email, fold(s.Email), s.Name, fold(s.Name), s.GivenName,
		s.MiddleName, s.FamilyName, s.Phone, s.Locale, flag(s.Superadmin), string(s.PolicyID), string(s.LastOrgID), attrs,
		s.CreatedBy, s.UpdatedBy, micros(s.CreatedAt), micros(s.UpdatedAt), micros(s.VerifiedAt), micros(s.SuspendedAt),
		micros(s.LastSignInAt), flag(s.MustVerify), s.Owner)
	return err
}

func (t *tx) UpdateSubject(ctx context.Context, s identity.Subject) error {
	attrs, err := attributes(s.Attributes)
	if err != nil {
		return err
	}
	return affect(ctx, t.q, `UPDATE subjects SET hash = $2, kind = $3, email = $4, email_folded = $5, name = $6,
		name_folded = $7, given_name = $8, middle_name = $9, family_name = $10, phone = $11, locale = $12, superadmin = $13,
		policy_id = NULLIF($14, ''), last_org_id = $15, attributes = $16, updated_by = $17, updated_at = $18,
		verified_at = $19, suspended_at = $20, last_sign_in_at = $21, must_verify = $22, owner = $23 WHERE id = $1`,
		string(s.ID), s.Hash, string(s.Kind), s.Email, fold(s.Email), s.Name, fold(s.Name), s.GivenName, s.MiddleName,
		s.FamilyName, s.Phone, s.Locale, flag(s.Superadmin), string(s.PolicyID), string(s.LastOrgID), attrs, s.UpdatedBy,
		micros(s.UpdatedAt), micros(s.VerifiedAt), micros(s.SuspendedAt), micros(s.LastSignInAt), flag(s.MustVerify), s.Owner)
}

func (t *tx) DeleteSubject(ctx context.Context, id identity.SubjectID) error {
	if _, err := exec(ctx, t.q, `DELETE FROM sessions WHERE actor_id = $1 AND actor_id <> ''`, string(id)); err != nil {
		return err
	}
	if err := t.DeleteTicketsOf(ctx, id, ""); err != nil {
		return err
	}
	return affect(ctx, t.q, `DELETE FROM subjects WHERE id = $1`, string(id)) // the rest by foreign keys
}

func (t *tx) TouchSignIn(ctx context.Context, id identity.SubjectID, when time.Time) error {
	return affect(ctx, t.q, `UPDATE subjects SET last_sign_in_at = $2 WHERE id = $1`, string(id), micros(when))
}

func (t *tx) SetLastOrg(ctx context.Context, id identity.SubjectID, org identity.OrganisationID) error {
	return affect(ctx, t.q, `UPDATE subjects SET last_org_id = $2 WHERE id = $1`, string(id), string(org))
}

func (t *tx) CreateLogin(ctx context.Context, l identity.Login) error {
	_, err := exec(ctx, t.q, `INSERT INTO logins (`+loginColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		string(l.SubjectID), string(l.Kind), l.Typed, l.Folded, l.Skeleton, flag(l.Primary), micros(l.CreatedAt))
	return err
}

func (t *tx) DeleteLogin(ctx context.Context, folded string) error {
	return affect(ctx, t.q, `DELETE FROM logins WHERE folded = $1`, folded)
}
