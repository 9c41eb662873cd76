//go:build !regency_mutation

package broker

import "github.com/regency-project/regency/broker/partition"

// mutated does nothing: the broken modes that the harness tests itself with are in no ordinary program.
func mutated(logs partition.Logs) partition.Logs { return logs }
