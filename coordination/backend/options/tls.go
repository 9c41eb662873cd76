package options

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// TLS names PEM files. CA verifies the servers; Cert and Key identify this process. Any of them turns TLS on; without a CA, the system's authorities verify.
type TLS struct{ CA, Cert, Key string }

// Enabled says whether TLS is to be used.
func (t TLS) Enabled() bool { return t != TLS{} }

// Validate checks the names only: the files are read by Load.
func (t TLS) Validate() error {
	if (t.Cert == "") != (t.Key == "") {
		return errors.New("cert, key: want both or neither")
	}
	return nil
}

// Load reads the files. Without any it returns nil: no TLS.
func (t TLS) Load() (*tls.Config, error) {
	if !t.Enabled() {
		return nil, nil
	}
	if err := t.Validate(); err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read ca: %s holds no PEM certificate", t.CA)
		}
	}
	if t.Cert != "" {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("read cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// Fault is an error that no repetition mends: a setting must be changed. Remedy names it.
type Fault struct {
	Remedy     string
	Everywhere bool // every server gave one
	Err        error
}

func (f *Fault) Error() string { return f.Remedy + ": " + f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

// AsFault returns the fault in err, or nil.
func AsFault(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	return nil
}

// Explain returns err as a *Fault if it is a refusal in a TLS handshake, of theirs by us or of ours by them; otherwise err as it is.
func (t TLS) Explain(err error) error {
	if err == nil || AsFault(err) != nil {
		return err
	}
	if remedy := t.remedy(err); remedy != "" {
		return &Fault{Remedy: remedy, Err: err}
	}
	return err
}

func (t TLS) remedy(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &unknown):
		if t.CA == "" {
			return "ca: missing, and the system's authorities do not vouch for the server: name the file with the certificate of its authority"
		}
		return fmt.Sprintf("ca: %s does not vouch for the server: name the file with the certificate of its authority", t.CA)
	case errors.As(err, &name):
		return "hosts: the server's certificate is for other names: use one of them in the URL, or have a certificate issued for this one"
	case errors.As(err, &invalid):
		return "ca: the server's certificate is not valid: have another one issued"
	case errors.As(err, &record):
		return "ca, cert, key: they turn TLS on, but the server does not speak it at this port: leave them out, or name its TLS port"
	case errors.As(err, &op) && op.Op == "remote error": // an alert of the server's; its type is not exported
		return t.alerted(op.Err.Error())
	}
	return ""
}

// alerted is the remedy for what a server says of our certificate; "" for alerts that say nothing of it.
func (t TLS) alerted(alert string) string {
	for _, part := range []string{"certificate", "unknown certificate authority", "access denied", "handshake failure"} {
		if !strings.Contains(alert, part) {
			continue
		}
		if t.Cert == "" {
			return "cert, key: missing, and the server wants a client certificate: name the files with a certificate that its authority signed, and its key"
		}
		return fmt.Sprintf("cert, key: the server refuses the certificate in %s: name one that its authority signed and that has not expired", t.Cert)
	}
	return ""
}

// Conn watches a connection for the server's refusal of our certificate, which in TLS 1.3 comes only after the handshake, as the error of a read.
type Conn struct {
	net.Conn
	Files   TLS
	OnFault func(error)
}

func (c Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		if err = c.Files.Explain(err); AsFault(err) != nil {
			c.OnFault(err)
		}
	}
	return n, err
}
