package coordbench

import (
	"context"
	"fmt"
	"sync"

	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/profile"
)

// rawClient is a service's own Go client, used directly: no retries, no fail-over, no states. It is what the layer is compared with.
type rawClient interface {
	// OpenSession makes at the service what the layer's session consists of there.
	OpenSession(ctx context.Context) (rawSession, error)
	// Watch calls fn with the version of the key after each change until ctx ends, beginning with the present one.
	Watch(ctx context.Context, key string, fn func(version uint64)) error
	// List reads all entries of the layer's cluster below prefix/records by the best means of the service, and returns how many there were.
	List(ctx context.Context, prefix string) (int, error)
	Close()
}

// rawSession is a session with one transaction call. Versions are the service's own: etcd's revision, Consul's ModifyIndex, ZooKeeper's dataVersion + 1;
// 0 is absence. It keeps those of what it wrote.
type rawSession interface {
	// Txn sends the transaction that the layer's backend would send for the same guards and ops. Guards on a key that it wrote before are on that version,
	// whatever the guard says; others on absence. It returns the new version of the first op's key.
	Txn(ctx context.Context, guards []backend.Guard, ops []backend.Op) (uint64, error)
	Close(ctx context.Context) error
}

// versions are those of the keys of one raw cluster, shared by its sessions.
type versions struct {
	mu    sync.Mutex
	byKey map[string]uint64
}

func newVersions() *versions { return &versions{byKey: map[string]uint64{}} }

func (v *versions) get(key string) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.byKey[key]
}

func (v *versions) set(key string, version uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if version == 0 {
		delete(v.byKey, key)
		return
	}
	v.byKey[key] = version
}

func (v *versions) forget(keys []string) {
	for _, key := range keys {
		v.set(key, 0)
	}
}

// openRaw connects to one member of the service.
func openRaw(ctx context.Context, b profile.Backend, endpoint, prefix string) (rawClient, error) {
	switch b {
	case profile.Etcd, profile.Embedded:
		return openRawEtcd(endpoint, prefix)
	case profile.ZooKeeper:
		return openRawZooKeeper(ctx, endpoint, prefix)
	case profile.Consul:
		return openRawConsul(ctx, endpoint, prefix)
	}
	return nil, fmt.Errorf("no raw client for backend %q", b)
}
