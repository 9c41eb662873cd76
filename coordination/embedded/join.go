package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/regency-project/regency/coordination/backend/options"
)

const (
	// askTimeout bounds one question to one member, changeTimeout one change of the membership, which needs a quorum.
	askTimeout    = time.Second
	changeTimeout = 2 * time.Second
	changePause   = 250 * time.Millisecond
)

// memberInfo is a line of what a member's peer port answers to GET /members. Unlike a client's question it needs no quorum.
type memberInfo struct {
	ID         uint64   `json:"id"`
	PeerURLs   []string `json:"peerURLs"`
	Name       string   `json:"name"`
	ClientURLs []string `json:"clientURLs"` // published when the member first served
}

func (c Config) peerURL(p Peer) string {
	if c.TLS.Cert != "" {
		return "https://" + p.peerAddress()
	}
	return "http://" + p.peerAddress()
}

// others are the members besides this process's.
func (c Config) others() []Peer {
	return slices.DeleteFunc(slices.Clone(c.Members()), func(p Peer) bool { return p.ID == c.ID })
}

// join says how the member starts: with its data as before, as one of the founders, or, when it has no data although the others
// know that it once served, as a new learner in its own place.
func (c Config) join(ctx context.Context, logger *slog.Logger) (state, initial string, err error) {
	if err := c.checkFounders(); err != nil {
		return "", "", err
	}
	if logs, _ := filepath.Glob(filepath.Join(c.dir(), "member", "wal", "*.wal")); len(logs) > 0 {
		return embed.ClusterStateFlagNew, c.initialCluster(nil), nil
	}
	if err := os.MkdirAll(c.dir(), 0o700); err != nil {
		return "", "", fmt.Errorf("make the member's directory: %w", err)
	}
	if err := c.checkPorts(ctx); err != nil {
		return "", "", err
	}
	known, err := c.askMembers(ctx)
	if err == nil && len(known) == 0 && c.Joined {
		known, err = c.awaitMembers(ctx, logger)
	}
	if err != nil {
		return "", "", err
	}
	self, _ := c.self()
	if known, err = c.checkJoin(ctx, known); err != nil {
		return "", "", err
	}
	i := slices.IndexFunc(known, func(m memberInfo) bool { return slices.Contains(m.PeerURLs, c.peerURL(self)) })
	switch {
	case len(known) == 0, i >= 0 && known[i].Name != "" && len(known[i].ClientURLs) == 0 && !c.Joined:
		return embed.ClusterStateFlagNew, c.initialCluster(nil), nil // a founder
	case i >= 0 && known[i].Name == "":
		return embed.ClusterStateFlagExisting, c.initialCluster(known), nil // added before, by a start that did not get further
	}
	logger.Warn("the coordination member has lost its data and joins again as a learner", "broker", c.ID, "directory", c.dir())
	known, err = c.replace(ctx, logger)
	return embed.ClusterStateFlagExisting, c.initialCluster(known), err
}

// checkPorts finds out, before the membership is touched, that this member already runs in another process: a second start of a broker with an empty
// directory would otherwise have the living member removed.
func (c Config) checkPorts(ctx context.Context) error {
	self, _ := c.self()
	for _, address := range []string{c.bind(self.peerAddress()), c.bind(self.clientAddress())} {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listen for other members: %w; if another process has the port, stop it, or give this broker other ports in peers", err)
		}
		_ = l.Close()
	}
	return nil
}

// errLost: nobody can tell a member without data what it knew.
var errLost = errors.New("the data directory belongs to a cluster, but its coordination log is gone and there is no other member to join again; restore the directory \"coordination\"; if the data was written under another coordination service, use that one, or start with an empty data directory")

// awaitMembers asks until one of the others answers.
func (c Config) awaitMembers(ctx context.Context, logger *slog.Logger) (known []memberInfo, err error) {
	if len(c.others()) == 0 {
		return nil, errLost
	}
	err = c.insist(ctx, logger, "the data directory belongs to a cluster but has no coordination log: waiting for another member to join again (was it written under another coordination service?)", func(ctx context.Context) error {
		if known, err = c.askMembers(ctx); err == nil && len(known) == 0 {
			err = fmt.Errorf("not reachable: %v", c.unreachable(ctx))
		}
		return err
	})
	return known, err
}

// initialCluster renders the members in the server's notation; nil: as configured.
func (c Config) initialCluster(known []memberInfo) string {
	var parts []string
	for _, p := range c.Members() {
		if known == nil || slices.ContainsFunc(known, func(m memberInfo) bool { return slices.Contains(m.PeerURLs, c.peerURL(p)) }) {
			parts = append(parts, p.name()+"="+c.peerURL(p))
		}
	}
	return strings.Join(parts, ",")
}

// askMembers returns the membership as the first of the other members knows it that answers; none if none answers: then all are new, or down.
func (c Config) askMembers(ctx context.Context) ([]memberInfo, error) {
	tls, err := c.TLS.Load()
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: askTimeout, Transport: &http.Transport{TLSClientConfig: tls, DisableKeepAlives: true}}
	for _, p := range c.others() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.peerURL(p)+"/members", nil)
		if err != nil {
			return nil, err
		}
		known, err := ask(&client, req)
		if err == nil {
			return known, nil
		}
		// Who refuses our certificate, or is not who it should be, is there: this member is no founder.
		if err := c.TLS.Explain(err); options.AsFault(err) != nil {
			return nil, fmt.Errorf("ask member %d@%s: %w", p.ID, p.peerAddress(), err)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return nil, nil
}

func ask(client *http.Client, req *http.Request) (known []memberInfo, err error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&known)
	return known, err
}

func (c Config) clientOfOthers() (*clientv3.Client, error) {
	tls, err := c.TLS.Load()
	if err != nil {
		return nil, err
	}
	var endpoints []string
	for _, p := range c.others() {
		endpoints = append(endpoints, p.clientAddress())
	}
	return clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: tls, Logger: zap.NewNop()})
}

// replace removes this broker's lost member and adds a learner in its place, as often as it takes: the change is refused until the others have a
// quorum and have noticed that the member is gone.
func (c Config) replace(ctx context.Context, logger *slog.Logger) ([]memberInfo, error) {
	client, err := c.clientOfOthers()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var known []memberInfo
	err = c.insist(ctx, logger, "membership not changed yet", func(ctx context.Context) error {
		known, err = c.replaceOnce(ctx, client)
		return err
	})
	return known, err
}

func (c Config) replaceOnce(ctx context.Context, client *clientv3.Client) ([]memberInfo, error) {
	self, _ := c.self()
	url := c.peerURL(self)
	list, err := client.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range list.Members {
		if slices.Contains(m.PeerURLs, url) && m.Name != "" {
			if _, err := client.MemberRemove(ctx, m.ID); err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) {
				return nil, fmt.Errorf("remove the lost member: %w", err)
			}
		}
	}
	if _, err := client.MemberAddAsLearner(ctx, []string{url}); err != nil && !errors.Is(err, rpctypes.ErrPeerURLExist) {
		return nil, fmt.Errorf("add a learner: %w", err)
	}
	if list, err = client.MemberList(ctx); err != nil {
		return nil, err
	}
	known := make([]memberInfo, len(list.Members))
	for i, m := range list.Members {
		known[i] = memberInfo{ID: m.ID, PeerURLs: m.PeerURLs, Name: m.Name}
	}
	return known, nil
}

// promote makes a learner a voter once it has caught up. A nil member, or one that votes, has nothing to do.
func (m *member) promote(ctx context.Context) error {
	if m == nil || !m.server.Server.IsLearner() {
		return nil
	}
	client, err := m.cfg.clientOfOthers()
	if err != nil {
		return err
	}
	defer client.Close()
	id := uint64(m.server.Server.MemberID())
	err = m.cfg.insist(ctx, m.log, "learner not promoted yet", func(ctx context.Context) error {
		_, err := client.MemberPromote(ctx, id)
		if errors.Is(err, rpctypes.ErrMemberNotLearner) { // an earlier try whose answer was lost
			return nil
		}
		return err
	})
	if err == nil {
		m.log.Info("the coordination member has caught up and votes again", "broker", m.cfg.ID)
	}
	return err
}

// insist repeats f until it succeeds or ctx ends.
func (c Config) insist(ctx context.Context, logger *slog.Logger, what string, f func(ctx context.Context) error) error {
	var told time.Time
	for {
		tctx, cancel := context.WithTimeout(ctx, changeTimeout)
		err := f(tctx)
		cancel()
		if err == nil {
			return nil
		}
		if time.Since(told) >= tellPause {
			told = time.Now()
			logger.Info(what, "broker", c.ID, "error", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", what, err, context.Cause(ctx))
		case <-time.After(changePause):
		}
	}
}
