package options_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend/options"
)

// TestFaultsAreFinal: at once if all servers gave one, else after a while, even if the last round showed none.
func TestFaultsAreFinal(t *testing.T) {
	began := time.Now()
	fault := fmt.Errorf("a: %w", &options.Fault{Remedy: "ca: wrong", Err: errors.New("refused")})
	silence := errors.New("no answer")

	var all options.Faults
	if f := all.Final(options.AtAll(fault), began); f == nil || f.Remedy != "ca: wrong" {
		t.Errorf("Final() of a fault of all servers = %v, want it", f)
	}
	var one options.Faults
	for _, err := range []error{fault, silence, fault} {
		if f := one.Final(err, began); f != nil {
			t.Errorf("Final(%v) = %v, want to go on", err, f)
		}
	}
	if f := one.Final(silence, began.Add(options.FaultPatience)); f == nil {
		t.Error("Final() goes on for ever although a server gave a fault and none served us")
	}
	var none options.Faults
	none.Final(silence, began)
	if f := none.Final(options.AtAll(silence), began.Add(time.Hour)); f != nil {
		t.Errorf("Final() without a fault = %v", f)
	}
}
