package bench

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/sqlite"
	"gatehouse/internal/store/storetest"
)

// BenchmarkLicenceList asks GET /licenses for an organisation's 100 licences, with every filter and order, in two houses in turns: one
// has 1 000 licences, the other a million. ratio is the greatest over all of them of the time among a million divided by that among a
// thousand, each the least of many: 1 says that it does not matter how many licences others have. mean is the same of all together.
// A later page of few is asked for as well.
//
// all-ms is a superadmin's first page of the million, and all-worst-ms the slowest of some that she may ask for. They have no mark but
// the door's five seconds.
func BenchmarkLicenceList(b *testing.B) {
	engines(b, func(b *testing.B, url string) {
		few := licensed(b, url, 1000)
		if url != "" {
			url = storetest.PostgresURL(b)
		}
		many := licensed(b, url, 1_000_000)
		var targets []string
		orders := []string{
			"", "AgreementName", "-AgreementName", "LicenseKey", "-LicenseKey", "StartsAt", "-StartsAt", "ExpiresAt", "-ExpiresAt",
			"AgreementName,-ExpiresAt", "-AgreementName,StartsAt,LicenseKey", "ExpiresAt,-StartsAt,AgreementName,LicenseKey",
		}
		ask := func(page, filter, order string) string {
			if order != "" {
				order = "&OrderBy=" + order
			}
			return "/auth/licenses?" + page + filter + order
		}
		for _, order := range orders {
			for _, filter := range []string{
				"", "&q=bulk", "&q=code-9", "&Kind=TRIAL", "&Agreement=bulk%20agreement%201", "&Agreement=" + bulkAgreement + "2", "&Device=" + bulkDevice,
				"&q=code&Kind=trial&Device=" + bulkDevice,
			} {
				targets = append(targets, ask("Limit=100", filter, order))
			}
			targets = append(targets, ask("Limit=5&Offset=90", "", order), ask("Limit=5&Offset=20", "&Kind=trial", order))
		}
		least := map[string][2]time.Duration{}
		for b.Loop() {
			for range 30 { // a machine that does other things besides needs many to show its least
				for _, target := range targets {
					a, z := few.ask(b, target), many.ask(b, target)
					if t, ok := least[target]; ok {
						a, z = min(a, t[0]), min(z, t[1])
					}
					least[target] = [2]time.Duration{a, z}
				}
			}
		}
		worst := 0.0
		var all [2]time.Duration
		for target, t := range least {
			if ratio := float64(t[1]) / float64(t[0]); ratio > worst {
				worst = ratio
				b.Logf("%.2f (%v, %v): %s", ratio, t[0], t[1], target)
			}
			all[0], all[1] = all[0]+t[0], all[1]+t[1]
		}
		everybodys := many
		everybodys.token = many.all
		slowest := everybodys.least(b, ask("Limit=100", "", ""), 5)
		b.ReportMetric(slowest.Seconds()*1e3, "all-ms")
		for _, order := range orders {
			for _, part := range []string{"", "&Offset=400000", "&Kind=trial", "&q=code-9"} {
				target := ask("Limit=100", part, order)
				if took := everybodys.least(b, target, 2); took > slowest {
					slowest = took
					b.Logf("%v: %s", took, target)
				}
			}
		}
		b.ReportMetric(slowest.Seconds()*1e3, "all-worst-ms")
		b.ReportMetric(worst, "ratio")
		b.ReportMetric(float64(all[1])/float64(all[0]), "mean")
		b.ReportMetric(float64(all[1].Microseconds())/float64(len(targets))/1e3, "ms/page")
		b.ReportMetric(0, "ns/op")
	})
}

// licences is a house with many of them.
type licences struct {
	*served
	handler http.Handler
	token   string
	all     string // a superadmin's
}

// least is the shortest of some tries.
func (l licences) least(b *testing.B, target string, tries int) time.Duration {
	least := l.ask(b, target)
	for range tries - 1 {
		least = min(least, l.ask(b, target))
	}
	return least
}

func (l licences) ask(b *testing.B, target string) time.Duration {
	r := httptest.NewRequest("GET", target, nil)
	r.Header.Set("Authorization", "Bearer "+l.token)
	w := httptest.NewRecorder()
	began := time.Now()
	l.handler.ServeHTTP(w, r)
	took := time.Since(began)
	if w.Code == http.StatusServiceUnavailable && l.token == l.all {
		return took // the door's deadline
	}
	if w.Code != http.StatusOK || w.Body.Len() < 200 {
		b.Fatalf("%s: %d %s", target, w.Code, w.Body)
	}
	return took
}

const (
	bulkAgreement = "019b76df-0000-7000-8000-00000000000"
	bulkDevice    = "019b76de-0000-7000-8000-000000000001"
	bulkStep      = 100_000 // rows of one transaction
)

// licensed makes a house with total licences, of which 100 are ada's organisation's, spread evenly among the others'.
func licensed(b *testing.B, url string, total int) licences {
	b.Helper()
	s := serve(b, url)
	ctx := b.Context()
	var acme identity.Organisation
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		if acme, err = tx.OrganisationByKey(ctx, "acme"); err != nil {
			return err
		}
		for i := range 4 {
			err := tx.SaveAgreement(ctx, identity.Agreement{
				ID: identity.AgreementID(fmt.Sprint(bulkAgreement, i)), Key: fmt.Sprint("bulk-", i), Name: fmt.Sprint("Bulk agreement ", i), Kind: []string{"trial", "subscription"}[i%2],
				Provides: []string{"inference", "manager"}, PublishedAt: time.Unix(1, 0),
			})
			if err != nil {
				return err
			}
		}
		return tx.SaveDevice(ctx, identity.Device{ID: bulkDevice, Key: "bulk", OrganisationID: acme.ID})
	})
	if err != nil {
		b.Fatal(err)
	}
	var statements []string
	for from := 0; from < total; from += bulkStep {
		to := min(from+bulkStep, total)
		statements = append(statements, fmt.Sprintf(bulkOrganisations, from/100, to/100-1), fmt.Sprintf(bulkLicences, from, to-1, total/100, acme.ID))
	}
	// By the verbs it would take an hour.
	s.bulk(b, url, append(statements, "ANALYZE"))
	err = s.Store.Update(ctx, func(tx identity.Tx) error { // every fifth of hers names the device
		list, err := tx.Licences(ctx, identity.LicenceFilter{OrganisationID: acme.ID, Limit: 100})
		if err == nil && len(list) != 100 {
			err = fmt.Errorf("%d licences", len(list))
		}
		for i := 0; i < len(list) && err == nil; i += 5 {
			_, err = tx.TakeSeat(ctx, list[i].ID, bulkDevice, time.Now())
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	tokens := s.tokens(b)
	return licences{s, s.Handler(), tokens["nx"], tokens["nx root"]}
}

// Organisations and licences from one number to another. Neighbours differ in everything that a list is ordered by; ten organisations
// sell them all, so that a page refers to as many in either house.
const (
	bulkOrganisations = `WITH RECURSIVE n(i) AS (SELECT CAST(%d AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO organisations (id, hash, org_key, name, attributes, created_at, updated_at, expires_at, name_folded)
		SELECT '019b76dc-0000-7000-8000-' || substr(CAST(1000000000000 + i * 7919 %% 1000003 AS TEXT), 2), '', 'bulk-' || i, 'Bulk ' || i, '{}', 0, 0, 0, 'bulk ' || i FROM n`
	bulkLicences = `WITH RECURSIVE n(i) AS (SELECT CAST(%[1]d AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < %[2]d)
		INSERT INTO licences (id, licence_key, code, code_folded, agreement_id, organisation_id, provider_id, signed_by, signed_at, starts_at, expires_at, grace,
			paid_until_at, amount_per_month, discount_bp, catalogues, seats, taken, revoked_at, revoked_for, documents_end_at, notice_at, created_at, updated_at)
		SELECT '019b76dd-0000-7000-8000-' || substr(CAST(1000000000000 + i AS TEXT), 2), 'bulk-' || i, 'CODE-' || (i * 7919 %% 1000003) || '-' || i,
			'code-' || (i * 7919 %% 1000003) || '-' || i, '019b76df-0000-7000-8000-00000000000' || (i * 31 / 7 %% 4),
			CASE WHEN i %% %[3]d = 0 THEN '%[4]s' ELSE '019b76dc-0000-7000-8000-' || substr(CAST(1000000000000 + i / 100 * 7919 %% 1000003 AS TEXT), 2) END,
			'019b76dc-0000-7000-8000-' || substr(CAST(1000000000000 + i / %[3]d %% 10 * 7919 %% 1000003 AS TEXT), 2), '', 0,
			1700000000000000 + (i * 104729 %% 1000) * 86400000000, CASE WHEN i %% 3 = 0 THEN 0 ELSE 1800000000000000 + (i * 1299709 %% 1000) * 86400000000 END,
			0, 0, 4900, 0, '[]', 2, 0, 0, '', 0, 0, 1700000000000000 + i, 0 FROM n`
)

// bulk runs statements beside the house.
func (s *served) bulk(b *testing.B, url string, statements []string) {
	b.Helper()
	var run func(ctx context.Context, text string) error
	if url != "" {
		conn, err := pgx.Connect(b.Context(), url)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close(context.Background())
		run = func(ctx context.Context, text string) error { _, err := conn.Exec(ctx, text); return err }
	} else {
		db, err := sql.Open("sqlite", filepath.Join(s.Config.Data, sqlite.FileName)+"?_pragma=busy_timeout(60000)")
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		run = func(ctx context.Context, text string) error { _, err := db.ExecContext(ctx, text); return err }
	}
	for _, text := range statements {
		if err := run(b.Context(), text); err != nil {
			b.Fatalf("%v: %.200s", err, text)
		}
	}
}
