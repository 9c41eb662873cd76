package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// foundersFile, in the member's directory, holds the members with which the ensemble was founded. Raft's log has them too, but in a form that
// cannot be read before the member runs.
const foundersFile = "members.json"

// errMembers: the members of a running ensemble are not what the configuration says. Growing it by configuration is refused: two brokers started with
// lists of different lengths would found two ensembles, each with a majority of its own list.
func (c Config) errMembers(founded []string) error {
	return fmt.Errorf("the ensemble was founded with the members %s, but by peers they are %s (the first 1, 3 or 5 listed); the list of members cannot be changed: "+
		"list the founding members first, in any order, and further brokers, which become clients of theirs, after them",
		strings.Join(founded, ", "), strings.Join(c.peerURLs(), ", "))
}

// peerURLs identify the members, sorted.
func (c Config) peerURLs() []string {
	var urls []string
	for _, p := range c.Members() {
		urls = append(urls, c.peerURL(p))
	}
	slices.Sort(urls)
	return urls
}

// checkFounders compares the members with those at the first start of this member, if there was one.
func (c Config) checkFounders() error {
	path := filepath.Join(c.dir(), foundersFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var founded []string
	if err := json.Unmarshal(data, &founded); err != nil {
		return fmt.Errorf("%s is damaged: %w; delete it if the list of members was never changed", path, err)
	}
	if !slices.Equal(withoutScheme(founded), withoutScheme(c.peerURLs())) {
		return c.errMembers(founded)
	}
	return nil
}

// withoutScheme lets a cluster turn TLS on, which the servers refuse or accept themselves.
func withoutScheme(urls []string) []string {
	var hosts []string
	for _, u := range urls {
		_, host, _ := strings.Cut(u, "://")
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)
	return hosts
}

// writeFounders is called before the member first runs.
func (c Config) writeFounders() error {
	path := filepath.Join(c.dir(), foundersFile)
	data, err := json.Marshal(c.peerURLs())
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".new", path)
}

// checkKnown compares the members with those that a running ensemble knows. One may be missing there: a member whose disk was lost is removed before it is
// added again.
func (c Config) checkKnown(known []string) error {
	known, mine := withoutScheme(known), withoutScheme(c.peerURLs())
	missing := slices.DeleteFunc(slices.Clone(mine), func(u string) bool { return slices.Contains(known, u) })
	strange := slices.DeleteFunc(slices.Clone(known), func(u string) bool { return slices.Contains(mine, u) })
	if len(missing) > 1 || len(strange) > 0 {
		return c.errMembers(known)
	}
	return nil
}

// joinPatience is how long a member that joins lets another's replacement finish.
const joinPatience = 3 * time.Second

// checkJoin compares the members with those that the others know, this one apart, before this one is added. For a moment another may be missing there.
func (c Config) checkJoin(ctx context.Context, known []memberInfo) ([]memberInfo, error) {
	self, _ := c.self()
	for began := time.Now(); len(known) > 0; {
		urls := append(withoutScheme(peerURLsOf(known)), withoutScheme([]string{c.peerURL(self)})...)
		slices.Sort(urls)
		if slices.Equal(slices.Compact(urls), withoutScheme(c.peerURLs())) {
			return known, nil
		}
		if time.Since(began) > joinPatience {
			return nil, c.errMembers(peerURLsOf(known))
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(changePause):
		}
		again, err := c.askMembers(ctx)
		if err != nil {
			return nil, err
		}
		if len(again) > 0 {
			known = again
		}
	}
	return known, nil
}

func peerURLsOf(known []memberInfo) []string {
	var urls []string
	for _, m := range known {
		urls = append(urls, m.PeerURLs...)
	}
	return urls
}

// checkEnsemble asks the ensemble, which has a quorum, for its members: a broker that runs none of them has nothing else to compare with.
func (c Config) checkEnsemble(ctx context.Context) error {
	t, err := c.TLS.Load()
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Client().Hosts, TLS: t, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	list, err := client.MemberList(ctx)
	if err != nil {
		return nil // it had a quorum a moment ago; the check is for people's mistakes and may be left to another start
	}
	var urls []string
	for _, m := range list.Members {
		urls = append(urls, m.PeerURLs...)
	}
	return c.checkKnown(urls)
}
