package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/regency-project/regency/storage/record"
	"pgregory.net/rapid"
)

// model drives three replicas through random steps and checks, after each, what must hold whatever happens:
//
//	one leader per epoch; a high watermark that does not go back; at each offset below any high watermark always the same record; what was acknowledged
//	is one of those, and stays.
type model struct {
	*world
	next      int
	open      map[int]*Pending     // by record id
	committed map[int64]string     // offset → "epoch:id", once seen below a high watermark
	acked     map[int]int64        // record id → offset
	leaders   map[int32]int32      // epoch → broker
	highest   map[*Partition]int64 // high watermark of each replica's process
	replies   map[int32]fetchReply // on their way to a follower
}

func TestReplicasKeepWhatWasAcknowledged(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		min := rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "min.insync.replicas")
		m := &model{
			world: newWorld(rt, 3, 3, map[string]string{"min.insync.replicas": min}), open: map[int]*Pending{}, committed: map[int64]string{}, acked: map[int]int64{},
			leaders: map[int32]int32{}, highest: map[*Partition]int64{}, replies: map[int32]fetchReply{},
		}
		defer m.close()
		m.maxBytes = rapid.SampledFrom([]int{1, 200, 1 << 20}).Draw(rt, "fetch.max.bytes")
		rt.Repeat(m.actions())
		m.quiesce()
	})
}

func (m *model) actions() map[string]func(*rapid.T) {
	up := func(fn func(*rapid.T, *node)) func(*rapid.T) {
		return func(t *rapid.T) {
			n := m.nodes[int32(rapid.IntRange(1, 3).Draw(t, "broker"))]
			if n.set == nil {
				t.Skip("down")
			}
			fn(t, n)
		}
	}
	fetch := up(func(t *rapid.T, n *node) {
		if _, err := n.exchange(); err != nil {
			t.Skip(err)
		}
	})
	return map[string]func(*rapid.T){
		"produce":  up(m.produce),
		"produce2": up(m.produce),
		"fetch":    fetch,
		"fetch2":   fetch,
		"fetch, unflushed": up(func(t *rapid.T, n *node) {
			if err := n.fetch(n.leader()); err != nil {
				t.Skip(err)
			}
		}),
		// Without these, states in which all is well are too rare for what goes wrong after them.
		"round":  func(*rapid.T) { m.round() },
		"round2": func(*rapid.T) { m.round() },
		"serve": func(t *rapid.T) {
			m.round()
			if l := m.view.Topics[topic].Partitions[0].Leader; l > 0 && m.nodes[l].set != nil {
				m.produce(t, m.nodes[l])
			}
			m.round()
		},
		"failover": func(t *rapid.T) {
			l := m.view.Topics[topic].Partitions[0].Leader
			if l < 0 || m.nodes[l].set == nil {
				t.Skip("no leader")
			}
			if rapid.Bool().Draw(t, "crash") {
				m.nodes[l].crash()
			} else {
				m.leave(l)
			}
			for _, n := range m.brokers() {
				if n.id != l {
					n.deliver()
				}
			}
		},
		"flush": up(func(_ *rapid.T, n *node) { n.flush() }),
		"view":  up(func(_ *rapid.T, n *node) { n.deliver() }),
		"ask": up(func(t *rapid.T, n *node) {
			if r, ok := n.ask(n.leader()); ok {
				m.replies[n.id] = r
			}
		}),
		"answer": up(func(t *rapid.T, n *node) {
			if r, ok := m.replies[n.id]; ok {
				delete(m.replies, n.id)
				_ = n.take(r)
			}
		}),
		"propose": up(func(t *rapid.T, n *node) {
			switch rapid.IntRange(0, 3).Draw(t, "fate") {
			case 0:
				m.refuse, m.applied = errors.New("request lost"), false
			case 1:
				m.refuse, m.applied = errors.New("answer lost"), true
			}
			n.propose()
			m.refuse = nil
		}),
		"lag": up(func(_ *rapid.T, n *node) {
			m.now = m.now.Add(6 * time.Second)
			n.part().shrink(10*time.Second, m.now)
		}),
		"expire": up(func(_ *rapid.T, n *node) { m.leave(n.id) }), // it lives on as a zombie
		"return": up(func(t *rapid.T, n *node) {
			if m.registered(n.id) {
				t.Skip("has its session")
			}
			n.lost = true
			n.deliver()
			n.register()
		}),
		"crash": up(func(_ *rapid.T, n *node) { n.crash() }),
		"start": func(t *rapid.T) {
			n := m.nodes[int32(rapid.IntRange(1, 3).Draw(t, "broker"))]
			if n.set != nil {
				t.Skip("up")
			}
			n.open()
			n.deliver()
		},
		"": func(*rapid.T) { m.check() },
	}
}

func (m *model) brokers() []*node { return []*node{m.nodes[1], m.nodes[2], m.nodes[3]} }

// round lets all that are up talk to each other.
func (m *model) round() {
	for _, n := range m.brokers() {
		n.deliver()
	}
	for range 2 {
		for _, n := range m.brokers() {
			if n.set != nil {
				n.flush()
				_, _ = n.exchange()
				n.propose()
			}
		}
	}
}

func (m *model) registered(id int32) bool {
	for _, r := range m.present {
		if r.ID == id {
			return true
		}
	}
	return false
}

func (n *node) leader() int32 {
	p, ok := n.set.Get(tp0)
	if !ok {
		return -1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.leader
}

// exchange is one whole fetch, with the flush.
func (n *node) exchange() (bool, error) {
	r, ok := n.ask(n.leader())
	if !ok {
		return false, errors.New("no leader to ask")
	}
	err := n.take(r)
	n.flush()
	return err == nil, err
}

func (m *model) produce(t *rapid.T, n *node) {
	p, ok := n.set.Get(tp0)
	if !ok {
		t.Skip("no replica")
	}
	d, err := p.Append(batch(m.next), AppendOptions{Acks: AcksAll, FromClient: true, ExpectedEpoch: -1, Now: m.now})
	if err != nil {
		t.Skip(err)
	}
	m.open[m.next] = d
	m.next++
}

// check looks at everything that can be seen now.
func (m *model) check() {
	for _, n := range m.brokers() {
		if n.set == nil {
			continue
		}
		if p, ok := n.set.Get(tp0); ok {
			m.checkReplica(n, p)
		}
	}
	for id, d := range m.open {
		switch outcome(d) {
		case "open":
			continue
		case "ok":
			m.acked[id] = d.BaseOffset
		}
		delete(m.open, id)
	}
	m.checkISR()
	for id, offset := range m.acked {
		if got := m.committed[offset]; got == "" || got[len(got)-len(fmt.Sprint(":", id)):] != fmt.Sprint(":", id) {
			m.t.Fatalf("record %d was acknowledged at %d, where %q is committed", id, offset, got)
		}
	}
}

// checkISR checks that every ISR member has on its disk what was acknowledged.
func (m *model) checkISR() {
	st := m.view.Topics[topic].Partitions[0]
	for _, id := range st.ISR {
		n := m.nodes[id]
		if n.set != nil {
			if _, ok := n.set.Get(tp0); ok {
				n.kept = n.records(n.part().mu.durable) // what a crash leaves, at least
			}
		}
		for rec, offset := range m.acked {
			if n.kept[offset] != m.committed[offset] {
				m.t.Fatalf("isr %v, leader %d: broker %d has %q at %d on disk, where record %d was acknowledged", st.ISR, st.Leader, id, n.kept[offset], offset, rec)
			}
		}
	}
}

func (m *model) checkReplica(n *node, p *Partition) {
	p.mu.Lock()
	role, epoch, hw := p.mu.role, p.mu.epoch, p.mu.hw
	p.mu.Unlock()
	if role == leading {
		if was, ok := m.leaders[epoch]; ok && was != n.id {
			m.t.Fatalf("epoch %d is led by %d and %d", epoch, was, n.id)
		}
		m.leaders[epoch] = n.id
	}
	if hw < m.highest[p] || hw > p.log.End() {
		m.t.Fatalf("broker %d: high watermark %d after %d, log end %d", n.id, hw, m.highest[p], p.log.End())
	}
	m.highest[p] = hw
	for offset, rec := range n.records(hw) {
		if was, ok := m.committed[offset]; ok && was != rec {
			m.t.Fatalf("broker %d has %s at %d, where %s was committed", n.id, rec, offset, was)
		}
		m.committed[offset] = rec
	}
}

// records are the records below an offset, as "epoch:id".
func (n *node) records(below int64) map[int64]string {
	p := n.part()
	out := map[int64]string{}
	for from := p.log.Start(); from < below; {
		c, err := p.log.Read(from, 1<<20, below)
		n.w.must(err)
		if c.Next == from {
			n.w.t.Fatalf("broker %d: nothing at %d, log end %d, reading below %d", n.id, from, p.log.End(), below)
		}
		for b, err := range record.Batches(c.Bytes, record.CheckReplica) {
			n.w.must(err)
			out[b.BaseOffset()] = fmt.Sprintf("%d:%d", b.LeaderEpoch(), binary.BigEndian.Uint64(b[len(b)-9:]))
		}
		from = c.Next
	}
	return out
}

// quiesce lets everybody come back and talk until nothing changes, and checks that they agree.
func (m *model) quiesce() {
	m.check()
	for _, n := range m.brokers() {
		switch {
		case n.set == nil:
			n.open()
		case !m.registered(n.id):
			n.lost = true
			n.deliver()
			n.register()
		}
	}
	for range 12 + m.next {
		m.now = m.now.Add(time.Second)
		m.deliverAll()
		for _, n := range m.brokers() {
			_, _ = n.exchange()
			n.flush()
			n.propose()
		}
		m.check()
	}
	st := m.view.Topics[topic].Partitions[0]
	if len(st.ISR) != 3 {
		m.t.Fatalf("after all are back: leader %d, isr %v", st.Leader, st.ISR)
	}
	want := m.nodes[st.Leader].contents()
	for _, n := range m.brokers() {
		if got := n.contents(); got != want {
			m.t.Fatalf("broker %d has\n%s, the leader\n%s", n.id, got, want)
		}
		if p := n.part(); p.mu.hw != p.log.End() {
			m.t.Fatalf("broker %d: high watermark %d, log end %d", n.id, p.mu.hw, p.log.End())
		}
	}
	for offset, rec := range m.nodes[1].records(m.nodes[1].part().log.End()) {
		if was, ok := m.committed[offset]; ok && was != rec {
			m.t.Fatalf("%s at %d, where %s was committed", rec, offset, was)
		}
		delete(m.committed, offset)
	}
	if len(m.committed) > 0 {
		m.t.Fatalf("committed records are gone: %v", m.committed)
	}
}
