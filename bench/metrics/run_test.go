package metrics

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// The example is what a report is designed against: it must say exactly what the types say.
func TestExampleMatchesTheTypes(t *testing.T) {
	data, err := os.ReadFile("testdata/example.json")
	if err != nil {
		t.Fatal(err)
	}
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	var run Run
	if err := strict.Decode(&run); err != nil {
		t.Fatalf("decode the example: %v", err)
	}
	again, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &got); err != nil {
		t.Fatal(err)
	}
	wantText, _ := json.Marshal(want)
	gotText, _ := json.Marshal(got)
	if !bytes.Equal(wantText, gotText) {
		t.Error("the example, decoded and encoded again, is not the same: a field lacks in the example or in the types")
	}
	if run.Schema != Schema {
		t.Errorf("schema = %d, want %d", run.Schema, Schema)
	}
}
