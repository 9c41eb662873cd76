package run

import (
	"errors"

	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/target"
	"github.com/regency-project/regency/coordination/profile"
)

// checkLinks refuses scenarios whose links cannot be disturbed here, before anything is started.
func checkLinks(backends, profiles []string, scenarios []scenario.Scenario) error {
	seen := make(map[string]bool)
	var errs []error
	for _, s := range scenarios {
		for _, b := range backends {
			for _, p := range profiles {
				if absent(b, p) {
					continue
				}
				if err := target.CheckLinks(s.Cluster.Links, profile.Backend(b), profile.Name(p), s.Cluster.Brokers); err != nil && !seen[err.Error()] {
					seen[err.Error()] = true
					errs = append(errs, err)
				}
			}
		}
	}
	return errors.Join(errs...)
}
