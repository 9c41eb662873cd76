package ensemble

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/coordination/profile"
)

// ErrNoLeader is wrapped when no majority of members names a leader now. The caller waits and asks again.
var ErrNoLeader = errors.New("no leader that a majority follows")

// askLimit bounds one question to one member, so that a paused one does not hold up the answer of the others.
const askLimit = time.Second

// view is what one member says of the ensemble.
type view struct {
	err    error  // why there is no view
	leads  bool   // it says of itself that it leads
	self   string // its own id, and the id of whom it follows; both empty where the service does not tell
	leader string
	term   uint64 // of the election, where the service tells; a higher one is newer
}

func newHTTPClient(t *tls.Config) *http.Client {
	// A transport of our own, so that Close leaves no idle connection in the process-wide one.
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2, TLSClientConfig: t}, Timeout: askLimit}
}

// Leader asks every member and returns the index of the one that leads: it says so itself and a majority of the members
// follows it. Of two that fit, as when a leader was paused and does not know yet, it is the one of the newer term. A paused or
// dead member never counts.
func (e *Ensemble) Leader(ctx context.Context) (int, error) {
	views := e.ask(ctx)
	best := -1
	for i, v := range views {
		if v.err == nil && v.leads && followers(views, v) > len(views)/2 && (best < 0 || v.term > views[best].term) {
			best = i
		}
	}
	if best < 0 {
		return -1, fmt.Errorf("find the %s leader: %w: %s", e.binary.Backend, ErrNoLeader, complaints(views))
	}
	return best, nil
}

// followers counts who takes the member with that view for the leader, itself included.
func followers(views []view, leader view) int {
	n := 0
	for _, v := range views {
		if v.err == nil && v.leader == leader.self && v.term <= leader.term {
			n++
		}
	}
	return n
}

func complaints(views []view) string {
	var list []string
	for i, v := range views {
		switch {
		case v.err != nil:
			list = append(list, fmt.Sprintf("member %d: %v", i+1, v.err))
		case v.leads:
			list = append(list, fmt.Sprintf("member %d leads a minority", i+1))
		default:
			list = append(list, fmt.Sprintf("member %d follows", i+1))
		}
	}
	return strings.Join(list, "; ")
}

// ask asks all members at the same time.
func (e *Ensemble) ask(ctx context.Context) []view {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	views := make([]view, len(e.members))
	var group errgroup.Group
	for i, m := range e.members {
		group.Go(func() error {
			views[i] = e.askOne(ctx, m.server)
			return nil
		})
	}
	_ = group.Wait() // the errors are in the views
	return views
}

func (e *Ensemble) askOne(ctx context.Context, s profile.Server) view {
	switch e.binary.Backend {
	case profile.Etcd:
		return e.askEtcd(ctx, s)
	case profile.ZooKeeper:
		return e.askZooKeeper(ctx, s)
	default:
		return e.askConsul(ctx, s)
	}
}

// askEtcd uses the maintenance status through the HTTP gateway.
func (e *Ensemble) askEtcd(ctx context.Context, s profile.Server) view {
	var status struct {
		Header struct {
			MemberID string `json:"member_id"`
		} `json:"header"`
		Leader   string `json:"leader"`
		RaftTerm string `json:"raftTerm"`
	}
	if err := e.call(ctx, http.MethodPost, s, "/v3/maintenance/status", &status); err != nil {
		return view{err: err}
	}
	term, err := strconv.ParseUint(status.RaftTerm, 10, 64)
	if err != nil || status.Leader == "" || status.Leader == "0" {
		return view{err: fmt.Errorf("it knows of no leader (term %q)", status.RaftTerm)}
	}
	id := status.Header.MemberID
	return view{leads: status.Leader == id, self: id, leader: status.Leader, term: term}
}

// askZooKeeper sends the four letters srvr. The term is the epoch, the high half of the zxid.
func (e *Ensemble) askZooKeeper(ctx context.Context, s profile.Server) view {
	text, err := e.fourLetters(ctx, s.Endpoint(), "srvr")
	if err != nil {
		return view{err: err}
	}
	var v view
	served := false
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "Mode":
			served = true
			v.leads = value == "leader" || value == "standalone"
		case "Zxid":
			zxid, err := strconv.ParseUint(strings.TrimPrefix(value, "0x"), 16, 64)
			if err != nil {
				return view{err: fmt.Errorf("srvr: zxid %q: %w", value, err)}
			}
			v.term = zxid >> 32
		}
	}
	if !served {
		return view{err: fmt.Errorf("srvr: %s", strings.TrimSpace(text))}
	}
	return v
}

func (e *Ensemble) fourLetters(ctx context.Context, endpoint, word string) (string, error) {
	dial := new(net.Dialer).DialContext
	if e.tls != nil {
		dial = (&tls.Dialer{Config: e.tls}).DialContext
	}
	conn, err := dial(ctx, "tcp", endpoint)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := io.WriteString(conn, word); err != nil {
		return "", fmt.Errorf("send %s: %w", word, err)
	}
	text, err := io.ReadAll(io.LimitReader(conn, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read the answer to %s: %w", word, err)
	}
	return string(text), nil
}

// askConsul reads /v1/status/leader, which each server answers from its own Raft state.
func (e *Ensemble) askConsul(ctx context.Context, s profile.Server) view {
	var leader string
	if err := e.call(ctx, http.MethodGet, s, "/v1/status/leader", &leader); err != nil {
		return view{err: err}
	}
	self := net.JoinHostPort(s.Host, strconv.Itoa(s.Peer))
	if leader == "" {
		return view{err: errors.New("it knows of no leader")}
	}
	return view{leads: leader == self, self: self, leader: leader}
}

// call reads a JSON answer of a member.
func (e *Ensemble) call(ctx context.Context, method string, s profile.Server, path string, into any) error {
	var body io.Reader
	if method == http.MethodPost {
		body = bytes.NewReader([]byte("{}"))
	}
	scheme := "http://"
	if e.tls != nil {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+s.Endpoint()+path, body)
	if err != nil {
		return err
	}
	if e.secure.ManagementToken != "" {
		req.Header.Set("X-Consul-Token", e.secure.ManagementToken)
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, resp.Status, bytes.TrimSpace(data))
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// probeAll returns nil when a leader is known and each of the members serves requests that need it.
func (e *Ensemble) probeAll(ctx context.Context, members ...int) error {
	if _, err := e.Leader(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var group errgroup.Group
	for _, i := range members {
		group.Go(func() error {
			if err := e.probe(ctx, e.members[i].server); err != nil {
				return fmt.Errorf("%s: %w", e.name(i), err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (e *Ensemble) probe(ctx context.Context, s profile.Server) error {
	switch e.binary.Backend {
	case profile.Etcd: // health is a linearizable read
		var health struct {
			Health string `json:"health"`
			Reason string `json:"reason"`
		}
		if err := e.call(ctx, http.MethodGet, s, "/health", &health); err != nil {
			return err
		}
		if health.Health != "true" {
			return fmt.Errorf("unhealthy: %s", health.Reason)
		}
		return nil
	case profile.ZooKeeper: // a server that answers srvr with a mode has synchronised with its leader
		return e.askZooKeeper(ctx, s).err
	default:
		return e.probeConsul(ctx, s)
	}
}

// probeConsul needs a consistent answer and every server as a voter: with a non-voter among them, one more death could take
// the quorum.
func (e *Ensemble) probeConsul(ctx context.Context, s profile.Server) error {
	var raft struct {
		Servers []struct{ Voter bool }
	}
	if err := e.call(ctx, http.MethodGet, s, "/v1/operator/raft/configuration", &raft); err != nil {
		return err
	}
	voters := 0
	for _, server := range raft.Servers {
		if server.Voter {
			voters++
		}
	}
	if voters != len(e.members) {
		return fmt.Errorf("%d voters, want %d", voters, len(e.members))
	}
	var keys []string
	err := e.call(ctx, http.MethodGet, s, "/v1/kv/?keys&separator=/&consistent", &keys)
	if err != nil && strings.Contains(err.Error(), "404") { // there is no key yet: an answer all the same
		return nil
	}
	return err
}
