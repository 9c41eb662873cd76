package run

import "github.com/regency-project/regency/bench/metrics"

// Environment describes this machine and the disk under dir, which must exist, for benchmarks that are wired elsewhere but report as runs do.
func Environment(dir string) (metrics.Environment, error) { return environment(dir) }

// Revision is the checkout's git revision, "unknown" outside of one, and says when files differ from it.
func Revision() string { return revision() }
