package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/broker/metafile"
	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/chain"
	"github.com/regency-project/regency/coordination/consul"
	"github.com/regency-project/regency/coordination/embedded"
	"github.com/regency-project/regency/coordination/etcd"
	"github.com/regency-project/regency/coordination/memory"
	"github.com/regency-project/regency/coordination/zookeeper"
)

const coordinationHelp = `where the cluster agrees, as a URL:
  embedded:?peers=1@host:2380:2379,…   in the brokers themselves (the first 1, 3 or 5 listed are members)
  etcd://host:2379,…/prefix?session=2s
  zookeeper://host:2181,…/prefix?session=2s
  consul://host:8500,…/prefix?session=1250ms
  memory:                              one broker, nothing outlives it (for trying out)`

// backends opens a coordinator by the URL's scheme.
var backends = map[string]func(context.Context, *url.URL, hostBroker, *slog.Logger) (coordination.Coordinator, error){
	"embedded": func(ctx context.Context, u *url.URL, p hostBroker, log *slog.Logger) (coordination.Coordinator, error) {
		c, err := embedded.ParseURL(u)
		if err != nil {
			return nil, err
		}
		c.ID, c.DataDir = p.id, p.dir
		c.OnLeader = func(leader int32) { p.events.Emit("ensemble.leader", "leader", leader) }
		if p.dir != "" {
			meta, ok, err := metafile.Read(p.dir)
			if err != nil {
				return nil, err
			}
			c.Joined = ok && meta.Cluster != ""
		}
		return embedded.Open(ctx, c, log, p.metrics.store)
	},
	"etcd": func(_ context.Context, u *url.URL, p hostBroker, log *slog.Logger) (coordination.Coordinator, error) {
		c, err := etcd.ParseURL(u)
		if err != nil {
			return nil, err
		}
		store, err := etcd.NewStore(c)
		if err != nil {
			return nil, err
		}
		return p.chain(store, c.Renew, log), nil
	},
	"zookeeper": func(_ context.Context, u *url.URL, p hostBroker, log *slog.Logger) (coordination.Coordinator, error) {
		c, err := zookeeper.ParseURL(u)
		if err != nil {
			return nil, err
		}
		store, err := zookeeper.NewStore(c, log)
		if err != nil {
			return nil, err
		}
		return p.chain(store, c.Renew, log), nil
	},
	"consul": func(_ context.Context, u *url.URL, p hostBroker, log *slog.Logger) (coordination.Coordinator, error) {
		c, err := consul.ParseURL(u)
		if err != nil {
			return nil, err
		}
		store, err := consul.NewStore(c, log)
		if err != nil {
			return nil, err
		}
		return p.chain(store, c.Renew, log), nil
	},
	"memory": func(_ context.Context, u *url.URL, p hostBroker, log *slog.Logger) (coordination.Coordinator, error) {
		if u.Host != "" || u.Path != "" || u.Opaque != "" || u.RawQuery != "" {
			return nil, errors.New("memory: takes nothing after the colon: it is one process's own")
		}
		return p.chain(memory.NewServer(2*time.Second).Store(), 0, log), nil
	},
}

// hostBroker is what a backend must know of the broker it lives in; in no broker, id is -1 and dir is empty.
type hostBroker struct {
	id      int32
	dir     string
	metrics *metricsServer
	events  *event.Log // nil discards
}

// chain builds the coordinator on a store, with metrics between them.
func (p hostBroker) chain(s backend.Store, renew time.Duration, log *slog.Logger) coordination.Coordinator {
	return chain.New(p.metrics.store(s), chain.Options{Logger: log, RenewEvery: renew})
}

func openCoordination(ctx context.Context, raw string, p hostBroker, log *slog.Logger) (coordination.Coordinator, error) {
	if raw == "" {
		return nil, errors.New("--coordination is empty; to try one broker out, use memory: (with the colon) as the URL")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("--coordination: not a URL: %w", notURL(err))
	}
	open, ok := backends[u.Scheme]
	if !ok {
		return nil, fmt.Errorf("--coordination %q: unknown backend %q; use embedded, etcd, zookeeper, consul or memory", redacted(u), u.Scheme)
	}
	c, err := open(ctx, u, p, log)
	if err != nil {
		return nil, fmt.Errorf("--coordination %s: %w", redacted(u), err)
	}
	return p.metrics.coordinator(c), nil
}

// harmless are the query keys whose values may be printed. All others are not: a secret may stand under a misspelt key.
var harmless = []string{
	"ca", "cert", "check", "election", "heartbeat", "listen", "lock-delay", "peers", "prefix", "renew", "request", "session", "tick",
}

const hidden = "xxxxx"

// redacted is the URL without what may be secret.
func redacted(u *url.URL) string {
	c := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.User != nil {
		c.User = url.User(hidden)
	}
	if u.Opaque != "" {
		c.Opaque = hidden
	}
	if strings.Contains(c.Path, "@") { // userinfo behind too few slashes
		c.Path = "/" + hidden
	}
	q := u.Query()
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(q)) {
		for _, v := range q[k] {
			if !slices.Contains(harmless, k) {
				v = hidden
			}
			parts = append(parts, k+"="+v)
		}
	}
	c.RawQuery = strings.Join(parts, "&")
	return c.String()
}

// quotation is what the URL parser quotes of its input.
var quotation = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// notURL is the parser's error without the URL, nor parts of it: they may be a password.
func notURL(err error) error {
	var parse *url.Error
	if errors.As(err, &parse) {
		err = parse.Err
	}
	return errors.New(quotation.ReplaceAllString(err.Error(), hidden))
}
