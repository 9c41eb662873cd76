package etcd_test

import (
	"testing"

	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// TestStoreContract holds what every store promises; what only this one does is in TestStore.
func TestStoreContract(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	ensembletest.Stores(t, ensembletest.Start(t, profile.Etcd, profile.Tuned), openStore)
}
