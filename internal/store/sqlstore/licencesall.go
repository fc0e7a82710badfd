package sqlstore

import (
	"context"
	"slices"
	"strings"

	"gatehouse/internal/identity"
)

// A list over all organisations looks at every licence there is, in an order that no one index gives. It is found a key of its order
// at a time: an index says which value of the first key the page begins and ends with, and within one value the next key decides.
// Only ids are sorted or passed over, and the page's rows are read at the end.
//
// Two engines that plan differently shall walk the same index. So what an index must not serve is written as an expression (plus 0, or
// with an empty text behind it), and what is looked up for each of a million rows is a LEFT JOIN: SQLite keeps to its order, and
// PostgreSQL hashes its smaller side.

// fewLicences are sorted as they come: reading this many rows costs less than walking an index of all. A variable for tests.
var fewLicences int64 = 10_000

// allLicences is a list over all organisations, or a stretch of it that its order was narrowed down to.
type allLicences struct {
	ctx    context.Context
	q      Querier
	filter identity.LicenceFilter

	agreement identity.AgreementID // the only one
	name      *string              // that agreements have, folded
	dates     []dateRange
	few       bool // the filter leaves at most fewLicences
}

// dateRange is one condition on a date.
type dateRange struct {
	column, is string
	date       int64
}

func (r reader) allLicences(ctx context.Context, f identity.LicenceFilter) allLicences {
	return allLicences{ctx: ctx, q: long{r.q}, filter: f}
}

// long is a Querier for statements that may read whole tables.
type long struct{ Querier }

func (l long) Query(ctx context.Context, query string, args ...any) (Rows, error) {
	return l.QueryLong(ctx, query, args...)
}

// with narrows the list down.
func (a allLicences) with(column, is string, date int64) allLicences {
	a.dates = append(slices.Clip(a.dates), dateRange{column, is, date})
	return a
}

// query is FROM and WHERE, in which the index by agreement may find the licences or may not.
func (a allLicences) query(byAgreement bool) *licenceQuery {
	q := &licenceQuery{from: `licences l`}
	if a.filter.Text != "" {
		text := q.arg(fold(a.filter.Text))
		q.with = `WITH sellers AS MATERIALIZED (SELECT p.id FROM organisations p WHERE ` + contains(organisationName, text) + `) `
		q.from += ` LEFT JOIN sellers s ON s.id = l.provider_id`
		q.where = append(q.where, `(`+contains(`l.code_folded`, text)+
			` OR l.agreement_id IN (SELECT t.id FROM agreements t WHERE `+contains(`t.name_folded`, text)+`) OR s.id IS NOT NULL)`)
	}
	id := `l.agreement_id`
	if !byAgreement {
		id = `(l.agreement_id || '')`
	}
	if of := a.agreements(q); a.agreement != "" {
		q.where = append(q.where, id+` = `+q.arg(string(a.agreement)))
	} else if of != "" {
		q.where = append(q.where, id+` IN (SELECT a.id FROM agreements a`+of+`)`)
	}
	for _, d := range a.dates {
		q.where = append(q.where, d.column+d.is+q.arg(d.date))
	}
	return q
}

// agreements is a condition on agreements a, "" where all will do.
func (a allLicences) agreements(q *licenceQuery) string {
	if a.agreement != "" {
		return ""
	}
	var where []string
	if a.filter.Kind != "" {
		where = append(where, `a.kind_folded = `+q.arg(fold(a.filter.Kind)))
	}
	if a.filter.Agreement != "" {
		text := q.arg(fold(a.filter.Agreement))
		where = append(where, `(a.id = `+text+` OR a.name_folded = `+text+`)`)
	}
	if a.name != nil {
		where = append(where, `a.name_folded = `+q.arg(*a.name))
	}
	if len(where) == 0 {
		return ""
	}
	return ` WHERE ` + strings.Join(where, ` AND `)
}

func (a allLicences) count() (int64, error) {
	q := a.query(a.few || len(a.dates) == 0 && a.filter.Text == "")
	return one(a.ctx, a.q, scanInt, q.with+`SELECT COUNT(*) FROM `+q.text(), q.args...)
}

func scanID(r Rows, id *identity.LicenceID) error { return r.Scan((*string)(id)) }

// ids gives a part of the list, without the rows before it.
func (a allLicences) ids(order []identity.LicenceOrder, offset, limit int64) ([]identity.LicenceID, error) {
	filtered := a.agreement != "" || a.name != nil || a.filter.Kind != "" || a.filter.Agreement != ""
	if filtered && len(a.dates) == 0 && a.filter.Text == "" {
		n, err := a.count()
		if err != nil {
			return nil, err
		}
		a.few = n <= fewLicences
	}
	switch {
	case a.filter.Text != "" || a.few: // no index helps, or none is needed
		return a.sorted(order, offset, limit)
	case len(order) == 0:
		q := a.query(len(a.dates) == 0)
		return list(a.ctx, a.q, scanID, `SELECT l.id FROM `+q.text()+` ORDER BY l.id`+q.page(offset, limit), q.args...)
	case len(a.dates) > 0 || filtered && order[0].By == identity.ByLicenceCode:
		return a.sorted(order, offset, limit)
	case order[0].By == identity.ByAgreementName:
		return a.nextAgreement(order, offset, limit)
	case order[0].By != identity.ByLicenceCode:
		return a.nextDate(order, offset, limit)
	}
	q, by := &licenceQuery{}, direction(order[0])
	return list(a.ctx, a.q, scanID, `SELECT l.id FROM (SELECT x.code_folded FROM licences x ORDER BY x.code_folded`+by+q.page(offset, limit)+`) p
		CROSS JOIN licences l WHERE l.code_folded = p.code_folded ORDER BY l.code_folded`+by, q.args...)
}

// sorted reads all of the list and keeps what is asked for.
func (a allLicences) sorted(order []identity.LicenceOrder, offset, limit int64) ([]identity.LicenceID, error) {
	var by []string
	q := a.query(a.few)
	if a.filter.Text != "" {
		// The same for every row, which PostgreSQL cannot know: it would sort all licences before it looks for the text.
		by = append(by, `COALESCE(s.id = '', FALSE)`)
	}
	for _, o := range order {
		switch column := licenceOrder[o.By]; {
		case o.By == identity.ByAgreementName:
			by = append(by, `n.name_folded`+direction(o))
			q.from += ` LEFT JOIN agreements n ON n.id = l.agreement_id`
		case column.lacks == "":
			by = append(by, `(`+column.column+` || '')`+direction(o))
		default:
			by = append(by, column.lacks, `(`+column.column+` + 0)`+direction(o))
		}
	}
	return list(a.ctx, a.q, scanID, q.with+`SELECT l.id FROM `+q.text()+` ORDER BY `+strings.Join(append(by, `(l.id || '')`), `, `)+q.page(offset, limit), q.args...)
}

func direction(o identity.LicenceOrder) string {
	if o.Descending {
		return ` DESC`
	}
	return ""
}

// nextAgreement goes through the agreements by name, passing over those whose licences all stand before the page.
func (a allLicences) nextAgreement(order []identity.LicenceOrder, offset, limit int64) ([]identity.LicenceID, error) {
	type agreement struct {
		id       identity.AgreementID
		name     string
		licences int64
	}
	q := &licenceQuery{}
	query := `SELECT a.id, a.name_folded, (SELECT COUNT(*) FROM licences l WHERE l.agreement_id = a.id) FROM agreements a` + a.agreements(q) +
		` ORDER BY a.name_folded` + direction(order[0]) + `, a.id`
	all, err := list(a.ctx, a.q, func(r Rows, v *agreement) error { return r.Scan((*string)(&v.id), &v.name, &v.licences) }, query, q.args...)
	if err != nil {
		return nil, err
	}
	var ids []identity.LicenceID
	for i := 0; i < len(all) && int64(len(ids)) < limit; {
		same, licences := i, int64(0)
		for ; i < len(all) && all[i].name == all[same].name; i++ {
			licences += all[i].licences
		}
		if licences <= offset {
			offset -= licences
			continue
		}
		part := a
		if part.name = &all[same].name; i == same+1 {
			part.agreement = all[same].id
		}
		some, err := part.ids(order[1:], offset, limit-int64(len(ids)))
		if err != nil {
			return nil, err
		}
		ids, offset = append(ids, some...), 0
	}
	return ids, nil
}

// nextDate finds the dates at which the page begins and ends. Those without a date stand behind all others.
func (a allLicences) nextDate(order []identity.LicenceOrder, offset, limit int64) ([]identity.LicenceID, error) {
	column, by := licenceOrder[order[0].By].column, direction(order[0])
	before, after := ` < `, ` > `
	if order[0].Descending {
		before, after = after, before
	}
	dated := a.with(column, ` <> `, 0)
	dateAt := func(n int64) (dates []int64, err error) {
		q := dated.query(false)
		return list(a.ctx, a.q, scanInt, `SELECT `+column+` FROM `+q.text()+` ORDER BY `+column+by+q.page(n, 1), q.args...)
	}
	var ids []identity.LicenceID
	take := func(part allLicences, order []identity.LicenceOrder, offset int64) error {
		some, err := part.ids(order, offset, limit-int64(len(ids)))
		ids = append(ids, some...)
		return err
	}
	end, err := dateAt(offset + limit - 1)
	if err != nil {
		return nil, err
	}
	var total int64
	last := offset + limit - 1
	if len(end) == 0 {
		if total, err = dated.count(); err != nil {
			return nil, err
		}
		if last = total - 1; last >= offset {
			if end, err = dateAt(last); err != nil {
				return nil, err
			}
		}
	}
	if last >= offset {
		start, err := dateAt(offset)
		if err != nil {
			return nil, err
		}
		passed, err := dated.with(column, before, start[0]).count()
		if err != nil {
			return nil, err
		}
		if err := take(a.with(column, ` = `, start[0]), order[1:], offset-passed); err != nil {
			return nil, err
		}
		if start[0] != end[0] {
			if err := take(dated.with(column, after, start[0]).with(column, before, end[0]), order, 0); err != nil {
				return nil, err
			}
			if err := take(a.with(column, ` = `, end[0]), order[1:], 0); err != nil {
				return nil, err
			}
		}
	}
	if int64(len(ids)) == limit {
		return ids, nil
	}
	return ids, take(a.with(column, ` = `, 0), order[1:], max(0, offset-total))
}
