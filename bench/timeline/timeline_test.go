package timeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWriteAndReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "timeline.jsonl.gz")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w.EmitAt(20, Fault{Trial: "a/1", Step: StepEffect, Broker: 3})
	broker, err := Parse([]byte(`{"t":10,"broker":2,"pid":77,"event":"registration.gone","id":3}`))
	if err != nil {
		t.Fatal(err)
	}
	w.Add(broker)
	if got := w.Recent(); len(got) != 2 || got[0].Name != "registration.gone" || got[0].Broker != 2 {
		t.Errorf("Recent() = %+v, want the broker's event first", got)
	}
	if err := w.Cut(); err != nil {
		t.Fatal(err)
	}
	if got := w.Recent(); len(got) != 0 {
		t.Errorf("Recent() after Cut = %d events, want 0", len(got))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	events, err := Read(path)
	if err != nil || len(events) != 2 {
		t.Fatalf("Read = %d events, %v; want 2", len(events), err)
	}
	var f Fault
	if err := events[1].Decode(&f); err != nil || f.Broker != 3 || f.Step != StepEffect || events[1].Trial != "a/1" {
		t.Errorf("decoded %+v, %v", f, err)
	}
	if events[1].Broker != 0 {
		t.Errorf("the harness's event about broker 3 is attributed to broker %d", events[1].Broker)
	}
	if _, err := Create(path); err == nil {
		t.Error("Create over an existing timeline succeeded")
	}
}

func TestReadFromNamesTheBadLine(t *testing.T) {
	_, err := ReadFrom(strings.NewReader("{\"t\":1,\"event\":\"a\"}\nrubbish\n{\"t\":2,\"event\":\"b\"}\n"))
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error = %v, want line 2", err)
	}
	events, err := ReadFrom(strings.NewReader("{\"t\":1,\"event\":\"a\"}\n{\"t\":2,\"ev"))
	if err != nil || len(events) != 1 {
		t.Errorf("a cut last line: %d events, %v; want 1 and no error", len(events), err)
	}
}

func TestTailReturnsWholeLinesOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	tail := Tail{Path: path}
	if got, err := tail.Next(); err != nil || len(got) != 0 {
		t.Fatalf("Next before the file exists = %d, %v", len(got), err)
	}
	write := func(s string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	write("{\"t\":1,\"pid\":5,\"broker\":1,\"event\":\"a\"}\n{\"t\":2,")
	if got, err := tail.Next(); err != nil || len(got) != 1 {
		t.Fatalf("Next = %d, %v; want 1", len(got), err)
	}
	write("\"pid\":5,\"broker\":1,\"event\":\"b\"}\n")
	got, err := tail.Next()
	if err != nil || len(got) != 1 || got[0].Name != "b" {
		t.Fatalf("Next = %+v, %v; want b", got, err)
	}
}
