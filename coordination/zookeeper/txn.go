package zookeeper

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
)

const guardNameLen = 32

// newGuardName names one creation of an ephemeral node: 128 random bits.
func newGuardName() string {
	var b [guardNameLen / 2]byte
	rand.Read(b[:]) // never fails: crypto/rand
	return hex.EncodeToString(b[:])
}

// multi is one transaction in the making.
type multi struct {
	s     *Session
	acl   []zk.ACL
	ops   []any
	origs []origin // of each of ops
	size  int      // of the request, as encoded
	// answer is the place in ops of the write that each op of the caller became, -1 for a deletion; made holds guard names of created ephemerals.
	answer []int
	made   []string
}

// origin tells what a failed operation of a multi means.
type origin struct {
	guard int // index of the guard that it checks, or -1
	key   string
	own   bool // the write to the session's node
}

// Txn implements backend.Session.
func (s *Session) Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) ([]uint64, error) {
	if err := s.alive(); err != nil {
		return nil, err
	}
	known, err := s.resolve(ctx, guards, ops)
	if err != nil {
		return nil, err
	}
	m, err := s.build(guards, ops, known)
	if err != nil {
		return nil, err
	}
	if m.size > maxRequest {
		return nil, fmt.Errorf("transaction of %d bytes, the limit is %d: %w", m.size, maxRequest, coordination.ErrTooLarge)
	}
	results, err := callWithin(ctx, s.link, m.limit(), func(c *zk.Conn) (answers, error) {
		res, err := c.Multi(m.ops...)
		return answers{res, err}, nil
	})
	if err != nil { // no answer of the library
		return nil, s.fail("transaction", err)
	}
	if results.err != nil {
		return nil, m.failure(results)
	}
	return m.versions(ops, results.list, s.store.seen), nil
}

// answers keeps the results of a multi together with its error: they say which operation failed.
type answers struct {
	list []zk.MultiResponse
	err  error
}

// resolve finds what guards and deletions are made of. A guard on a version that is not the present one is a conflict already.
func (s *Session) resolve(ctx context.Context, guards []backend.Guard, ops []backend.Op) (map[string]meta, error) {
	known := make(map[string]meta, len(guards))
	guarded := make(map[string]bool, len(guards))
	for i, g := range guards {
		guarded[g.Key] = true
		if g.Version == 0 {
			continue
		}
		m, ok := s.store.seen.get(g.Key)
		if !ok || m.version != g.Version || !m.ephemeral() && deletable(g.Key) {
			n, err := s.store.getNode(ctx, g.Key)
			if err != nil {
				return nil, err
			}
			m = n.meta
		}
		if m.version != g.Version {
			return nil, &coordination.ConflictError{Guard: i, Key: g.Key}
		}
		known[g.Key] = m
	}
	// Whether an unguarded key is ephemeral, and with which guard node, must be known to remove it whole. The read may be stale: then the
	// guard node is gone, and the transaction is refused.
	var ask []string
	for _, op := range ops {
		if guarded[op.Key] || (op.Kind != backend.Delete && op.Kind != backend.ReplaceEphemeral) {
			continue
		}
		if m, ok := s.store.seen.get(op.Key); ok {
			known[op.Key] = m
		} else {
			ask = append(ask, op.Key)
		}
	}
	return known, s.learn(ctx, ask, known)
}

// deletable says of a persistent key that it may have been deleted and made again since its meta was seen, when a dataVersion means nothing: such a guard is
// read anew. (What happens between that read and the transaction is beyond a multi's checks: see backend.Guard.)
func deletable(key string) bool { return strings.Contains(key, "/") }

// build makes the multi: guards without an op of their own first, then the ops with their guards folded in, then the session's node.
func (s *Session) build(guards []backend.Guard, ops []backend.Op, known map[string]meta) (*multi, error) {
	m := &multi{s: s, acl: s.store.acl, size: 4 + 8 + 9, answer: make([]int, len(ops)), made: make([]string, len(ops))}
	guardOf := make(map[string]int, len(guards))
	writes := make(map[string]backend.OpKind, len(ops))
	for _, op := range ops {
		writes[op.Key] = op.Kind
	}
	for i, g := range guards {
		guardOf[g.Key] = i
		kind, written := writes[g.Key]
		m.guard(origin{guard: i, key: g.Key}, g, known[g.Key], kind, written)
	}
	for i, op := range ops {
		o := origin{guard: -1, key: op.Key}
		if g, ok := guardOf[op.Key]; ok {
			o.guard = g
		}
		if err := m.op(i, o, op, known[op.Key], o.guard >= 0); err != nil {
			return nil, err
		}
	}
	m.set(origin{guard: -1, key: sessionDir + "/" + s.id, own: true}, s.path, nil, -1)
	return m, nil
}

// guard adds a check, unless the write of the same key (kind, if written) carries it.
func (m *multi) guard(o origin, g backend.Guard, known meta, kind backend.OpKind, written bool) {
	path := m.s.store.path(g.Key)
	switch {
	case g.Version == 0 && written && (kind == backend.Create || kind == backend.CreateEphemeral):
		// The creation fails if the key is there.
	case g.Version == 0:
		// A multi cannot check for absence; making the node and removing it can. Nobody sees it in between.
		m.create(o, path, nil, 0)
		m.delete(o, path, -1)
	case written && (kind == backend.Delete || kind == backend.ReplaceEphemeral), written && kind == backend.Set && !known.ephemeral():
		// The write names the version, or the guard node.
	case known.ephemeral():
		m.check(o, m.s.store.path(guardDir+"/"+known.guard), -1)
	default:
		m.check(o, path, known.dataVersion)
	}
}

// op adds the write. known describes the present node where that matters; guarded says that it is the version to insist on.
func (m *multi) op(i int, o origin, op backend.Op, known meta, guarded bool) error {
	path := m.s.store.path(op.Key)
	version := int32(-1)
	if guarded && known.version != 0 && !known.ephemeral() {
		version = known.dataVersion
	}
	m.answer[i] = -1
	switch op.Kind {
	case backend.Create:
		m.answer[i] = m.create(o, path, op.Value, 0)
	case backend.Set:
		value := op.Value
		if known.ephemeral() { // stays the same creation
			value, m.made[i] = envelope(known.guard, op.Value), known.guard
		}
		m.answer[i] = m.set(o, path, value, version)
	case backend.Delete:
		m.remove(o, path, known, version)
	case backend.ReplaceEphemeral:
		m.remove(o, path, known, version)
		m.answer[i] = m.ephemeral(i, o, path, op.Value)
	case backend.CreateEphemeral:
		m.answer[i] = m.ephemeral(i, o, path, op.Value)
	default:
		return fmt.Errorf("op %d on %q: unknown kind %d", i, op.Key, op.Kind)
	}
	return nil
}

// remove deletes a key and, if it is ephemeral, its guard node: first, since its absence tells that the creation meant is gone.
func (m *multi) remove(o origin, path string, known meta, version int32) {
	if known.ephemeral() {
		m.delete(o, m.s.store.path(guardDir+"/"+known.guard), -1)
	}
	m.delete(o, path, version)
}

func (m *multi) ephemeral(i int, o origin, path string, value []byte) int {
	m.made[i] = newGuardName()
	at := m.create(o, path, envelope(m.made[i], value), zk.FlagEphemeral)
	m.create(o, m.s.store.path(guardDir+"/"+m.made[i]), nil, zk.FlagEphemeral)
	return at
}

// envelope is the data of an ephemeral node.
func envelope(guard string, value []byte) []byte {
	b := make([]byte, 0, 1+guardNameLen+len(value))
	b = append(b, 'E')
	b = append(b, guard...)
	return append(b, value...)
}

// Encoded, each operation has a header of 9 bytes, and each string or byte slice a length of 4.
func (m *multi) add(o origin, op any, size int) int {
	m.ops = append(m.ops, op)
	m.origs = append(m.origs, o)
	m.size += 9 + size
	return len(m.ops) - 1
}

func (m *multi) create(o origin, path string, data []byte, flags int32) int {
	size := 4 + len(path) + 4 + len(data) + 4 + 4
	for _, a := range m.acl {
		size += 4 + 4 + len(a.Scheme) + 4 + len(a.ID)
	}
	return m.add(o, &zk.CreateRequest{Path: path, Data: data, Acl: m.acl, Flags: flags}, size)
}

func (m *multi) set(o origin, path string, data []byte, version int32) int {
	return m.add(o, &zk.SetDataRequest{Path: path, Data: data, Version: version}, 4+len(path)+4+len(data)+4)
}

func (m *multi) delete(o origin, path string, version int32) {
	m.add(o, &zk.DeleteRequest{Path: path, Version: version}, 4+len(path)+4)
}

func (m *multi) check(o origin, path string, version int32) {
	m.add(o, &zk.CheckVersionRequest{Path: path, Version: version}, 4+len(path)+4)
}

// limit bounds the transaction: the request limit is for a small one; each 100 operations and each 64 KiB add another.
func (m *multi) limit() time.Duration {
	return m.s.link.request * time.Duration(1+len(m.ops)/100+m.size/(64<<10))
}

// failure says what a refused multi means. Its answers are nil before the operation that failed, which is thus the first with an error.
func (m *multi) failure(a answers) error {
	for i, r := range a.list {
		if r.Error == nil || i >= len(m.origs) {
			continue
		}
		o := m.origs[i]
		_, creates := m.ops[i].(*zk.CreateRequest)
		switch {
		case o.own:
			return m.s.fail("transaction", r.Error)
		case creates && errors.Is(r.Error, zk.ErrNoNode):
			return fmt.Errorf("transaction: create %s: %w: its directory is missing", o.key, coordination.ErrUnavailable)
		case errors.Is(r.Error, zk.ErrNoNode), errors.Is(r.Error, zk.ErrNodeExists), errors.Is(r.Error, zk.ErrBadVersion):
			return &coordination.ConflictError{Guard: o.guard, Key: o.key}
		}
		return translateWrite("transaction: "+o.key, r.Error)
	}
	if errors.Is(a.err, zk.ErrNoNode) { // not of any operation of ours
		return fmt.Errorf("transaction: %w: %w", coordination.ErrOutcomeUnknown, a.err)
	}
	return m.s.fail("transaction", a.err)
}

// versions reads the answers of a multi that was applied, and remembers what a guard on the new versions is made of.
func (m *multi) versions(ops []backend.Op, list []zk.MultiResponse, seen *metaCache) []uint64 {
	versions := make([]uint64, len(ops))
	zxid := uint64(list[len(list)-1].Stat.Mzxid)
	for i, op := range ops {
		at := m.answer[i]
		switch {
		case at < 0:
			seen.put(op.Key, meta{})
			continue
		case op.Kind == backend.Set && m.made[i] != "":
			versions[i] = uint64(list[at].Stat.Czxid)
		case op.Kind == backend.Set:
			versions[i] = zxid
			seen.put(op.Key, meta{version: zxid, dataVersion: list[at].Stat.Version})
			continue
		default:
			versions[i] = zxid
		}
		seen.put(op.Key, meta{version: versions[i], guard: m.made[i]})
	}
	return versions
}
