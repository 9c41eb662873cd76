package embedded

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

func mustParse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestParseURL(t *testing.T) {
	got, err := ParseURL(mustParse(t, "embedded:?peers=1@a:7,2@[::1]:8:18,0@10.0.0.1:9&session=3s&renew=500ms&heartbeat=20ms&election=200ms&prefix=p&listen=0.0.0.0"))
	want := Config{
		ID: -1, Peers: []Peer{{1, "a", 7, 8}, {2, "::1", 8, 18}, {0, "10.0.0.1", 9, 10}},
		Session: 3 * time.Second, Renew: 500 * time.Millisecond, Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond,
		Prefix: "p", Listen: "0.0.0.0",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseURL() = %+v, %v, want %+v", got, err, want)
	}
}

func TestParseURLNamesWhatIsWrong(t *testing.T) {
	for in, want := range map[string]string{
		"etcd:?peers=1@a:7":                                  `scheme "etcd"`,
		"embedded:":                                          "peers: none given",
		"embedded://host?peers=1@a:7":                        "only a query is accepted",
		"embedded:1@a:7":                                     "only a query is accepted",
		"embedded:?peers=a:7":                                "want id@host:port, with a number as id",
		"embedded:?peers=1@a":                                `"1@a": want id@host:port`,
		"embedded:?peers=1@a:x":                              `port "x" is not a number`,
		"embedded:?peers=1@a:7:y":                            `client port "y" is not a number`,
		"embedded:?peers=1@a:70000":                          "port 70000 is unusable",
		"embedded:?peers=1@a:7,1@b:7,2@c:7":                  "id 1 is negative or given twice",
		"embedded:?peers=1@a:7,2@a:8,3@c:7":                  "a:8 is used twice",
		"embedded:?peers=1@a:7&heartbeat=50ms&election=60ms": "heartbeat 50ms, election 60ms",
		"embedded:?peers=1@a:7&session=1s&election=2s":       "session: 1s is below 3s",
		"embedded:?peers=1@a:7&listen=host":                  `listen: "host" is not an IP address`,
		"embedded:?peers=1@a:7&peer=1":                       "peer: unknown key",
		"embedded:?peers=1@a:7&cert=x":                       "cert, key: want both",
		"embedded:?peers=1@a:7&session=":                     "session: has no value",
	} {
		if _, err := ParseURL(mustParse(t, in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseURL(%s) = %v, want an error with %q", in, err, want)
		}
	}
	member, err := ParseURL(mustParse(t, "embedded:?peers=1@a:7"))
	if err != nil {
		t.Fatal(err)
	}
	member.ID = 1
	if err := member.Validate(); err == nil || !strings.Contains(err.Error(), "data directory") {
		t.Errorf("Validate() of a member without a data directory = %v, want it named", err)
	}
}

func TestMembers(t *testing.T) {
	for peers, want := range map[int]int{0: 0, 1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5} {
		c := Config{Peers: make([]Peer, peers)}
		if got := len(c.Members()); got != want {
			t.Errorf("%d peers: %d members, want %d", peers, got, want)
		}
	}
}
