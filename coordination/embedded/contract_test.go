package embedded_test

import (
	"fmt"
	"testing"

	"github.com/regency-project/regency/coordination/backend/backendtest"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
)

// TestStoreContract holds what every store promises, of the one that the coordinator is built on.
func TestStoreContract(t *testing.T) {
	c := startCluster(t)
	clusters := 0
	backendtest.Run(t, func(t *testing.T) backendtest.Harness {
		clusters++
		return ensembletest.StoreHarness(t, openStore, func(suffix string) string { return fmt.Sprintf("%s&prefix=store%d%s", c.url, clusters, suffix) })
	})
}
