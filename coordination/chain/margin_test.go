package chain_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/memory"
)

// A session that was never renewed is Suspect a noticeable time before the service ends it, and whoever watches it is told.
func TestUnrenewedSessionIsSuspectInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		co := memory.NewServer(time.Second).Open(nil)
		defer co.Close()
		s, err := co.OpenSession(t.Context(), coordination.SessionOptions{Healthy: func() error { return errors.New("not healthy") }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(t.Context())
		told := make(chan coordination.State, 8)
		go s.Watch(t.Context(), func(st coordination.State) { told <- st })
		time.Sleep(890 * time.Millisecond)
		if got := s.State(); got != coordination.Valid {
			t.Errorf("State() after 890ms of 1s = %v, want valid", got)
		}
		time.Sleep(60 * time.Millisecond)
		if got := s.State(); got != coordination.Suspect {
			t.Errorf("State() after 950ms of 1s without a renewal = %v, want suspect", got)
		}
		synctest.Wait()
		if first, second := <-told, <-told; first != coordination.Valid || second != coordination.Suspect {
			t.Errorf("the watch was told %v, %v, want valid, suspect", first, second)
		}
	})
}
