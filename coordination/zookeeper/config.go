package zookeeper

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
	// User and Password (or PasswordFile, whose trailing newline is dropped) are for the digest scheme; nodes are then readable and writable by this
	// user only. Empty: nodes are open to all.
	User         string
	Password     Secret
	PasswordFile string
	// CAFile verifies the servers; CertFile and KeyFile identify this client. Any of them turns TLS on.
	CAFile, CertFile, KeyFile string
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
	var c Config
	var errs []error
	if u.Scheme != "zookeeper" {
		errs = append(errs, fmt.Errorf("scheme %q: want zookeeper", u.Scheme))
	}
	if u.User != nil {
		errs = append(errs, errors.New("credentials before the host are refused (they show up in process lists): use user= and password_file="))
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
	c.Prefix = strings.TrimRight(u.Path, "/")

	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		errs = append(errs, errors.New("query: malformed"))
	}
	durations := map[string]*time.Duration{"session": &c.Session, "renew": &c.Renew, "request": &c.Request, "tick": &c.Tick}
	texts := map[string]*string{"user": &c.User, "password_file": &c.PasswordFile, "ca": &c.CAFile, "cert": &c.CertFile, "key": &c.KeyFile}
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
			errs = append(errs, fmt.Errorf("%s: unknown key (known: ca, cert, key, password_file, renew, request, session, tick, user)", key))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if err := errors.Join(append(errs, c.Validate())...); err != nil {
		return Config{}, fmt.Errorf("zookeeper url: %w", err)
	}
	return c, nil
}

// Validate names every faulty field.
func (c Config) Validate() error {
	var errs []error
	if len(c.Hosts) == 0 {
		errs = append(errs, errors.New("hosts: none given, want zookeeper://host:port,…/prefix"))
	}
	for _, h := range c.Hosts {
		host, port, err := net.SplitHostPort(h)
		n, perr := strconv.Atoi(port)
		if err != nil || perr != nil || host == "" || n < 1 || n > 65535 {
			errs = append(errs, fmt.Errorf("hosts: %q is not host:port", h))
		}
	}
	errs = append(errs, validatePrefix(c.Prefix))
	for name, d := range map[string]time.Duration{"session": c.Session, "renew": c.Renew, "request": c.Request, "tick": c.Tick} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s: %s is negative", name, d))
		}
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
	if c.User == "" && (c.Password != "" || c.PasswordFile != "") {
		errs = append(errs, errors.New("user: missing, but a password is given"))
	}
	if c.User != "" && (c.Password == "") == (c.PasswordFile == "") {
		errs = append(errs, errors.New("password_file: want exactly one of password and password_file with user"))
	}
	if strings.Contains(c.User, ":") {
		errs = append(errs, errors.New("user: contains a colon"))
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("cert, key: want both or neither"))
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
	if c.PasswordFile != "" {
		b, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return c, nil, fmt.Errorf("read password_file: %w", err)
		}
		c.Password = Secret(strings.TrimRight(string(b), "\r\n"))
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
