package metered_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/memory"
)

func TestEndsOfTerms(t *testing.T) {
	const events = `regency_coordination_leadership_events_total{backend="memory",event=`
	closed := open(t, memory.NewServer(time.Minute))
	s, _ := closed.lead(t, 1)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, closed.registry, events+`"closed"} 1`)

	server := memory.NewServer(time.Minute)
	p := open(t, server)
	p.lead(t, 1)
	st, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st.Lineage = uuid.NewString()
	_, ops, err := chain.Rewrite(st)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := server.Store().OpenSession(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Txn(t.Context(), nil, ops); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, p.registry, events+`"lineage"} 1`)
}
