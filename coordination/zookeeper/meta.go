package zookeeper

import "sync"

// meta is what a guard on one version of a key is made of.
type meta struct {
	version     uint64
	dataVersion int32  // of a persistent node
	guard       string // name of the guard node of an ephemeral node; empty for a persistent one
}

func (m meta) ephemeral() bool { return m.guard != "" }

// metaCacheSize is far above the number of keys that are guarded in practice (the chain record, the controller, registrations).
const metaCacheSize = 4096

// metaCache remembers the newest meta seen of each key. It only saves a read: what it holds is believed for the version that it names, and a
// key that it lacks is read.
type metaCache struct {
	mu struct {
		sync.Mutex
		byKey map[string]meta
	}
}

func newMetaCache() *metaCache {
	c := &metaCache{}
	c.mu.byKey = map[string]meta{}
	return c
}

func (c *metaCache) get(key string) (meta, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.mu.byKey[key]
	return m, ok
}

// put remembers m, or forgets the key if m is of an absent one.
func (c *metaCache) put(key string, m meta) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.version == 0 {
		delete(c.mu.byKey, key)
		return
	}
	if m.version < c.mu.byKey[key].version {
		return
	}
	if _, known := c.mu.byKey[key]; !known && len(c.mu.byKey) >= metaCacheSize {
		for victim := range c.mu.byKey {
			delete(c.mu.byKey, victim)
			break
		}
	}
	c.mu.byKey[key] = m
}
