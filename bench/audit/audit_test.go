package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regency-project/regency/bench/check"
)

// program prints the text and ends with the status, whatever it is asked for.
func program(t *testing.T, text, status string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "regency")
	script := "#!/bin/sh\ncat " + filepath.Join(dir, "text") + "\necho something is wrong >&2\nexit " + status + "\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

const dumped = `{"kind":"store","data":{"Dir":"x"}}
{"kind":"log","data":{"topic":"load","partition":1,"start":5,"high_watermark":7,"end":9}}
{"kind":"batch","data":{"topic":"load","partition":1,"base_offset":5,"last_offset":7,"leader_epoch":2,"crc":"ok","crc32c":"00ff"}}
{"kind":"batch","data":{"topic":"load","partition":1,"base_offset":-1,"last_offset":8,"crc":"BAD","error":"checksum"}}
{"kind":"log","data":{"topic":"other","partition":0,"start":0,"high_watermark":0,"end":0}}
{"kind":"batch","data":{"topic":"other","partition":0,"base_offset":0,"last_offset":0,"leader_epoch":0,"crc":"ok","crc32c":"11"}}
`

func TestCopiesAreTakenFromTheDump(t *testing.T) {
	p := check.Partition{Topic: "load", ID: 1}
	copies, err := Copies(t.Context(), program(t, dumped, "0"), "/data", 3, func(q check.Partition) bool { return q == p })
	if err != nil || len(copies) != 1 {
		t.Fatalf("copies %+v, %v", copies, err)
	}
	c := copies[p]
	if c.Broker != 3 || c.Start != 5 || c.HighWatermark != 7 || c.End != 9 || len(c.Batches) != 2 {
		t.Fatalf("copy %+v", c)
	}
	if want := (check.Batch{Base: 5, Last: 7, LeaderEpoch: 2, Sum: "00ff"}); c.Batches[0] != want {
		t.Errorf("batch %+v, want %+v", c.Batches[0], want)
	}
	if c.Batches[1].Sum != "checksum" {
		t.Errorf("a batch that cannot be read counts as %+v", c.Batches[1])
	}
}

func TestADumpThatFailsIsNoEmptyOne(t *testing.T) {
	any := func(check.Partition) bool { return true }
	for want, path := range map[string]string{
		"something is wrong": program(t, dumped, "1"),
		"another form":       program(t, "load-1 is fine\n", "0"),
		"no such file":       filepath.Join(t.TempDir(), "none"),
	} {
		if _, err := Copies(t.Context(), path, "/data", 3, any); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "broker 3") {
			t.Errorf("error = %v, want %q", err, want)
		}
	}
}

func TestFaultsAreToldAndFailuresAreErrors(t *testing.T) {
	found := `{"kind":"fault","data":{"Topic":"load","What":"offsets"}}` + "\n" + `{"kind":"result","data":{"Faults":1}}` + "\n"
	faults, err := Faults(t.Context(), program(t, found, "1"), "/data", 2)
	if err != nil || len(faults) != 1 || !strings.Contains(faults[0], "offsets") {
		t.Errorf("faults %v, %v", faults, err)
	}
	if faults, err = Faults(t.Context(), program(t, `{"kind":"result","data":{}}`+"\n", "0"), "/data", 2); err != nil || len(faults) != 0 {
		t.Errorf("sound: %v, %v", faults, err)
	}
	if _, err = Faults(t.Context(), program(t, "", "1"), "/data", 2); err == nil || !strings.Contains(err.Error(), "something is wrong") {
		t.Errorf("error = %v of a program that could not verify", err)
	}
}
