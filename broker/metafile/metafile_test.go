package metafile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regency-project/regency/coordination"
)

func TestWriteRead(t *testing.T) {
	dir := t.TempDir()
	if _, ok, err := Read(dir); ok || err != nil {
		t.Fatalf("Read(empty directory) = %v, %v; want nothing", ok, err)
	}
	want := Meta{Format: Format, Broker: 3, Cluster: "c", Directory: "d", Epoch: 7, Seq: 1 << 60}
	for range 2 { // over nothing, and over itself
		if err := Write(dir, want); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := Read(dir); got != want || !ok || err != nil {
			t.Fatalf("Read = %+v, %v, %v; want %+v", got, ok, err, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v; want only %s", entries, err, Name)
	}
	if err := Write(filepath.Join(dir, "missing"), want); err == nil {
		t.Error("Write to a missing directory succeeded")
	}
}

func TestReadRefuses(t *testing.T) {
	for content, want := range map[string]error{
		"":                     ErrCorrupt,
		"{":                    ErrCorrupt,
		`{"format":1}`:         ErrCorrupt,
		`{"format":2}`:         ErrFormat,
		`{"format":"1"}`:       ErrCorrupt,
		"\x00\x00\x00\x00\x00": ErrCorrupt,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, Name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := Read(dir); ok || !errors.Is(err, want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("Read(%q) = %v, %v; want %v that names %s", content, ok, err, want, dir)
		}
	}
}

func TestChecks(t *testing.T) {
	m := Meta{Broker: 1, Cluster: "mine", Epoch: 5, Seq: 100}
	if err := m.CheckBroker("/d", 1); err != nil {
		t.Errorf("CheckBroker(own id) = %v", err)
	}
	if err := m.CheckBroker("/d", 2); !errors.Is(err, ErrRefused) {
		t.Errorf("CheckBroker(another id) = %v, want ErrRefused", err)
	}
	for _, test := range []struct {
		name  string
		m     Meta
		st    coordination.Status
		names []string // nil: accepted
	}{
		{"first start, empty store", Meta{}, coordination.Status{}, nil},
		{"first start, a cluster is there", Meta{}, coordination.Status{Exists: true, Lineage: "theirs"}, nil},
		{"as left", m, coordination.Status{Exists: true, Lineage: "mine", Epoch: 5, Seq: 100}, nil},
		{"moved on", m, coordination.Status{Exists: true, Lineage: "mine", Epoch: 6, Seq: 101}, nil},
		{"empty", m, coordination.Status{}, []string{"mine", "empty", "--coordination"}},
		{"another cluster", m, coordination.Status{Exists: true, Lineage: "theirs", Epoch: 9, Seq: 900}, []string{"mine", "theirs"}},
		{"older commit", m, coordination.Status{Exists: true, Lineage: "mine", Epoch: 5, Seq: 99}, []string{"commit 100", "commit 99"}},
		{"older epoch", m, coordination.Status{Exists: true, Lineage: "mine", Epoch: 4, Seq: 100}, []string{"epoch 5", "epoch 4"}},
	} {
		err := test.m.CheckCluster("/d", "etcd", test.st)
		if (err != nil) != (test.names != nil) || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: CheckCluster = %v", test.name, err)
			continue
		}
		for _, name := range test.names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%s: CheckCluster = %q, want it to name %q", test.name, err, name)
			}
		}
	}
}
