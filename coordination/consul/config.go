package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend/options"
	"github.com/regency-project/regency/coordination/chain"
)

// Defaults of Config's zero values.
const (
	DefaultSession   = 10 * time.Second // the least that servers with the shipped session_ttl_min grant
	DefaultRequest   = 300 * time.Millisecond
	DefaultLockDelay = time.Nanosecond
)

const defaultPort = "8500"

// Config says how to reach one cluster's part of a Consul datacenter.
type Config struct {
	// Hosts are HTTP addresses of agents, host:port. All of them are used, in turn. Required.
	Hosts []string
	// Prefix is the path under which all keys live, such as "cluster-a". Required; it isolates clusters from each other.
	Prefix string
	// Session is the TTL of sessions. The servers refuse less than their session_ttl_min (shipped: 10 s) and more than 24 h, and end a session
	// two TTLs after its last renewal. Zero: DefaultSession.
	Session time.Duration
	// Check, when set, stands in place of Session: sessions are kept by a TTL check of that long at the first host, which must be an agent that shares
	// this process's fate, and which no other process of the cluster names first. See the package comment.
	Check time.Duration
	// Renew is the interval of renewals. Zero: what package chain chooses for the TTL.
	Renew time.Duration
	// Request bounds one try of one request at one agent. Zero: DefaultRequest.
	Request time.Duration
	// LockDelay is for how long nobody may take what a lost session held, at most 60 s. Zero: DefaultLockDelay, as good as none: our
	// writes are fenced. The service's own default, 15 s, must be asked for.
	LockDelay time.Duration
	// Token, or the content of TokenFile without the white space around it, is sent as the ACL token. It needs key:write and session:write on the prefix's
	// keys and node, and node:write on the node (see the package comment).
	Token     options.Secret
	TokenFile string
	// TLS turns HTTPS on, towards the agents' ports.https.
	TLS options.TLS
}

// Open returns a coordinator on the datacenter. It does not wait for it to answer.
func Open(ctx context.Context, cfg Config, logger *slog.Logger) (coordination.Coordinator, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	store, err := NewStore(cfg, logger)
	if err != nil {
		return nil, err
	}
	return chain.New(store, chain.Options{Logger: logger, RenewEvery: cfg.Renew}), nil
}

// ParseURL reads consul://host[:port],…/prefix?session=&check=&renew=&request=&lock-delay=&token_file=&ca=&cert=&key= and validates it.
func ParseURL(u *url.URL) (Config, error) {
	r := options.Read(u, "consul")
	c := Config{Hosts: r.Hosts(defaultPort), Prefix: strings.TrimPrefix(r.Path(), "/")}
	for key, into := range map[string]*time.Duration{"session": &c.Session, "check": &c.Check, "renew": &c.Renew, "request": &c.Request, "lock-delay": &c.LockDelay} {
		r.Duration(key, into)
	}
	r.Text("token_file", &c.TokenFile)
	r.TLS(&c.TLS)
	r.Fail(c.Validate())
	if err := r.Err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

var prefixSegment = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

// Validate names every faulty field.
func (c Config) Validate() error {
	errs := []error{
		options.ValidateHosts("consul", c.Hosts), c.TLS.Validate(),
		options.ValidateDurations(map[string]time.Duration{"session": c.Session, "check": c.Check, "renew": c.Renew, "request": c.Request, "lock-delay": c.LockDelay}),
		c.validateCheck(),
	}
	for segment := range strings.SplitSeq(c.Prefix, "/") {
		if !prefixSegment.MatchString(segment) || len(c.Prefix) > 128 {
			errs = append(errs, fmt.Errorf("prefix: %q, want a path of letters, digits, dots, dashes and underscores such as cluster-a, up to 128 characters", c.Prefix))
			break
		}
	}
	c = c.withDefaults()
	if c.Session < 100*time.Millisecond || c.Session > 24*time.Hour {
		errs = append(errs, fmt.Errorf("session: %s is outside 100ms to 24h", c.Session))
	}
	if c.Renew > c.Session {
		errs = append(errs, fmt.Errorf("renew: %s is more than session %s", c.Renew, c.Session))
	}
	if c.Request >= 2*c.Session {
		errs = append(errs, fmt.Errorf("request: %s is not below twice the session %s, after which it is over", c.Request, c.Session))
	}
	if c.LockDelay > time.Minute {
		errs = append(errs, fmt.Errorf("lock-delay: %s is more than 1m", c.LockDelay))
	}
	if c.Token != "" && c.TokenFile != "" {
		errs = append(errs, errors.New("token_file: given beside token"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Session == 0 {
		c.Session = DefaultSession
	}
	if c.Request == 0 {
		c.Request = DefaultRequest
	}
	if c.LockDelay == 0 {
		c.LockDelay = DefaultLockDelay
	}
	return c
}

// load reads the files that the configuration names.
func (c Config) load() (Config, *tls.Config, error) {
	var err error
	if c.Token, err = options.ReadSecret("token_file", c.Token, c.TokenFile); err != nil {
		return c, nil, err
	}
	t, err := c.TLS.Load()
	return c, t, err
}
