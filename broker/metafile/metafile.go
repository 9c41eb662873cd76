// Package metafile keeps meta.json, which says what a data directory belongs to, so that a broker never starts with a directory of another broker or cluster, or
// against a coordination store that has lost what this broker has already seen.
//
//	{"format":1,"broker":1,"cluster":"<uuid>","directory":"<uuid>","epoch":7,"seq":4711}
package metafile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/regency-project/regency/coordination"
)

// Name of the file in the data directory.
const Name = "meta.json"

// Format is the version that this program writes; it reads no other.
const Format = 1

var (
	// ErrCorrupt: the file cannot be read as what it should be. Restore it, or start with an empty data directory.
	ErrCorrupt = errors.New("meta.json is corrupt")
	// ErrFormat: another version of this program wrote the file. Run that version.
	ErrFormat = errors.New("meta.json has an unknown format")
	// ErrRefused: the directory does not belong to this broker, or not to this coordination store. The text names both sides and the remedy.
	ErrRefused = errors.New("data directory refused")
)

// Meta is what a data directory belongs to.
type Meta struct {
	Format    int    `json:"format"`
	Broker    int32  `json:"broker"`
	Cluster   string `json:"cluster,omitempty"` // lineage of the coordination store; empty before the first start succeeded
	Directory string `json:"directory"`         // UUID of the log store in the directory
	Epoch     int32  `json:"epoch"`             // highest controller epoch seen
	Seq       uint64 `json:"seq"`               // highest sequence number written here; more may have been seen
}

// Read reads the file of a data directory. A directory without one gives ok = false.
func Read(dir string) (m Meta, ok bool, err error) {
	path := filepath.Join(dir, Name)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Meta{}, false, nil
	}
	if err != nil {
		return Meta{}, false, fmt.Errorf("read meta.json: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return Meta{}, false, fmt.Errorf("%w: %s: %w; restore it from a copy, or start this broker with an empty data directory", ErrCorrupt, path, err)
	}
	if m.Format != Format {
		return Meta{}, false, fmt.Errorf("%w: %s has format %d, this program reads %d; run the version that wrote it", ErrFormat, path, m.Format, Format)
	}
	if m.Directory == "" || m.Broker < 0 {
		return Meta{}, false, fmt.Errorf("%w: %s names broker %d and directory %q; restore it from a copy", ErrCorrupt, path, m.Broker, m.Directory)
	}
	return m, true, nil
}

// Write replaces the file: it is wholly there, old or new, after any crash.
func Write(dir string, m Meta) error {
	m.Format = Format
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write meta.json: %w", err)
	}
	if err := replace(dir, append(b, '\n')); err != nil {
		return fmt.Errorf("write meta.json: %w", err)
	}
	return nil
}

func replace(dir string, b []byte) (err error) {
	f, err := os.CreateTemp(dir, Name+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(dir, Name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil // the rename is done; some systems do not open directories
	}
	return errors.Join(d.Sync(), d.Close())
}

// CheckBroker refuses the directory of another broker.
func (m Meta) CheckBroker(dir string, id int32) error {
	if m.Broker != id {
		return fmt.Errorf("%w: %s belongs to broker %d, and this is broker %d; give each broker a data directory of its own, or start it with id %d",
			ErrRefused, dir, m.Broker, id, m.Broker)
	}
	return nil
}

// CheckCluster refuses a coordination store that is not the one that the directory has been with, or that is older than what was seen here.
func (m Meta) CheckCluster(dir, backend string, st coordination.Status) error {
	switch {
	case m.Cluster == "":
		return nil
	case !st.Exists:
		return fmt.Errorf("%w: %s belongs to cluster %s, and the %s store is empty; point --coordination at the cluster's own store or restore that store, or start with an empty data directory to make a new cluster",
			ErrRefused, dir, m.Cluster, backend)
	case st.Lineage != m.Cluster:
		return fmt.Errorf("%w: %s belongs to cluster %s, and the %s store to cluster %s; point --coordination at the cluster's own store, or start with an empty data directory to join the other",
			ErrRefused, dir, m.Cluster, backend, st.Lineage)
	case st.Epoch < m.Epoch || st.Seq < m.Seq:
		return fmt.Errorf("%w: %s has seen controller epoch %d and commit %d, and the %s store is at epoch %d and commit %d; it was set back, by a restored backup or a lost disk: restore its newest state, or start with an empty data directory to give up what this broker knows",
			ErrRefused, dir, m.Epoch, m.Seq, backend, st.Epoch, st.Seq)
	}
	return nil
}
