package archive

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
)

// Bounds of what is published: a repository keeps it for ever.
const (
	maxFile  = 24 << 20
	maxTotal = 48 << 20
	maxFiles = 1000
)

// ErrUnfit is wrapped when a run must not be published; the problems are joined to it.
var ErrUnfit = errors.New("the run cannot be published")

// PublishOptions say what is asked of a run.
type PublishOptions struct {
	// Private are texts that must not be in any file, such as this machine's name and the user's directories.
	Private []string
	// Partial lets a run be published that has fewer valid trials than it planned, or backends that did not run. Broken promises are never published.
	Partial bool
}

// Publish checks a run directory and copies it below into, under its own name. It returns where it stands then. Either the whole run is there or nothing.
func Publish(dir, into string, o PublishOptions) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("publish: %w", err)
	}
	to := filepath.Join(into, filepath.Base(abs))
	if _, err := os.Lstat(to); err == nil {
		return "", fmt.Errorf("publish: %s is there already: published runs are never replaced", to)
	}
	problems, err := Unfit(dir, o)
	if err != nil {
		return "", fmt.Errorf("publish: %w", err)
	}
	if len(problems) > 0 {
		return "", fmt.Errorf("publish %s: %w:\n  - %s", dir, ErrUnfit, strings.Join(problems, "\n  - "))
	}
	if err := os.MkdirAll(into, 0o755); err != nil {
		return "", fmt.Errorf("publish: %w", err)
	}
	half, err := os.MkdirTemp(into, ".publishing-")
	if err != nil {
		return "", fmt.Errorf("publish: %w", err)
	}
	defer os.RemoveAll(half)
	if err := errors.Join(os.Chmod(half, 0o755), os.CopyFS(half, os.DirFS(abs))); err != nil {
		return "", fmt.Errorf("publish: %w", err)
	}
	if err := os.Rename(half, to); err != nil {
		return "", fmt.Errorf("publish: %w", err)
	}
	return to, nil
}

// Unfit lists why a run must not be published; nothing when it may.
func Unfit(dir string, o PublishOptions) ([]string, error) {
	r, err := Open(dir)
	if err != nil {
		return nil, err
	}
	problems := unfinished(r, o)
	for _, name := range []string{TimelineFile, "report.html", "report.md"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			problems = append(problems, name+" is missing: `regency bench reanalyze` makes reports again")
		}
	}
	files, err := inspect(dir, o.Private)
	if problems = append(problems, files...); err != nil || len(problems) > 0 {
		return problems, err // the last check takes the longest
	}
	_, changes, _, err := Reanalyze(dir)
	if err == nil && len(changes) > 0 {
		problems = append(problems, fmt.Sprintf("%d figures are not those of its timeline, the first is %s (%s in the file, %s computed): `regency bench reanalyze` mends them", len(changes), changes[0].Where, changes[0].Before, changes[0].After))
	}
	return problems, err
}

// unfinished says what a run did not do that it set out to.
func unfinished(r Record, o PublishOptions) []string {
	var problems []string
	v := r.Run.Verdict
	if n := len(v.Violations); n > 0 {
		problems = append(problems, fmt.Sprintf("it broke %d promises, first %s in %s: that is a finding about the brokers and no comparison", n, v.Violations[0].Check, v.Violations[0].Trial))
	}
	if v.Lost > 0 {
		problems = append(problems, fmt.Sprintf("%d acknowledged records were lost", v.Lost))
	}
	if r.Manifest.DurationS == 0 {
		problems = append(problems, "it did not come to its end")
	}
	if v.Trials == 0 {
		problems = append(problems, "no trial of it counts")
	}
	if rev := r.Run.Revision; rev == "unknown" || strings.HasSuffix(rev, "+changes") {
		problems = append(problems, fmt.Sprintf("its revision is %q, so that nobody can tell what ran: start from a clean checkout", rev))
	}
	if o.Partial {
		return problems
	}
	for _, list := range [][]string{v.Short, v.Failed} {
		for _, p := range list {
			problems = append(problems, p+" (--partial publishes it all the same)")
		}
	}
	for _, b := range r.Run.Backends {
		if b.Status == metrics.StatusNotRun {
			problems = append(problems, b.Name+" did not run: "+b.Reason+" (--partial publishes it all the same)")
		}
	}
	return problems
}

// homes are directories in which people and programs have their own things.
var homes = regexp.MustCompile(`(^|[^A-Za-z0-9_.<>/-])(/(?:home|root|Users|tmp|work|workspace|mnt|private|var/folders|opt|srv)/[A-Za-z0-9_.-]+|[A-Z]:\\Users\\)`)

// homeStarts are what an expression of homes begins with.
var homeStarts = []string{"/home/", "/root/", "/Users/", "/tmp/", "/work", "/mnt/", "/private/", "/var/folders/", "/opt/", "/srv/", `:\Users\`}

// inspect looks at every file: its kind, its size, and whether it names this machine.
func inspect(dir string, private []string) ([]string, error) {
	var problems []string
	files, total := 0, int64(0)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			if err == nil && path != dir && strings.HasPrefix(e.Name(), ".") {
				problems = append(problems, rel(dir, path)+" is a working directory: the run is not over, or was not tidied up")
				return fs.SkipDir
			}
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			problems = append(problems, rel(dir, path)+" is no ordinary file")
			return nil
		}
		files++
		total += info.Size()
		if info.Size() > maxFile {
			problems = append(problems, fmt.Sprintf("%s has %d MB, at most %d are published", rel(dir, path), info.Size()>>20, maxFile>>20))
			return nil
		}
		found, err := privateText(path, private)
		if err != nil {
			return fmt.Errorf("inspect %s: %w", path, err)
		}
		if found != "" {
			problems = append(problems, fmt.Sprintf("%s names this machine: %q", rel(dir, path), found))
		}
		return nil
	})
	if files > maxFiles {
		problems = append(problems, fmt.Sprintf("it has %d files, at most %d are published", files, maxFiles))
	}
	if total > maxTotal {
		problems = append(problems, fmt.Sprintf("it has %d MB, at most %d are published", total>>20, maxTotal>>20))
	}
	return problems, err
}

func rel(dir, path string) string {
	if r, err := filepath.Rel(dir, path); err == nil {
		return filepath.ToSlash(r)
	}
	return path
}

// privateText returns the first text of a file that belongs to this machine alone.
func privateText(path string, private []string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var text io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return "", err
		}
		text = z
	}
	lines := bufio.NewReader(text)
	for {
		line, err := lines.ReadString('\n')
		for _, p := range private {
			if p != "" && strings.Contains(line, p) {
				return p, nil
			}
		}
		if slices.ContainsFunc(homeStarts, func(s string) bool { return strings.Contains(line, s) }) { // much faster than the expression
			if m := homes.FindStringSubmatch(line); m != nil {
				return m[2], nil
			}
		}
		if err == io.EOF {
			return "", nil
		}
		if err != nil {
			return "", err
		}
	}
}
