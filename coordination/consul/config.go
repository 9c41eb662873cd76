package consul

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/chain"
)

// Secret is a string that no formatting verb and no log handler prints.
type Secret string

func (Secret) String() string       { return "[redacted]" }
func (Secret) GoString() string     { return "[redacted]" }
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

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
	// Renew is the interval of renewals. Zero: what package chain chooses for the TTL.
	Renew time.Duration
	// Request bounds one try of one request at one agent. Zero: DefaultRequest.
	Request time.Duration
	// LockDelay is for how long nobody may take what a lost session held, at most 60 s. Zero: DefaultLockDelay, as good as none: our
	// writes are fenced. The service's own default, 15 s, must be asked for.
	LockDelay time.Duration
	// Token, or the content of TokenFile without its trailing newline, is sent as the ACL token. It needs key:write and session:write on the prefix's
	// keys and node, and node:write on the node (see the package comment).
	Token     Secret
	TokenFile string
	// CAFile verifies the agents; CertFile and KeyFile identify this client. Any of them turns TLS on.
	CAFile, CertFile, KeyFile string
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

// ParseURL reads consul://host[:port],…/prefix?session=&renew=&request=&lock-delay=&token_file=&ca=&cert=&key= and validates it.
func ParseURL(u *url.URL) (Config, error) {
	var c Config
	var errs []error
	if u.Scheme != "consul" {
		errs = append(errs, fmt.Errorf("scheme %q: want consul", u.Scheme))
	}
	if u.User != nil {
		errs = append(errs, errors.New("credentials before the host are refused (they show up in process lists): use token_file="))
	}
	if u.Fragment != "" {
		errs = append(errs, fmt.Errorf("fragment %q: not used", u.Fragment))
	}
	for host := range strings.SplitSeq(u.Host, ",") {
		if host == "" {
			continue // Validate tells if none is left
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), defaultPort)
		}
		c.Hosts = append(c.Hosts, host)
	}
	c.Prefix = strings.TrimRight(strings.TrimPrefix(u.Path, "/"), "/")

	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		errs = append(errs, errors.New("query: malformed"))
	}
	durations := map[string]*time.Duration{"session": &c.Session, "renew": &c.Renew, "request": &c.Request, "lock-delay": &c.LockDelay}
	texts := map[string]*string{"token_file": &c.TokenFile, "ca": &c.CAFile, "cert": &c.CertFile, "key": &c.KeyFile}
	for key, values := range query {
		value := values[len(values)-1]
		if len(values) > 1 {
			errs = append(errs, fmt.Errorf("%s: given %d times", key, len(values)))
		} else if d, ok := durations[key]; ok {
			if *d, err = time.ParseDuration(value); err != nil || *d <= 0 {
				errs = append(errs, fmt.Errorf("%s=%s: want a positive duration such as 2s or 1250ms", key, value))
				*d = 0
			}
		} else if t, ok := texts[key]; ok {
			*t = value
		} else {
			errs = append(errs, fmt.Errorf("%s: unknown key (known: ca, cert, key, lock-delay, renew, request, session, token_file)", key))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if err := errors.Join(append(errs, c.Validate())...); err != nil {
		return Config{}, fmt.Errorf("consul url: %w", err)
	}
	return c, nil
}

var prefixSegment = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

// Validate names every faulty field.
func (c Config) Validate() error {
	var errs []error
	if len(c.Hosts) == 0 {
		errs = append(errs, errors.New("hosts: none given, want consul://host:port,…/prefix"))
	}
	for _, h := range c.Hosts {
		host, port, err := net.SplitHostPort(h)
		n, perr := strconv.Atoi(port)
		if err != nil || perr != nil || host == "" || n < 1 || n > 65535 {
			errs = append(errs, fmt.Errorf("hosts: %q is not host:port", h))
		}
	}
	for segment := range strings.SplitSeq(c.Prefix, "/") {
		if !prefixSegment.MatchString(segment) || len(c.Prefix) > 128 {
			errs = append(errs, fmt.Errorf("prefix: %q, want a path of letters, digits, dots, dashes and underscores such as cluster-a, up to 128 characters", c.Prefix))
			break
		}
	}
	for name, d := range map[string]time.Duration{"session": c.Session, "renew": c.Renew, "request": c.Request, "lock-delay": c.LockDelay} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s: %s is negative", name, d))
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
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("cert, key: want both or neither"))
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
	if c.TokenFile != "" {
		b, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return c, nil, fmt.Errorf("read token_file: %w", err)
		}
		if c.Token = Secret(strings.TrimSpace(string(b))); c.Token == "" {
			return c, nil, fmt.Errorf("read token_file: %s is empty", c.TokenFile)
		}
	}
	if c.CAFile == "" && c.CertFile == "" {
		return c, nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return c, nil, fmt.Errorf("read ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return c, nil, fmt.Errorf("read ca: %s holds no PEM certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return c, nil, fmt.Errorf("read cert and key: %w", err)
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return c, t, nil
}
