package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/backend/options"
)

// Defaults of Config's zero values.
const (
	DefaultPrefix  = "regency"
	DefaultSession = 2 * time.Second
	DefaultRequest = 300 * time.Millisecond
)

const defaultPort = "2379"

// Config says where the service is and how patient to be with it.
type Config struct {
	// Hosts are host:port of the members' client listeners. All of them are used, in turn.
	Hosts []string
	// Prefix isolates clusters that share the service: segments of letters, digits, dot, dash and underscore, joined by slashes.
	// Empty: DefaultPrefix.
	Prefix string
	// Session is the lease's TTL. The service grants whole seconds (rounded up) and at least 1.5 election timeouts. 0: DefaultSession.
	Session time.Duration
	// Renew is the interval between renewals; it must be less than half of Session. 0: a quarter of the granted timeout.
	Renew time.Duration
	// Request bounds one try at one member, so that a member that accepts and stays silent costs little. 0: DefaultRequest.
	Request time.Duration
	// User and Password (or PasswordFile, without the white space around it) are for the service's own users. The user's role needs readwrite on
	// the prefix: every key that begins with Prefix and a slash.
	User         string
	Password     options.Secret
	PasswordFile string
	// TLS turns TLS on for every member.
	TLS options.TLS
}

var prefixSegment = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.Session == 0 {
		c.Session = DefaultSession
	}
	if c.Request == 0 {
		c.Request = DefaultRequest
	}
	return c
}

// Validate names every faulty field. It never prints a secret.
func (c Config) Validate() error {
	errs := []error{
		options.ValidateHosts("etcd", c.Hosts), options.ValidateUser(c.User, c.Password, c.PasswordFile), c.TLS.Validate(),
		options.ValidateDurations(map[string]time.Duration{"session": c.Session, "renew": c.Renew, "request": c.Request}),
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
	if c.Session < time.Second || c.Session > 5*time.Minute {
		errs = append(errs, fmt.Errorf("session: %v is outside 1s to 5m", c.Session))
	}
	if c.Renew >= c.Session/2 {
		errs = append(errs, fmt.Errorf("renew: %v is not less than half of the session timeout %v", c.Renew, c.Session))
	}
	if c.Request < 10*time.Millisecond || c.Request > c.Session {
		errs = append(errs, fmt.Errorf("request: %v is outside 10ms to the session timeout %v", c.Request, c.Session))
	}
	return errors.Join(errs...)
}

// ParseURL reads etcd://host[:port],…/prefix?session=&renew=&request=&user=&password_file=&ca=&cert=&key= and validates it. Every part but the hosts
// is optional.
func ParseURL(u *url.URL) (Config, error) {
	r := options.Read(u, "etcd")
	c := Config{Hosts: r.Hosts(defaultPort), Prefix: strings.Trim(r.Path(), "/")}
	for key, into := range map[string]*time.Duration{"session": &c.Session, "renew": &c.Renew, "request": &c.Request} {
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

// load reads the files that the configuration names.
func (c Config) load() (Config, *tls.Config, error) {
	var err error
	if c.Password, err = options.ReadSecret("password_file", c.Password, c.PasswordFile); err != nil {
		return c, nil, err
	}
	t, err := c.TLS.Load()
	return c, t, err
}
