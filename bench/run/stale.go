package run

import (
	"fmt"
	"os"
	"path/filepath"
)

// workDir is where in a run's directory its clusters' data is while it runs.
const workDir = ".work"

// removeStale removes the clusters' data of runs under out that were killed: nobody holds their locks. What else they left stays, to be resumed. The clusters themselves
// died with the harness. It returns what it removed; one that cannot be removed is for its owner.
func removeStale(out string) []string {
	found, err := filepath.Glob(filepath.Join(out, "*", workDir))
	if err != nil {
		return nil // out is no pattern that Glob understands
	}
	var removed []string
	for _, work := range found {
		lock, err := lockDir(filepath.Dir(work))
		if err != nil {
			continue // another harness works there
		}
		if os.RemoveAll(work) == nil {
			removed = append(removed, fmt.Sprintf("%s of a run that was killed", work))
		}
		_ = lock.Close()
	}
	return removed
}
