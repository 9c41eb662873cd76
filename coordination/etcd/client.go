package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend/options"
)

// member is one endpoint with a client of its own. The client library's balancer spreads requests over all endpoints and keeps sending to
// one that accepts and stays silent; with one client each, which member is asked is our decision.
type member struct {
	endpoint string
	client   *clientv3.Client
	// fault is why the last handshake was refused, by either side; nil once connected.
	fault atomic.Pointer[options.Fault]
}

// members are all endpoints. preferred indexes the one that is asked first: it changes only when that one fails.
type members struct {
	all       []*member
	cfg       Config
	tokens    *tokens
	timeout   time.Duration
	preferred atomic.Int32
	closed    atomic.Bool
}

func dialMembers(c Config, t *tls.Config) (*members, error) {
	ms := &members{cfg: c, timeout: c.Request}
	opts := []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
		// The library's defaults, 1 s growing to 120 s and 20 s per try, would keep a client away long after its member is back.
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
		MinConnectTimeout: time.Second,
	})}
	if c.User != "" {
		ms.tokens = &tokens{user: c.User, password: string(c.Password)}
		opts = append(opts, grpc.WithPerRPCCredentials(ms.tokens))
	}
	for _, e := range c.Hosts {
		m := &member{endpoint: e}
		opts := opts
		if t != nil {
			opts = append(slices.Clip(opts), grpc.WithTransportCredentials(&handshakes{TransportCredentials: credentials.NewTLS(t), files: c.TLS, member: m}))
		}
		client, err := clientv3.New(clientv3.Config{
			Endpoints: []string{e}, DialOptions: opts, Logger: zap.NewNop(),
			// One try: the library would repeat a transaction whose try ended by the server's deadline.
			MaxUnaryRetries: 1,
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("etcd endpoint %s: %w", e, err), ms.close())
		}
		m.client = client
		ms.all = append(ms.all, m)
	}
	return ms, nil
}

func (ms *members) close() error {
	ms.closed.Store(true)
	var errs []error
	for _, m := range ms.all {
		if err := m.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// order lists the members, the preferred one first.
func (ms *members) order() []*member {
	p := int(ms.preferred.Load())
	return slices.Concat(ms.all[p:], ms.all[:p])
}

// demote prefers the next member, unless another request did so already.
func (ms *members) demote(m *member) {
	i := int32(slices.Index(ms.all, m))
	ms.preferred.CompareAndSwap(i, (i+1)%int32(len(ms.all)))
}

// each asks one member after the other, until one gives an answer that counts: nil, or an error that all would give. Each has the try timeout. f must be
// safe to repeat. A fault is marked as everywhere if all gave one.
func (ms *members) each(ctx context.Context, f func(ctx context.Context, m *member) error) error {
	var last error
	faults := 0
	for _, m := range ms.order() {
		if ms.closed.Load() {
			return coordination.ErrClosed
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := ms.try(ctx, m, f)
		if err == nil || refused(err) || isLeaseGone(err) {
			return err
		}
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			ms.demote(m)
		}
		// A refusal says more than that another member is down.
		if options.AsFault(last) == nil {
			last = fmt.Errorf("%s: %w", m.endpoint, err)
		}
		if options.AsFault(err) != nil {
			faults++
		}
	}
	if faults == len(ms.all) {
		return options.AtAll(last)
	}
	return last
}

func (ms *members) try(ctx context.Context, m *member, f func(ctx context.Context, m *member) error) error {
	ctx, cancel := context.WithTimeout(ctx, ms.timeout)
	defer cancel()
	if err := ms.ready(ctx, m); err != nil {
		return err
	}
	// A member that has lost its leader says so at once instead of letting the request wait for one.
	ctx = clientv3.WithRequireLeader(ctx)
	err := f(ctx, m)
	if needsToken(err) && ms.tokens != nil {
		if err := ms.tokens.fetch(ctx, m.client.ActiveConnection()); err != nil {
			return explain(ms.cfg, err)
		}
		err = f(ctx, m)
	}
	return explain(ms.cfg, err)
}

// ready waits until the member is connected and, where there are users, a token is at hand. Its error means that nothing was sent.
func (ms *members) ready(ctx context.Context, m *member) error {
	conn := m.client.ActiveConnection()
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			m.fault.Store(nil)
			if ms.tokens != nil && !ms.tokens.present() {
				return explain(ms.cfg, ms.tokens.fetch(ctx, conn))
			}
			return nil
		case connectivity.Idle:
			conn.Connect()
		case connectivity.TransientFailure:
			return m.unconnected(errors.New("no connection"))
		case connectivity.Shutdown:
			return coordination.ErrClosed
		}
		if !conn.WaitForStateChange(ctx, state) {
			return m.unconnected(ctx.Err())
		}
	}
}

func (m *member) unconnected(err error) error {
	if f := m.fault.Load(); f != nil {
		err = f
	}
	return fmt.Errorf("connect %s: %w", m.endpoint, err)
}

// connected finds a member for a request that is sent only once. It fails only if none is connected.
func (ms *members) connected(ctx context.Context) (*member, error) {
	var last error
	for _, m := range ms.order() {
		if ms.closed.Load() {
			return nil, coordination.ErrClosed
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		tctx, cancel := context.WithTimeout(ctx, ms.timeout)
		err := ms.ready(tctx, m)
		cancel()
		if err == nil {
			return m, nil
		}
		ms.demote(m)
		last = err
	}
	return nil, last
}
