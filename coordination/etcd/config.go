package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/regency-project/regency/coordination/backend"
)

// Defaults of Config's zero values.
const (
	DefaultPrefix         = "regency"
	DefaultSessionTimeout = 2 * time.Second
	DefaultRequestTimeout = 300 * time.Millisecond
)

// Config says where the service is and how patient to be with it.
type Config struct {
	// Endpoints are host:port of the members' client listeners. All of them are used, in turn.
	Endpoints []string
	// Prefix isolates clusters that share the service: segments of letters, digits, dot, dash and underscore, joined by slashes.
	// Empty: DefaultPrefix.
	Prefix string
	// SessionTimeout is the lease's TTL. The service grants whole seconds (rounded up) and at least 1.5 election timeouts.
	// 0: DefaultSessionTimeout.
	SessionTimeout time.Duration
	// RenewEvery is the interval between renewals; it must be less than half of SessionTimeout. 0: a quarter of the granted timeout.
	RenewEvery time.Duration
	// RequestTimeout bounds one try at one member, so that a member that accepts and stays silent costs little. 0: DefaultRequestTimeout.
	RequestTimeout time.Duration
	// TLS is used for every member when set.
	TLS *tls.Config
	// Username and Password are for the service's own users.
	Username, Password string
}

var prefixSegment = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = DefaultSessionTimeout
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = DefaultRequestTimeout
	}
	return c
}

// Validate names every faulty field. It never prints a secret.
func (c Config) Validate() error {
	var errs []error
	if len(c.Endpoints) == 0 {
		errs = append(errs, errors.New("endpoints: none given; name at least one host:port"))
	}
	for _, e := range c.Endpoints {
		host, port, err := net.SplitHostPort(e)
		if err != nil || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("endpoints: %q is not host:port", e))
		}
	}
	c = c.withDefaults()
	for seg := range strings.SplitSeq(c.Prefix, "/") {
		if !prefixSegment.MatchString(seg) || seg == "." || seg == ".." {
			errs = append(errs, fmt.Errorf("prefix: %q: each segment must be 1 to 64 of letters, digits, '.', '-', '_'", c.Prefix))
			break
		}
		if slices.Contains(backend.Directories, seg) || seg == sessionsDir {
			errs = append(errs, fmt.Errorf("prefix: %q: %q is reserved for keys inside a prefix", c.Prefix, seg))
			break
		}
	}
	if c.SessionTimeout < time.Second || c.SessionTimeout > 5*time.Minute {
		errs = append(errs, fmt.Errorf("session: %v is outside 1s to 5m", c.SessionTimeout))
	}
	if c.RenewEvery < 0 || c.RenewEvery >= c.SessionTimeout/2 {
		errs = append(errs, fmt.Errorf("renew: %v is not less than half of the session timeout %v", c.RenewEvery, c.SessionTimeout))
	}
	if c.RequestTimeout < 10*time.Millisecond || c.RequestTimeout > c.SessionTimeout {
		errs = append(errs, fmt.Errorf("request: %v is outside 10ms to the session timeout %v", c.RequestTimeout, c.SessionTimeout))
	}
	if (c.Username == "") != (c.Password == "") {
		errs = append(errs, errors.New("user: a user name and a password go together"))
	}
	return errors.Join(errs...)
}

// ParseURL reads etcd://host:port,host:port/prefix?session=2s&renew=500ms&request=300ms&ca=FILE&cert=FILE&key=FILE&user=NAME&password_file=FILE.
// Every part but the hosts is optional; a host without a port gets 2379; giving ca or cert turns TLS on. Errors name the part of the URL.
func ParseURL(u *url.URL) (Config, error) {
	var c Config
	if u.Scheme != "etcd" {
		return c, fmt.Errorf("etcd url: scheme %q: want etcd", u.Scheme)
	}
	if u.User != nil {
		return c, errors.New("etcd url: credentials before the host are not accepted (they would show in process lists): use ?user=NAME&password_file=FILE")
	}
	if u.Fragment != "" {
		return c, fmt.Errorf("etcd url: fragment %q: not accepted", u.Fragment)
	}
	if u.Host == "" {
		return c, errors.New("etcd url: hosts: none given; write etcd://host1:2379,host2:2379/prefix")
	}
	for h := range strings.SplitSeq(u.Host, ",") {
		if _, _, err := net.SplitHostPort(h); err != nil && h != "" {
			h = net.JoinHostPort(strings.Trim(h, "[]"), "2379")
		}
		c.Endpoints = append(c.Endpoints, h)
	}
	c.Prefix = strings.Trim(u.Path, "/")
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return c, fmt.Errorf("etcd url: query: %w", err)
	}
	if err := c.applyQuery(q); err != nil {
		return c, fmt.Errorf("etcd url: %w", err)
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("etcd url: %w", err)
	}
	return c, nil
}

func (c *Config) applyQuery(q url.Values) error {
	var files TLSFiles
	var errs []error
	for key, values := range q {
		v := values[0]
		if len(values) > 1 || v == "" {
			errs = append(errs, fmt.Errorf("query key %q: give one value", key))
			continue
		}
		switch key {
		case "session":
			errs = append(errs, ParseDuration(key, v, &c.SessionTimeout))
		case "renew":
			errs = append(errs, ParseDuration(key, v, &c.RenewEvery))
		case "request":
			errs = append(errs, ParseDuration(key, v, &c.RequestTimeout))
		case "ca":
			files.CA = v
		case "cert":
			files.Cert = v
		case "key":
			files.Key = v
		case "user":
			c.Username = v
		case "password_file":
			b, err := os.ReadFile(v)
			if err != nil {
				errs = append(errs, fmt.Errorf("query key %q: %w", key, err))
				continue
			}
			c.Password = strings.TrimRight(string(b), "\r\n")
		default:
			errs = append(errs, fmt.Errorf("query key %q: unknown; known are session, renew, request, ca, cert, key, user, password_file", key))
		}
	}
	t, err := files.Load()
	c.TLS = t
	return errors.Join(append(errs, err)...)
}

// ParseDuration reads the positive duration of a URL's query key into d.
func ParseDuration(key, v string, d *time.Duration) error {
	parsed, err := time.ParseDuration(v)
	if err != nil || parsed <= 0 {
		return fmt.Errorf("query key %q: %q is not a positive duration such as 500ms or 2s", key, v)
	}
	*d = parsed
	return nil
}

// TLSFiles are the PEM files of a TLS configuration: the authority that is trusted, and our own certificate with its key.
type TLSFiles struct{ CA, Cert, Key string }

// Load reads the files; without any it returns nil: no TLS.
func (f TLSFiles) Load() (*tls.Config, error) {
	if f == (TLSFiles{}) {
		return nil, nil
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, errors.New("query keys cert and key go together")
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("query key \"ca\": %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("query key \"ca\": %s holds no PEM certificate", f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("query keys cert and key: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
