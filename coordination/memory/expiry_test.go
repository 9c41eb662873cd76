package memory

import (
	"testing"
	"time"
)

// TestLateTimerDoesNotEndARenewedSession: the timer had fired before the renewal and gets the lock after it.
func TestLateTimerDoesNotEndARenewedSession(t *testing.T) {
	s := NewServer(time.Hour)
	x := s.open()
	if _, err := x.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.expire(x.id)
	if _, err := x.Renew(t.Context()); err != nil {
		t.Errorf("Renew() = %v, want a session that lives", err)
	}
}
