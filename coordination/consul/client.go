package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend/options"
)

// agents is the HTTP API of several agents. All requests go to one of them until it fails one: then to the next.
type agents struct {
	list      []*agent
	request   time.Duration
	files     options.TLS
	transport *http.Transport
	closed    chan struct{}
	closeOnce sync.Once
	current   atomic.Uint32 // index into list, modulo its length
}

type agent struct {
	address string
	client  *api.Client
}

// maxIdle is above the number of requests that one process has in flight at one agent (its watches, mostly).
const maxIdle = 32

func newAgents(cfg Config, t *tls.Config, first uint32) (*agents, error) {
	a := &agents{request: cfg.Request, files: cfg.TLS, closed: make(chan struct{})}
	a.transport = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: cfg.Request}).DialContext,
		TLSClientConfig:     t,
		TLSHandshakeTimeout: cfg.Request,
		MaxIdleConnsPerHost: maxIdle,
		IdleConnTimeout:     time.Minute,
	}
	scheme := "http"
	if t != nil {
		scheme = "https"
	}
	for _, host := range cfg.Hosts {
		client, err := api.NewClient(&api.Config{
			Address: host, Scheme: scheme, Token: string(cfg.Token),
			HttpClient: &http.Client{Transport: &recorder{next: a.transport, anonymous: cfg.Token == ""}},
		})
		if err != nil {
			return nil, fmt.Errorf("agent %s: %w", host, err)
		}
		a.list = append(a.list, &agent{address: host, client: client})
	}
	a.current.Store(first)
	return a, nil
}

// try is what is learnt of one request on its way. The library's errors do not tell the status of an answer, nor whether the request was sent.
type try struct {
	status atomic.Int32
	sent   atomic.Bool
}

type tryKey struct{}

// recorder is the transport under the library. Without a token of ours it takes back the one that the library finds in the environment.
type recorder struct {
	next      http.RoundTripper
	anonymous bool
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.anonymous {
		req = req.Clone(req.Context())
		req.Header.Del("X-Consul-Token")
	}
	resp, err := r.next.RoundTrip(req)
	if t, ok := req.Context().Value(tryKey{}).(*try); ok && err == nil {
		t.status.Store(int32(resp.StatusCode))
	}
	return resp, err
}

// once runs one request at the current agent, for limit at most. A failure makes the next agent the current one, and so does the end of the caller's own
// time, else a caller with less time than two limits would never come to the third agent. The error is a *requestError, or the context's.
func (a *agents) once(ctx context.Context, limit time.Duration, fn func(context.Context, *api.Client) error) error {
	at := a.current.Load()
	err := a.at(ctx, a.list[at%uint32(len(a.list))], limit, fn)
	var r *requestError
	if errors.As(err, &r) && !errors.Is(ctx.Err(), context.Canceled) && (r.status == 0 || r.status >= 500) {
		a.current.CompareAndSwap(at, at+1) // of several that fail at the same time, one moves on
	}
	return err
}

// at runs one request at that agent, for limit at most. The error is a *requestError, or the context's.
func (a *agents) at(ctx context.Context, agent *agent, limit time.Duration, fn func(context.Context, *api.Client) error) error {
	select {
	case <-a.closed:
		return coordination.ErrClosed
	default:
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	t := &try{}
	tctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("request limit reached"))
	defer cancel()
	tctx = context.WithValue(tctx, tryKey{}, t)
	tctx = httptrace.WithClientTrace(tctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { t.sent.Store(true) }})
	err := fn(tctx, agent.client)
	if err == nil {
		return nil
	}
	status := int(t.status.Load())
	return &requestError{agent: agent.address, status: status, sent: t.sent.Load(), err: a.explain(status, err)}
}

// explain finds the setting to blame, if one is: a *options.Fault.
func (a *agents) explain(status int, err error) error {
	switch {
	case status == http.StatusBadRequest && strings.Contains(err.Error(), "HTTP request to an HTTPS server"):
		return &options.Fault{Remedy: "ca: missing, and the agent speaks TLS at this port: name the file with the certificate of its authority", Err: err}
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return refusedToken(err)
	}
	return a.files.Explain(err)
}

// refusedToken is the fault of a token that the service does not know, or that lacks a right.
func refusedToken(err error) error {
	return &options.Fault{Remedy: "token_file: the service refused our token, or it lacks a right that the package comment lists", Err: err}
}

// repeat runs a request that is harmless to repeat, at each agent at most once, until it succeeds or the service refuses it.
func (a *agents) repeat(ctx context.Context, limit time.Duration, fn func(context.Context, *api.Client) error) error {
	var errs []error
	for range a.list {
		err := a.once(ctx, limit, fn)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		var r *requestError
		if ctx.Err() != nil || !errors.As(err, &r) || (r.status >= 400 && r.status < 500) {
			break
		}
	}
	return errors.Join(errs...)
}

// unsent runs a request that must not be sent twice: it goes on to the next agent only while nothing was sent.
func (a *agents) unsent(ctx context.Context, limit time.Duration, fn func(context.Context, *api.Client) error) error {
	var err error
	for range a.list {
		err = a.once(ctx, limit, fn)
		var r *requestError
		if err == nil || ctx.Err() != nil || !errors.As(err, &r) || r.sent {
			break
		}
	}
	return err
}

func (a *agents) close() {
	a.closeOnce.Do(func() {
		close(a.closed)
		a.transport.CloseIdleConnections()
	})
}
