package target

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// SaveLogs copies the logs and events of all brokers to a directory, for whom must find out why a trial went wrong. What is this machine's alone (where the run, the
// checkout and the user's home are) is left out: runs are published.
func (l *Local) SaveLogs(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save logs: %w", err)
	}
	strip := Anonymous(l.o.Dir)
	var errs []error
	for _, b := range l.brokers {
		errs = append(errs, copyTail(b.spec.LogPath, filepath.Join(dir, fmt.Sprintf("broker-%d.log", b.id)), strip))
	}
	if l.ensemble != nil {
		for _, m := range append(l.ensemble.Members(), l.ensemble.Agents()...) {
			errs = append(errs, copyTail(m.LogPath, filepath.Join(dir, m.Name+".log"), strip))
		}
	}
	return errors.Join(errs...)
}

// Anonymous replaces the paths of this machine, the longest first: dir is RUN.
func Anonymous(dir string) *strings.Replacer {
	places := map[string]string{}
	name := func(path, is string) {
		if abs, err := filepath.Abs(path); err == nil && len(abs) > 1 {
			places[abs] = is
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		name(home, "~")
	}
	name(os.TempDir(), "TMP")
	name(".", "CHECKOUT")
	name(dir, "RUN")
	var pairs []string
	for _, path := range slices.SortedFunc(maps.Keys(places), func(a, b string) int { return cmp.Compare(len(b), len(a)) }) {
		pairs = append(pairs, path, places[path])
	}
	return strings.NewReplacer(pairs...)
}

// maxLog bounds what is kept of one log: its end.
const maxLog = 1 << 20

func copyTail(from, to string, strip *strings.Replacer) error {
	in, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("save log: %w", err)
	}
	defer in.Close()
	if info, err := in.Stat(); err == nil && info.Size() > maxLog {
		if _, err := in.Seek(-maxLog, io.SeekEnd); err != nil {
			return fmt.Errorf("save log: %w", err)
		}
	}
	data, err := io.ReadAll(in)
	if err == nil {
		err = os.WriteFile(to, []byte(strip.Replace(string(data))), 0o644)
	}
	if err != nil {
		return fmt.Errorf("save log: %w", err)
	}
	return nil
}
