package coordtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// stripsMonotonic finds what takes the monotonic reading from a time: such a time must decide nothing.
var stripsMonotonic = regexp.MustCompile(`\.(UnixNano|UnixMicro|UnixMilli|Unix)\(\)|\.Round\(0\)|\.UTC\(\)|\.Local\(\)|\.AddDate\(|\.MarshalJSON\(\)`)

// TestNoDecisionByTheWallClock: no package below this module's root but the benchmark, which writes when it ran, strips a time of its monotonic reading.
func TestNoDecisionByTheWallClock(t *testing.T) {
	checked := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "coordbench" || d.Name() == "coordtest" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		checked++
		for i, line := range strings.Split(string(source), "\n") {
			if found := stripsMonotonic.FindString(line); found != "" {
				t.Errorf("%s:%d: %s strips the monotonic clock's reading", path, i+1, found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 50 {
		t.Errorf("%d files checked: the module is not where it was", checked)
	}
}
