package options_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/backend/options"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
)

func read(t *testing.T, raw string) *options.Reader {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return options.Read(u, "svc")
}

func TestReader(t *testing.T) {
	r := read(t, "svc://a:4,b,c:2/p/q/?session=2s&user=u&ca=/ca&cert=/cert&key=/key")
	if got, want := r.Hosts("1"), []string{"a:4", "b:1", "c:2"}; !slices.Equal(got, want) {
		t.Errorf("Hosts() = %v, want %v", got, want)
	}
	if got := read(t, "svc://[::1]/p").Hosts("1"); !slices.Equal(got, []string{"[::1]:1"}) {
		t.Errorf("Hosts() = %v, want [::1]:1", got)
	}
	var session time.Duration
	var user string
	var files options.TLS
	r.Duration("session", &session)
	r.Text("user", &user)
	r.TLS(&files)
	if err := r.Err(); err != nil || session != 2*time.Second || user != "u" || r.Path() != "/p/q" || files != (options.TLS{CA: "/ca", Cert: "/cert", Key: "/key"}) {
		t.Errorf("read %v %q %q %+v, %v", session, user, r.Path(), files, err)
	}
}

// TestReaderTellsAll: every fault of a URL is named at once, and a secret that stands where it must not is not repeated.
func TestReaderTellsAll(t *testing.T) {
	r := read(t, "other://u:hunter2@h/p?session=fast&renew=-1s&user=a&user=b&token_file=&strange=1#part")
	var d time.Duration
	var s string
	for _, key := range []string{"session", "renew"} {
		r.Duration(key, &d)
	}
	r.Text("user", &s)
	r.Text("token_file", &s)
	err := r.Err()
	for _, want := range []string{
		`scheme "other": want svc`, "credentials before the host", `fragment "part"`, "session=fast", "renew=-1s", "user: given 2 times", "token_file: has no value",
		"strange: unknown key (known: renew, session, token_file, user)",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Err() = %v, want it to say %q", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Err() tells the password: %v", err)
	}
	if err := read(t, "svc://h/p?password=%zzhunter2").Err(); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Err() of a malformed query = %v, want an error without its text", err)
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	type config struct{ Password options.Secret }
	c := config{"hunter2"}
	var out strings.Builder
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, format, c)
		fmt.Fprintf(&out, format, &c.Password)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "config", c, "password", c.Password)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "config", c, "password", c.Password)
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"hunter2", "68756e74657232", "68756E74657232"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("the secret is printed, as %s: %s", bad, out.String())
		}
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	file, empty := filepath.Join(dir, "secret"), filepath.Join(dir, "empty")
	for name, text := range map[string]string{file: " hunter2\r\n", empty: "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := options.ReadSecret("k", "", file); err != nil || s != "hunter2" {
		t.Errorf("ReadSecret() = %d bytes, %v, want 7", len(s), err)
	}
	if s, err := options.ReadSecret("k", "given", ""); err != nil || s != "given" {
		t.Errorf("ReadSecret() without a file = %d bytes, %v", len(s), err)
	}
	for _, bad := range []string{empty, filepath.Join(dir, "absent")} {
		if _, err := options.ReadSecret("token_file", "", bad); err == nil || !strings.Contains(err.Error(), "read token_file: ") || !strings.Contains(err.Error(), bad) {
			t.Errorf("ReadSecret(%s) = %v, want an error that names key and file", bad, err)
		}
	}
}

// TestExplain makes every kind of refusal that a handshake knows, and looks for the setting in its remedy.
func TestExplain(t *testing.T) {
	ours, other := ensembletest.NewAuthority(t), ensembletest.NewAuthority(t)
	serverCert, serverKey := ours.Issue(t, "server")
	cert, key := ours.Issue(t, "client")
	strangeCert, strangeKey := other.Issue(t, "stranger")
	server := load(t, options.TLS{CA: ours.File, Cert: serverCert, Key: serverKey})
	server.ClientCAs, server.ClientAuth = server.RootCAs, tls.RequireAndVerifyClientCert
	for name, c := range map[string]struct {
		files options.TLS
		host  string
		plain bool
		want  string
	}{
		"fine":                {files: options.TLS{CA: ours.File, Cert: cert, Key: key}, host: "127.0.0.1"},
		"another CA":          {files: options.TLS{CA: other.File, Cert: cert, Key: key}, host: "127.0.0.1", want: "ca: " + other.File},
		"no CA":               {files: options.TLS{Cert: cert, Key: key}, host: "127.0.0.1", want: "ca: missing"},
		"another name":        {files: options.TLS{CA: ours.File, Cert: cert, Key: key}, host: "elsewhere", want: "hosts: "},
		"no certificate":      {files: options.TLS{CA: ours.File}, host: "127.0.0.1", want: "cert, key: missing"},
		"another certificate": {files: options.TLS{CA: ours.File, Cert: strangeCert, Key: strangeKey}, host: "127.0.0.1", want: "cert, key: the server refuses the certificate in " + strangeCert},
		"no TLS":              {files: options.TLS{CA: ours.File}, host: "127.0.0.1", plain: true, want: "ca, cert, key: "},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			client := load(t, c.files)
			client.ServerName, client.MaxVersion = c.host, version
			err := c.files.Explain(shake(t, server, client, c.files, c.plain))
			f := options.AsFault(err)
			if (f == nil) != (c.want == "") || f != nil && !strings.HasPrefix(f.Error(), c.want) {
				t.Errorf("%s, TLS %x: Explain() = %v, want a fault that begins with %q", name, version, err, c.want)
			}
		}
	}
	if err := (options.TLS{}).Explain(io.EOF); !errors.Is(err, io.EOF) || options.AsFault(err) != nil {
		t.Errorf("Explain(EOF) = %v, want it as it is", err)
	}
}

func load(t *testing.T, files options.TLS) *tls.Config {
	t.Helper()
	c, err := files.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shake makes a connection, and returns the client's first error, of the handshake or of the read after it; nil if the server's byte arrives.
func shake(t *testing.T, server, client *tls.Config, files options.TLS, plain bool) error {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if !plain {
			conn = tls.Server(conn, server)
		}
		_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		_, _ = io.Copy(io.Discard, conn)
	}()
	defer func() { _ = listener.Close(); <-done }()
	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, client)
	if err := conn.Handshake(); err != nil {
		return err
	}
	var noted error
	_, err = options.Conn{Conn: conn, Files: files, OnFault: func(err error) { noted = err }}.Read(make([]byte, 1))
	if (options.AsFault(noted) != nil) != (err != nil && strings.Contains(err.Error(), "certificate")) {
		t.Errorf("Read() = %v noted %v", err, noted)
	}
	return err
}
