package peer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Config of a Pool. The zero value works.
type Config struct {
	// SourceAddress is the local IP address that connections leave from; empty: the system chooses.
	SourceAddress string
	// ClientID is sent with each request.
	ClientID string
	// DialTimeout bounds one connection attempt; 0 is one second.
	DialTimeout time.Duration
	// RequestTimeout bounds a Request whose context has no deadline; 0 is 30 seconds.
	RequestTimeout time.Duration
	// RedialBackoff spaces the attempts to reach an address that refuses; 0 is 50 ms.
	RedialBackoff time.Duration
}

// maxConns is how many connections a Pool keeps to one address.
const maxConns = 4

// Pool holds connections to other brokers, by address.
type Pool struct {
	cfg Config
	mu  struct {
		sync.Mutex
		closed bool
		addrs  map[string]*address
	}
}

type address struct {
	mu struct {
		sync.Mutex
		conns []*Conn
		retry time.Time // no attempt before
	}
}

// NewPool makes an empty pool.
func NewPool(cfg Config) *Pool {
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = time.Second
	}
	if cfg.RequestTimeout == 0 {
		cfg.RequestTimeout = 30 * time.Second
	}
	if cfg.RedialBackoff == 0 {
		cfg.RedialBackoff = 50 * time.Millisecond
	}
	p := &Pool{cfg: cfg}
	p.mu.addrs = map[string]*address{}
	return p
}

// Request sends req, in the version set in it, to the broker at addr (host:port) and waits for the answer. It does not repeat what it sent: an error wraps
// ErrUnavailable (not sent) or ErrOutcomeUnknown.
func (p *Pool) Request(ctx context.Context, addr string, req kmsg.Request) (kmsg.Response, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.cfg.RequestTimeout)
		defer cancel()
	}
	a, err := p.address(addr)
	if err != nil {
		return nil, fmt.Errorf("request %s from %s: %w", kmsg.NameForKey(req.Key()), addr, err)
	}
	conn, err := p.conn(ctx, a, addr)
	if err != nil {
		return nil, fmt.Errorf("request %s from %s: %w", kmsg.NameForKey(req.Key()), addr, err)
	}
	return conn.Request(ctx, req)
}

// Dial opens a connection for the caller alone, who closes it.
func (p *Pool) Dial(ctx context.Context, addr string) (*Conn, error) {
	nc, err := dial(ctx, addr, p.cfg.SourceAddress, p.cfg.DialTimeout)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w: %w", addr, ErrUnavailable, err)
	}
	return newConn(addr, nc, p.cfg.ClientID), nil
}

// Close closes the pool's connections (not those from Dial) and refuses further requests.
func (p *Pool) Close() {
	p.mu.Lock()
	p.mu.closed = true
	addrs := p.mu.addrs
	p.mu.addrs = map[string]*address{}
	p.mu.Unlock()
	for _, a := range addrs {
		a.mu.Lock()
		conns := a.mu.conns
		a.mu.conns = nil
		a.mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	}
}

func (p *Pool) address(addr string) (*address, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ErrClosed)
	}
	a := p.mu.addrs[addr]
	if a == nil {
		a = &address{}
		p.mu.addrs[addr] = a
	}
	return a, nil
}

// conn returns an idle connection, else a new one, else, when there are enough, the least busy.
func (p *Pool) conn(ctx context.Context, a *address, addr string) (*Conn, error) {
	best, retry, full := a.pick()
	if best != nil && (full || best.inFlight() == 0) {
		return best, nil
	}
	if wait := time.Until(retry); wait > 0 {
		if best != nil {
			return best, nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
		}
	}
	c, err := p.Dial(ctx, addr)
	if err != nil {
		a.mu.Lock()
		a.mu.retry = time.Now().Add(p.cfg.RedialBackoff)
		a.mu.Unlock()
		return nil, err
	}
	return p.keep(a, addr, c)
}

// keep adds a new connection to the pool, unless others were faster or the pool was closed meanwhile.
func (p *Pool) keep(a *address, addr string, c *Conn) (*Conn, error) {
	if now, err := p.address(addr); err != nil || now != a {
		c.Close()
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ErrClosed)
	}
	a.mu.Lock()
	if len(a.mu.conns) < maxConns {
		a.mu.conns = append(a.mu.conns, c)
		a.mu.Unlock()
		return c, nil
	}
	best := a.mu.conns[0]
	a.mu.Unlock()
	c.Close()
	return best, nil
}

// pick drops broken connections and returns the least busy.
func (a *address) pick() (best *Conn, retry time.Time, full bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.conns = slices.DeleteFunc(a.mu.conns, func(c *Conn) bool {
		select {
		case <-c.done:
			return true
		default:
			return false
		}
	})
	for _, c := range a.mu.conns {
		if best == nil || c.inFlight() < best.inFlight() {
			best = c
		}
	}
	return best, a.mu.retry, len(a.mu.conns) >= maxConns
}
