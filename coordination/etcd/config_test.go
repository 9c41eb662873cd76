package etcd_test

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination/etcd"
)

func TestParseURL(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]etcd.Config{
		"etcd://h1,h2:2379/cluster-a?session=2s": {
			Endpoints: []string{"h1:2379", "h2:2379"}, Prefix: "cluster-a", SessionTimeout: 2 * time.Second,
		},
		"etcd://[::1]:5/a/b/?session=3s&renew=500ms&request=100ms": {
			Endpoints: []string{"[::1]:5"}, Prefix: "a/b", SessionTimeout: 3 * time.Second, RenewEvery: 500 * time.Millisecond, RequestTimeout: 100 * time.Millisecond,
		},
		"etcd://[::1]": {Endpoints: []string{"[::1]:2379"}},
		"etcd://h?user=u&password_file=" + password: {Endpoints: []string{"h:2379"}, Username: "u", Password: "s3cret"},
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := etcd.ParseURL(u); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseURL(%s) = %+v, %v, want %+v", in, got, err, want)
		}
	}
}

func TestParseURLNamesWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"http://h:1/a":                                         `scheme "http"`,
		"etcd:///a":                                            "hosts: none given",
		"etcd://h:1,,h2:2/a":                                   `endpoints: ""`,
		"etcd://h:1/a%20b":                                     `prefix: "a b"`,
		"etcd://h:1/a//b":                                      `prefix: "a//b"`,
		"etcd://h:1/a/brokers":                                 `"brokers" is reserved`,
		"etcd://h:1/a?session=fast":                            `query key "session": "fast" is not a positive duration`,
		"etcd://h:1/a?session=-2s":                             `query key "session"`,
		"etcd://h:1/a?session=300ms":                           "session: 300ms is outside 1s to 5m",
		"etcd://h:1/a?session=2s&renew=1s":                     "renew: 1s is not less than half",
		"etcd://h:1/a?request=1ms":                             "request: 1ms is outside",
		"etcd://h:1/a?sesion=2s":                               `query key "sesion": unknown; known are session`,
		"etcd://h:1/a?session=1s&session=2s":                   `query key "session": give one value`,
		"etcd://h:1/a?ca=" + dir + "/absent":                   `query key "ca"`,
		"etcd://h:1/a?ca=" + junk:                              "holds no PEM certificate",
		"etcd://h:1/a?cert=" + junk:                            "cert and key go together",
		"etcd://h:1/a?user=u":                                  "a user name and a password go together",
		"etcd://h:1/a?user=u&password_file=" + dir + "/absent": `query key "password_file"`,
		"etcd://u:hunter2@h:1/a":                               "credentials before the host are not accepted",
		"etcd://h:1/a#f":                                       `fragment "f"`,
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		_, err = etcd.ParseURL(u)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseURL(%s) = %v, want an error with %q", in, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseURL(%s) = %v: prints the password", in, err)
		}
	}
}
