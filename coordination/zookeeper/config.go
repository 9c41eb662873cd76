package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend/options"
	"github.com/regency-project/regency/coordination/chain"
)

// DefaultSession is asked for when Config.Session is zero: three ticks of the shipped server configuration (tickTime 2000), which grants
// nothing below two.
const DefaultSession = 6 * time.Second

const defaultPort = "2181"

// Config says how to reach one cluster's part of a ZooKeeper ensemble.
type Config struct {
	// Hosts are the ensemble's client addresses, host:port. Required.
	Hosts []string
	// Prefix is the path under which everything lives, such as "/cluster-a". Required; it isolates clusters from each other.
	Prefix string
	// Session is the session timeout to ask for; the server clamps it (2–20 ticks unless it is told otherwise). Zero: DefaultSession.
	Session time.Duration
	// Renew is the interval of renewals. Zero: what package chain chooses for the granted timeout.
	Renew time.Duration
	// Request bounds one request, and the handshake with one server. Zero: 300 ms, less with a short
	// Session.
	Request time.Duration
	// Tick is the servers' tickTime, on which the proof of a session's life depends. Zero: half the granted timeout is assumed, the most that
	// a server with default limits can have. It must be set where minSessionTimeout was lowered below two ticks.
	Tick time.Duration
	// User and Password (or PasswordFile, without the white space around it) are for the digest scheme; nodes are then readable and writable by this
	// user only. Empty: nodes are open to all.
	User         string
	Password     options.Secret
	PasswordFile string
	// TLS turns TLS on, towards the servers' secureClientPort.
	TLS options.TLS
}

// Open returns a coordinator on the ensemble. It does not wait for the ensemble to answer.
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

// ParseURL reads zookeeper://host[:port],…/prefix?session=&renew=&request=&tick=&user=&password_file=&ca=&cert=&key= and validates it.
func ParseURL(u *url.URL) (Config, error) {
	r := options.Read(u, "zookeeper")
	c := Config{Hosts: r.Hosts(defaultPort), Prefix: r.Path()}
	for key, into := range map[string]*time.Duration{"session": &c.Session, "renew": &c.Renew, "request": &c.Request, "tick": &c.Tick} {
		r.Duration(key, into)
	}
	r.Text("user", &c.User)
	r.Text("password_file", &c.PasswordFile)
	r.TLS(&c.TLS)
	r.Fail(c.Validate())
	if err := r.Err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// Validate names every faulty field.
func (c Config) Validate() error {
	errs := []error{
		options.ValidateHosts("zookeeper", c.Hosts), validatePrefix(c.Prefix),
		options.ValidateDurations(map[string]time.Duration{"session": c.Session, "renew": c.Renew, "request": c.Request, "tick": c.Tick}),
		options.ValidateUser(c.User, c.Password, c.PasswordFile), c.TLS.Validate(),
	}
	c = c.withDefaults()
	if c.Session < 50*time.Millisecond || c.Session > time.Hour {
		errs = append(errs, fmt.Errorf("session: %s is outside 50ms to 1h", c.Session))
	}
	if c.Renew > c.Session/2 {
		errs = append(errs, fmt.Errorf("renew: %s is more than half of session %s", c.Renew, c.Session))
	}
	if c.Request >= c.Session {
		errs = append(errs, fmt.Errorf("request: %s is not below session %s", c.Request, c.Session))
	}
	if strings.Contains(c.User, ":") {
		errs = append(errs, errors.New("user: contains a colon"))
	}
	return errors.Join(errs...)
}

func validatePrefix(prefix string) error {
	if len(prefix) < 2 || prefix[0] != '/' {
		return fmt.Errorf("prefix: %q, want a path such as /cluster-a", prefix)
	}
	for segment := range strings.SplitSeq(prefix[1:], "/") {
		if segment == "" || escape(segment) != segment {
			return fmt.Errorf("prefix: %q has an empty segment, a dot segment or a character outside printable ASCII", prefix)
		}
	}
	if prefix == "/zookeeper" || strings.HasPrefix(prefix, "/zookeeper/") {
		return errors.New("prefix: /zookeeper is the service's own")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Session == 0 {
		c.Session = DefaultSession
	}
	if c.Request == 0 {
		c.Request = min(300*time.Millisecond, c.Session/3)
	}
	return c
}

// load reads the files that the configuration names.
func (c Config) load() (Config, *tls.Config, error) {
	var err error
	if c.Password, err = options.ReadSecret("password_file", c.Password, c.PasswordFile); err != nil {
		return c, nil, err
	}
	t, err := c.TLS.Load()
	return c, t, err
}
