package timeline

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// interrupted makes a timeline of two finished blocks and half a third one, cut off in the middle of a line, as kill -9 leaves it.
func interrupted(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "timeline.jsonl.gz")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for block := 1; block <= 2; block++ {
		w.EmitAt(int64(100*block), BlockStarted{Block: block})
		w.EmitAt(int64(100*block+9), BlockEnded{Block: block})
		w.Emit(BlockFinished{Block: block, Missing: block - 1})
		if err := w.Cut(); err != nil {
			t.Fatal(err)
		}
	}
	w.EmitAt(300, BlockStarted{Block: 3})
	w.EmitAt(301, TrialStarted{Trial: "half", Block: 3})
	if err := w.Cut(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data[:len(data)-3], 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestResumeKeepsFinishedBlocksOnly(t *testing.T) {
	path := interrupted(t)
	blocks, lines, err := Finished(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := []BlockFinished{{Block: 1}, {Block: 2, Missing: 1}}; !slices.Equal(blocks, want) || lines != 6 {
		t.Fatalf("Finished() = %+v, %d, want %+v, 6", blocks, lines, want)
	}
	w, err := Resume(path, lines)
	if err != nil {
		t.Fatal(err)
	}
	w.EmitAt(5, Part{Run: "later"}) // the clock began anew
	w.EmitAt(7, TrialStarted{Trial: "whole", Block: 3})
	w.EmitAt(6, BlockStarted{Block: 3})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	events, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range events {
		names = append(names, e.Name)
		if e.Trial == "half" {
			t.Error("the event of a half block was kept")
		}
	}
	want := []string{
		NameBlockStarted, NameBlockEnded, NameBlockStarted, NameBlockEnded, NameBlockFinished, NameBlockFinished, NamePart, NameBlockStarted, NameTrialStarted,
	}
	if !slices.Equal(names, want) {
		t.Errorf("events %v, want %v: each part sorted apart", names, want)
	}
}

func TestResumeOfNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "timeline.jsonl.gz")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	blocks, lines, err := Finished(path)
	if err != nil || len(blocks) != 0 || lines != 0 {
		t.Errorf("Finished(empty) = %v, %d, %v", blocks, lines, err)
	}
	w, err := Resume(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if events, err := Read(path); err != nil || len(events) != 0 {
		t.Errorf("Read() = %v, %v", events, err)
	}
}
