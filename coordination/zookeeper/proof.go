package zookeeper

import "time"

// proof works out until when the service provably holds a session. It is fed with the session's committed writes.
//
// A session's clock runs at the leader. A write through a follower does not set it: the follower notes that the session was heard of and reports that
// in its answer to the leader's next ping, which comes every half tick. The report is lost if the follower dies or is cut off first. So a committed
// write proves two things about the connection (one follower, which serves one leader, since a follower drops its clients when it loses its
// leader): the handshake on it was confirmed by the true leader, which set the clock then; and every write of this connection that was
// answered more than half a tick before this one was sent has been reported, because reports and requests travel to the leader in order.
// Expiry is rounded up to the next tick, so the clock errs to our side; a new leader restarts every clock in full.
type proof struct {
	timeout time.Duration
	lag     time.Duration // half a tick and a margin
	margin  time.Duration // for clocks that run at different speeds

	connection uint64
	touches    []touch // answered writes on the connection, oldest first, from the newest reported one on
	deadline   time.Time
}

type touch struct{ sent, answered time.Time }

// maxTouches bounds proof.touches; with renewals every quarter of the timeout there are three.
const maxTouches = 64

func newProof(timeout, tick time.Duration) *proof {
	if tick == 0 {
		tick = timeout / 2
	}
	return &proof{
		timeout: timeout,
		lag:     tick/2 + max(tick/20, 5*time.Millisecond),
		margin:  timeout/50 + 5*time.Millisecond,
	}
}

// committed takes in a write that was sent and answered on the same connection, which was made at since, and returns the deadline.
func (p *proof) committed(connection uint64, since, sent, answered time.Time) time.Time {
	if connection != p.connection {
		p.connection, p.touches = connection, p.touches[:0]
	}
	heard := since
	reported := -1
	for i, t := range p.touches {
		if t.answered.Add(p.lag).After(sent) {
			break
		}
		reported, heard = i, t.sent
	}
	p.touches = p.touches[max(reported, 0):]
	if len(p.touches) < maxTouches {
		p.touches = append(p.touches, touch{sent, answered})
	}
	if d := heard.Add(p.timeout - p.margin); d.After(p.deadline) {
		p.deadline = d
	}
	return p.deadline
}
