// Package options reads what the configurations of all coordination services have in common, so that the same word means the same in every URL:
//
//	SCHEME://host[:port],…/prefix?KEY=VALUE&…
//
//	session renew request    durations: the session to ask for, the interval of its renewals, the limit of one try of one request
//	ca                       PEM file of the authorities that the servers' certificates must be signed by
//	cert key                 PEM files of this process's own certificate, for servers that ask for one; they go together
//	user password_file       a name, and the file with its password
//	token_file               the file with a token
//
// Each service adds keys of its own. Secrets are read from files only: a URL shows up in process lists, logs and reports.
package options

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Reader takes a coordination URL apart. Errors are collected: Err names every faulty part, by the key that a person has to change.
type Reader struct {
	u      *url.URL
	scheme string
	values url.Values
	known  []string
	errs   []error
}

// Read begins with the parts that no service has a use for.
func Read(u *url.URL, scheme string) *Reader {
	r := &Reader{u: u, scheme: scheme}
	if u.Scheme != scheme {
		r.Fail(fmt.Errorf("scheme %q: want %s", u.Scheme, scheme))
	}
	if u.User != nil {
		r.Fail(errors.New("credentials before the host are refused (they show up in process lists): name a file, as in ?user=NAME&password_file=FILE or ?token_file=FILE"))
	}
	if u.Fragment != "" {
		r.Fail(fmt.Errorf("fragment %q: not used", u.Fragment))
	}
	var err error
	if r.values, err = url.ParseQuery(u.RawQuery); err != nil {
		// The parser's own error quotes the query, in which a misplaced secret may be.
		r.Fail(errors.New("query: malformed: want key=value pairs, joined by &"))
	}
	for key, values := range r.values {
		if len(values) > 1 {
			r.Fail(fmt.Errorf("%s: given %d times", key, len(values)))
		} else if values[0] == "" {
			r.Fail(fmt.Errorf("%s: has no value", key))
		}
	}
	return r
}

// Hosts are the addresses, with the port where none is given.
func (r *Reader) Hosts(port string) []string {
	var hosts []string
	for host := range strings.SplitSeq(r.u.Host, ",") {
		if host == "" {
			continue // ValidateHosts tells if none is left
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// Path is the path without a slash at its end.
func (r *Reader) Path() string { return strings.TrimRight(r.u.Path, "/") }

// Text reads a key.
func (r *Reader) Text(key string, into *string) {
	r.known = append(r.known, key)
	if values := r.values[key]; len(values) > 0 {
		*into = values[0]
	}
}

// Duration reads a key that is a positive duration.
func (r *Reader) Duration(key string, into *time.Duration) {
	var text string
	r.Text(key, &text)
	if text == "" {
		return
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		r.Fail(fmt.Errorf("%s=%s: want a positive duration such as 2s or 1250ms", key, text))
		return
	}
	*into = d
}

// TLS reads ca, cert and key.
func (r *Reader) TLS(into *TLS) {
	r.Text("ca", &into.CA)
	r.Text("cert", &into.Cert)
	r.Text("key", &into.Key)
}

// Fail adds an error of the caller's.
func (r *Reader) Fail(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// Err is called last: all that was wrong, keys that nobody read included; nil if nothing was.
func (r *Reader) Err() error {
	slices.Sort(r.known)
	for key := range r.values {
		if !slices.Contains(r.known, key) {
			r.Fail(fmt.Errorf("%s: unknown key (known: %s)", key, strings.Join(r.known, ", ")))
		}
	}
	if len(r.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return fmt.Errorf("%s url: %w", r.scheme, errors.Join(r.errs...))
}

// ValidateHosts wants at least one host:port.
func ValidateHosts(scheme string, hosts []string) error {
	if len(hosts) == 0 {
		return fmt.Errorf("hosts: none given, want %s://host:port,…/prefix", scheme)
	}
	var errs []error
	for _, h := range hosts {
		host, port, err := net.SplitHostPort(h)
		n, perr := strconv.Atoi(port)
		if err != nil || perr != nil || host == "" || n < 1 || n > 65535 {
			errs = append(errs, fmt.Errorf("hosts: %q is not host:port", h))
		}
	}
	return errors.Join(errs...)
}

// ValidateDurations refuses negative ones, by their keys.
func ValidateDurations(list map[string]time.Duration) error {
	var errs []error
	for name, d := range list {
		if d < 0 {
			errs = append(errs, fmt.Errorf("%s: %s is negative", name, d))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
