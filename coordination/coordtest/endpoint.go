package coordtest

import (
	"slices"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/link"
)

// testSilentEndpoints: of the service's members one is black-holed and one accepts and stays silent, those that the process uses first of all. Its session
// survives this for as long as it lasts, and its operations go on.
func testSilentEndpoints(e *env) {
	e.stall = e.measureStall()
	ls, _, s := e.linked()
	if len(ls.all) < 3 {
		e.Skip("needs three endpoints")
	}
	e.register(s, 1)
	l := e.campaign(s)
	e.insistCommit(l, put("k", "before"))
	// The busiest are the ones in use.
	busy := slices.Clone(ls.all)
	slices.SortFunc(busy, func(a, b *link.Link) int { return traffic(b) - traffic(a) })
	busy[0].Set(link.BlackHole)
	busy[1].Set(link.Rule{Unreachable: true})
	suspect := 0
	for end := time.Now().Add(3 * s.Timeout()); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		switch s.State() {
		case coordination.Lost:
			e.judge(s.Timeout(), "the session was lost with one member left to ask: %v", s.Err())
		case coordination.Suspect:
			suspect++
		}
	}
	e.eventually(patience, "the session is valid", func() error { return is(s, coordination.Valid) })
	e.insistCommit(l, put("k", "after"))
	e.Logf("suspect at %d of the looks, every 10 ms", suspect)
	ls.heal()
	if got := e.snapshot(e.coordinator()).Records["k"]; string(got) != "after" {
		e.Errorf("k = %q, want %q", got, "after")
	}
}

func traffic(l *link.Link) (bytes int) {
	for _, c := range l.Conns() {
		bytes += int(c.Up)
	}
	return bytes
}
