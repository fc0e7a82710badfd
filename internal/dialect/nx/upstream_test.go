package nx_test

import (
	"encoding/json"
	"testing"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/config"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/factor/nxcloud/nxcloudtest"
)

const cloudPassword = "correct horse 7 battery"

// upstream is a house whose Nx accounts another cloud knows.
type upstream struct {
	*house
	cloud *nxcloudtest.Cloud
}

func newUpstream(t testing.TB, configure ...func(*config.Config)) *upstream {
	t.Helper()
	clock := coretest.NewClock(coretest.Start)
	cloud := nxcloudtest.New(t, clock.Now, []nxcloudtest.Account{
		{ID: "c1a2a000-0000-4000-8000-000000000001", Email: "clara@cloud.test", Name: "Clara", Password: cloudPassword},
		{ID: "c1a2a000-0000-4000-8000-000000000002", Email: "otto@cloud.test", Name: "Otto", Password: cloudPassword, TOTP: sharedKey},
		{ID: "c1a2a000-0000-4000-8000-000000000003", Email: "ada@example.test", Name: "Another Ada", Password: cloudPassword},
		{ID: "c1a2a000-0000-4000-8000-000000000004", Email: "blocked@cloud.test", Password: cloudPassword, Blocked: true},
		{ID: "c1a2a000-0000-4000-8000-000000000005", Email: "new@cloud.test", Password: cloudPassword, NotActivated: true},
	}, []nxcloudtest.System{
		{ID: harbour, Name: "Harbour VMS", Users: []string{"clara@cloud.test", "otto@cloud.test"}},
		{ID: vault, Name: "Vault", Users: []string{"clara@cloud.test"}, WantsFactor: true},
	})
	h := newHouseWith(t, apptest.Options{Clock: clock}, append(configure, func(c *config.Config) { c.Nx.Upstream = cloud.URL })...)
	return &upstream{h, cloud}
}

// pluginToken is a refresh token of the cloud, as a plugin has one of its user.
func (u *upstream) pluginToken(t testing.TB, email string) string {
	t.Helper()
	g, err := u.Cloud.Upstream.Password(t.Context(), email, cloudPassword, "")
	if err != nil {
		t.Fatal(err)
	}
	return g.Refresh.Reveal()
}

// field reads a member of an answer.
func field(t testing.TB, a answer, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	text, _ := m[name].(string)
	return text
}
