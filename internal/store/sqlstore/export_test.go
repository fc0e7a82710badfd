package sqlstore

import "testing"

// SetFewLicences has a test walk the indexes without making as many licences as are worth it.
func SetFewLicences(t *testing.T, n int64) {
	before := fewLicences
	fewLicences = n
	t.Cleanup(func() { fewLicences = before })
}
