package openwifi_test

import (
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/identity"
)

const field identity.PolicyID = "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7b01"

// fieldPolicy binds the plain user: in the first eight hours of the tests' day, and from where they call.
func (h *house) fieldPolicy(t testing.TB) {
	t.Helper()
	h.Update(func(tx identity.Tx) error {
		for _, p := range []identity.Policy{
			{
				ID: field, Key: "field", Description: "Field teams.", Password: identity.PasswordRule{MinLength: 12, History: 5}, SecondFactor: identity.FactorOptional,
				SessionIdle: 12 * time.Hour, Hours: []identity.Schedule{{Zone: "Europe/Berlin", Windows: []identity.Window{{From: 0, Until: 8 * 60}}}},
				Networks: [][]string{{"192.0.2.0/24"}},
			},
			{ID: "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7b02", Key: "subject:somebody", Description: "hers alone"},
			{ID: "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7b03", Key: "open", Description: "Demands nothing."},
		} {
			p.CreatedAt, p.UpdatedAt = coretest.Start, coretest.Start
			if err := tx.SavePolicy(t.Context(), p); err != nil {
				return err
			}
		}
		s, err := tx.Subject(t.Context(), nobody)
		if err != nil {
			return err
		}
		s.PolicyID = field
		return tx.UpdateSubject(t.Context(), s)
	})
}
