package coordbench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

	"github.com/regency-project/regency/coordination/backend"
)

// rawZooKeeper has a connection for reads, as the layer has; each session is a connection of its own.
type rawZooKeeper struct {
	endpoint, prefix string
	conn             *zk.Conn
	known            *versions
	guards           guardNames
}

// guardNames are the guard nodes of the ephemeral nodes that exist.
type guardNames struct {
	mu    sync.Mutex
	byKey map[string]string
}

func (g *guardNames) get(key string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byKey[key]
}

func (g *guardNames) set(key, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byKey == nil {
		g.byKey = map[string]string{}
	}
	g.byKey[key] = name
}

type silent struct{}

func (silent) Printf(string, ...any) {}

var openACL = zk.WorldACL(zk.PermAll)

// pipelined is how many gets wait for their answers at the same time in the raw read of a directory.
const pipelined = 64

func connectZooKeeper(ctx context.Context, endpoint string) (*zk.Conn, error) {
	conn, events, err := zk.Connect([]string{endpoint}, 10*time.Second, zk.WithLogger(silent{}), zk.WithMaxBufferSize(16<<20))
	if err != nil {
		return nil, err
	}
	for {
		select {
		case e := <-events:
			if e.State == zk.StateHasSession {
				return conn, nil
			}
		case <-ctx.Done():
			conn.Close()
			return nil, context.Cause(ctx)
		}
	}
}

func openRawZooKeeper(ctx context.Context, endpoint, prefix string) (rawClient, error) {
	conn, err := connectZooKeeper(ctx, endpoint)
	if err != nil {
		return nil, fmt.Errorf("raw zookeeper client: %w", err)
	}
	r := &rawZooKeeper{endpoint: endpoint, prefix: "/" + prefix, conn: conn, known: newVersions()}
	path := ""
	for segment := range strings.SplitSeq(prefix, "/") {
		path += "/" + segment
		if err := r.create(path); err != nil {
			conn.Close()
			return nil, err
		}
	}
	for _, dir := range append([]string{"guards", "sessions"}, backend.Directories...) {
		if err := r.create(r.prefix + "/" + dir); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return r, nil
}

func (r *rawZooKeeper) create(path string) error {
	if _, err := r.conn.Create(path, nil, 0, openACL); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return fmt.Errorf("raw zookeeper client: create %s: %w", path, err)
	}
	return nil
}

func (r *rawZooKeeper) Close() { r.conn.Close() }

type rawZooKeeperSession struct {
	*rawZooKeeper
	conn  *zk.Conn
	path  string
	owned []string // ephemeral keys that it made
}

func (r *rawZooKeeper) OpenSession(ctx context.Context) (rawSession, error) {
	conn, err := connectZooKeeper(ctx, r.endpoint)
	if err != nil {
		return nil, err
	}
	s := &rawZooKeeperSession{rawZooKeeper: r, conn: conn, path: fmt.Sprintf("%s/sessions/%016x", r.prefix, uint64(conn.SessionID()))}
	if _, err := conn.Create(s.path, nil, zk.FlagEphemeral, openACL); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *rawZooKeeperSession) Txn(_ context.Context, guards []backend.Guard, ops []backend.Op) (uint64, error) {
	var multi []any
	guarded, writes := map[string]bool{}, map[string]backend.OpKind{}
	for _, op := range ops {
		writes[op.Key] = op.Kind
	}
	for _, g := range guards {
		guarded[g.Key] = true
		path := s.prefix + "/" + g.Key
		switch version, kind := s.known.get(g.Key), writes[g.Key]; {
		case version == 0 && (kind == backend.Create || kind == backend.CreateEphemeral), kind == backend.Set, kind == backend.Delete:
		case version == 0:
			multi = append(multi, &zk.CreateRequest{Path: path, Acl: openACL}, &zk.DeleteRequest{Path: path, Version: -1})
		case s.guards.get(g.Key) != "":
			multi = append(multi, &zk.CheckVersionRequest{Path: s.prefix + "/guards/" + s.guards.get(g.Key), Version: -1})
		default:
			multi = append(multi, &zk.CheckVersionRequest{Path: path, Version: int32(version) - 1})
		}
	}
	answers := make([]int, len(ops))
	names := make([]string, len(ops))
	for i, op := range ops {
		path := s.prefix + "/" + op.Key
		if guard := s.guards.get(op.Key); guard != "" && (op.Kind == backend.Delete || op.Kind == backend.ReplaceEphemeral) {
			multi = append(multi, &zk.DeleteRequest{Path: s.prefix + "/guards/" + guard, Version: -1}, &zk.DeleteRequest{Path: path, Version: -1})
		} else if op.Kind == backend.Delete {
			multi = append(multi, &zk.DeleteRequest{Path: path, Version: -1})
		}
		switch op.Kind {
		case backend.Create:
			multi = append(multi, &zk.CreateRequest{Path: path, Data: op.Value, Acl: openACL})
		case backend.Set:
			version := int32(-1)
			if guarded[op.Key] {
				version = int32(s.known.get(op.Key)) - 1
			}
			multi = append(multi, &zk.SetDataRequest{Path: path, Data: op.Value, Version: version})
			answers[i] = len(multi)
		case backend.CreateEphemeral, backend.ReplaceEphemeral:
			var random [16]byte
			rand.Read(random[:])
			names[i] = hex.EncodeToString(random[:])
			s.owned = append(s.owned, op.Key)
			multi = append(multi,
				&zk.CreateRequest{Path: path, Data: append([]byte("E"+names[i]), op.Value...), Acl: openACL, Flags: zk.FlagEphemeral},
				&zk.CreateRequest{Path: s.prefix + "/guards/" + names[i], Acl: openACL, Flags: zk.FlagEphemeral})
		}
	}
	multi = append(multi, &zk.SetDataRequest{Path: s.path, Version: -1})
	results, err := s.conn.Multi(multi...)
	if err != nil {
		return 0, err
	}
	for i, op := range ops {
		switch {
		case op.Kind == backend.Delete:
			s.known.set(op.Key, 0)
		case answers[i] > 0:
			s.known.set(op.Key, uint64(results[answers[i]-1].Stat.Version)+1)
		default:
			s.known.set(op.Key, 1)
		}
		s.guards.set(op.Key, names[i])
	}
	return s.known.get(ops[0].Key), nil
}

func (s *rawZooKeeperSession) Close(context.Context) error {
	s.conn.Close()
	s.known.forget(s.owned)
	for _, key := range s.owned {
		s.guards.set(key, "")
	}
	return nil
}

func (r *rawZooKeeper) Watch(ctx context.Context, key string, fn func(uint64)) error {
	for {
		_, stat, changed, err := r.conn.GetW(r.prefix + "/" + key)
		if err != nil {
			return err
		}
		fn(uint64(stat.Version) + 1)
		select {
		case e := <-changed:
			if e.Err != nil {
				return e.Err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *rawZooKeeper) List(ctx context.Context, prefix string) (int, error) {
	dir := "/" + prefix + "/records"
	names, _, err := r.conn.Children(dir)
	if err != nil {
		return 0, err
	}
	values := make([][]byte, len(names))
	g, ctx := errgroup.WithContext(ctx)
	for worker := range pipelined {
		g.Go(func() error {
			for i := worker; i < len(names) && ctx.Err() == nil; i += pipelined {
				data, _, err := r.conn.Get(dir + "/" + names[i])
				if err != nil {
					return err
				}
				values[i] = data
			}
			return nil
		})
	}
	return len(values), g.Wait()
}
