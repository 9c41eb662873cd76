package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/storage"
	"github.com/regency-project/regency/storage/record"
)

// logDir makes the data directory of a broker that was stopped, with one log.
func logDir(t *testing.T, records int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s, err := storage.Open(storage.Options{Dir: filepath.Join(dir, storeDirName), MemoryBudget: storage.MinMemoryBudget})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Log("orders", [16]byte{7}, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int32(records) {
		b := record.Build(record.Options{ProducerID: 42, BaseSequence: i}, record.Record{Timestamp: 1000, Key: []byte("k"), Value: bytes.Repeat([]byte{0xff}, 3)})
		a, err := l.AppendLeader(b, 5, time.UnixMilli(0))
		if err == nil {
			err = a.Pending.Wait()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// output runs the command in this process.
func output(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestLogDump(t *testing.T) {
	dir := logDir(t, 3)
	out, err := output(t, "log", "dump", "--data-dir", dir, "--records")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"format 2", "closed cleanly", "orders-3", "offsets 0 to 3", "epoch 5 from 0", "producer 42 epoch 0: last sequence 2 at offset 2",
		"batch 1-1: epoch 5, 1 records", "crc ok", `2 1970-01-01T00:00:01.000Z key "k" value "0xffffff"`} {
		if !strings.Contains(out, want) {
			t.Errorf("dump does not say %q:\n%s", want, out)
		}
	}
	out, err = output(t, "log", "dump", "--data-dir", filepath.Join(dir, storeDirName), "--json", "--records", "--topic", "orders", "--from", "1", "--to", "2")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for line := range strings.Lines(out) {
		var l struct {
			Kind string
			Data map[string]any
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		kinds = append(kinds, l.Kind)
		if l.Kind == "record" && (l.Data["offset"] != 1.0 || l.Data["key"] != "k") {
			t.Errorf("record %v, want offset 1 with key k", l.Data)
		}
	}
	if got := strings.Join(kinds, " "); got != "store log batch record" {
		t.Errorf("JSON lines of kind %q, want one store, log, batch and record", got)
	}
}

func TestLogVerify(t *testing.T) {
	dir := logDir(t, 3)
	out, err := output(t, "log", "verify", "--data-dir", dir)
	if err != nil || !strings.Contains(out, "1 logs, 3 batches, 3 records") || !strings.Contains(out, "0 faults") {
		t.Errorf("verify = %v:\n%s\nwant 3 batches and no fault", err, out)
	}
}

// TestLogVerifyNamesTheFault flips a bit of a value and looks at output and exit status.
func TestLogVerifyNamesTheFault(t *testing.T) {
	dir := t.TempDir()
	s, err := storage.Open(storage.Options{Dir: dir, MemoryBudget: storage.MinMemoryBudget})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Log("orders", [16]byte{7}, 3)
	if err != nil {
		t.Fatal(err)
	}
	// Enough for a flush, so that values lie in blob files.
	for range 12 {
		b := record.Build(record.NoProducer, record.Record{Value: bytes.Repeat([]byte("findme"), 100_000)})
		if _, err := l.AppendLeader(b, 0, time.UnixMilli(0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.blob"))
	if len(files) == 0 {
		t.Fatal("no blob file")
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.Index(b, []byte("findmefindme"))+1000] ^= 1
	if err := os.WriteFile(files[0], b, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := output(t, "log", "verify", "--data-dir", dir)
	var code exitCode
	if !errors.As(err, &code) || code != 1 || !strings.Contains(out, "orders-3 (log 1) at offset ") || !strings.Contains(out, "batch") {
		t.Errorf("verify = %v:\n%s\nwant exit status 1 and the batch named", err, out)
	}
	out, err = output(t, "log", "verify", "--data-dir", dir, "--json")
	if !errors.As(err, &code) || !strings.Contains(out, `{"kind":"fault","data":{"topic":"orders","partition":3,"log_id":1,"offset":`) {
		t.Errorf("verify --json = %v:\n%s\nwant the fault as an object", err, out)
	}
}

func TestLogRefuses(t *testing.T) {
	dir := logDir(t, 1)
	s, err := storage.Open(storage.Options{Dir: filepath.Join(dir, storeDirName), MemoryBudget: storage.MinMemoryBudget})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct{ args, want []string }{
		{[]string{"log", "dump"}, []string{"--data-dir is missing"}},
		{[]string{"log", "verify", "--data-dir", filepath.Join(dir, "nowhere")}, []string{"nowhere"}},
		{[]string{"log", "verify", "--data-dir", t.TempDir()}, []string{"store.json"}},
		{[]string{"log", "dump", "--data-dir", dir}, []string{"in use", "stop the broker"}},
	} {
		msg := command(t, c.args...)
		for _, want := range c.want {
			if !strings.Contains(msg, want) {
				t.Errorf("%v: %s; want it to say %q", c.args, msg, want)
			}
		}
	}
}
