package coordtest

import (
	"encoding/base64"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/link"
)

// links stand between a process and the service's members: one for each endpoint, in their order.
type links struct {
	e   *env
	url string // of the test's cluster, through the links
	all []*link.Link
}

// links puts a link before each endpoint for the rest of the test; it skips where the service has none.
func (e *env) links() *links {
	e.Helper()
	if e.h.Via == nil || len(e.h.Endpoints) == 0 {
		e.Skip("the harness has no endpoints to put links before")
	}
	ls := &links{e: e}
	var addresses []string
	for _, target := range e.h.Endpoints {
		l, err := link.Listen(target, link.Options{})
		if err != nil {
			e.Fatal(err)
		}
		e.Cleanup(func() {
			if err := l.Close(); err != nil {
				e.Errorf("Link.Close() = %v", err)
			}
		})
		ls.all, addresses = append(ls.all, l), append(addresses, l.Addr())
	}
	url := e.h.URL
	if e.patient { // requests that meet a disturbed link are to be given up, and tried elsewhere, as soon as ever
		url = e.h.WithSession(e.own, steadySession)
	}
	ls.url = e.h.Via(url, addresses)
	return ls
}

// linked is a process whose connections to the service all go through links.
func (e *env) linked() (*links, coordination.Coordinator, coordination.Session) {
	e.Helper()
	ls := e.links()
	co := e.coordinatorAt(ls.url)
	s := e.session(co, coordination.SessionOptions{})
	e.Cleanup(ls.heal) // before the session is closed
	if _, err := s.Bootstrap(e.ctx); err != nil {
		e.Fatalf("Bootstrap() = %v", err)
	}
	return ls, co, s
}

// A session and a request that outlast the stalls of a loaded machine. A request that is given up is settled by a commit of its own, which tests that
// count commits would have to know of.
const (
	steadySession = 8 * time.Second
	steadyRequest = 2 * time.Second
)

// steady gives the processes that the test opens from here on such sessions and requests, where the harness can: for tests that do not wait for a session of
// theirs to end.
func (e *env) steady() {
	e.withSession(steadySession)
	if e.h.WithSession != nil && e.h.Patient != nil {
		e.h.URL, e.patient = e.h.Patient(e.h.URL, steadyRequest), true
	}
}

func (e *env) withSession(timeout time.Duration) {
	if e.h.WithSession != nil {
		e.h.URL, e.patient = e.h.WithSession(e.own, timeout), false
	}
}

func (ls *links) each(f func(l *link.Link)) {
	for _, l := range ls.all {
		f(l)
	}
}

func (ls *links) cut()  { ls.each((*link.Link).Cut) }
func (ls *links) heal() { ls.each((*link.Link).Heal) }
func (ls *links) set(r link.Rule) {
	ls.each(func(l *link.Link) { l.Set(r) })
}
func (ls *links) reset() { ls.each((*link.Link).Reset) }

// carries says whether the chunk holds the text as a request or an answer would: as it is, or in base64 at any alignment (values in Consul's JSON).
func carries(c link.Chunk, text string) bool {
	for _, form := range encodings(text) {
		if c.Contains(form) {
			return true
		}
	}
	return false
}

// encodings leave out the characters of base64 that depend on what stands around the text.
func encodings(text string) []string {
	forms := []string{text}
	for pad := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte("\x00\x00"[:min(pad, 2)] + text))
		first := (8*pad + 5) / 6
		last := 8 * (pad + len(text)) / 6
		forms = append(forms, encoded[first:last])
	}
	return forms
}
