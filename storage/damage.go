package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// DamageError says that a log holds something that cannot be read back as it was
// written. What lies before Offset can be read, what follows it as far as it is
// sound; nothing can be changed until Log.Reset discards the log, for its leader to
// fill it again. It wraps ErrCorrupt. Other logs are not concerned.
type DamageError struct {
	Topic     string
	TopicID   [16]byte
	Partition int32
	LogID     uint64 // in this store
	// Offset is the last offset of the batch that cannot be read, or the first
	// offset from which on nothing could be found.
	Offset int64
	Err    error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s-%d (log %d) is damaged at offset %d: %v", e.Topic, e.Partition, e.LogID, e.Offset, e.Err)
}

// Unwrap implements errors.Is and errors.As.
func (e *DamageError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// unreadable is an error about a place in a log.
type unreadable struct {
	offset int64
	err    error
}

func (u *unreadable) Error() string { return fmt.Sprintf("at offset %d: %v", u.offset, u.err) }
func (u *unreadable) Unwrap() error { return u.err }

// at says where in a log err happened.
func at(offset int64, err error) error {
	if err == nil {
		return nil
	}
	return &unreadable{offset, err}
}

// isDamage tells what is wrong with stored bytes from what is wrong with a call or
// with the whole disk. A sector that cannot be read is a damaged value: what was
// written there is lost, and writing it again helps. What failed with the store is
// the disk's, even where the cause reads like a bad sector.
func isDamage(err error) bool {
	if errors.Is(err, ErrFailed) {
		return false
	}
	return errors.Is(err, ErrCorrupt) || pebble.IsCorruptionError(err) || errors.Is(err, syscall.EIO)
}

// Damage is nil, or a *DamageError once something in the log could not be read. It
// outlives a restart.
func (l *Log) Damage() error {
	if d := l.damage(); d != nil {
		return d
	}
	return nil
}

func (l *Log) damage() *DamageError {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mu.damage
}

// Damaged lists the logs that must be reset.
func (s *Store) Damaged() []*DamageError {
	var all []*DamageError
	for _, l := range s.allLogs() {
		if d := l.damage(); d != nil {
			all = append(all, d)
		}
	}
	return all
}

// generation changes when the log is emptied; it is odd meanwhile.
func (l *Log) generation() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mu.generation
}

// noteDamage remembers, once, that err shows a damaged log, and returns it as a
// *DamageError; first is nil or what it remembered, for persistDamage. An error from
// before or during a Reset says nothing about the log as it is, nor one of a store that
// has failed. The caller is inside the store's gate.
func (l *Log) noteDamage(generation uint64, err error) (first *DamageError, _ error) {
	if err == nil || !isDamage(err) || l.store.failure.get() != nil {
		return nil, err
	}
	var known *DamageError
	if errors.As(err, &known) {
		return nil, err
	}
	l.mu.Lock()
	d := l.newDamage(err)
	switch {
	case l.deleted.Load():
		l.mu.Unlock()
		return nil, ErrLogDeleted
	case l.mu.generation != generation || generation%2 == 1:
		l.mu.Unlock()
		return nil, errOvertaken
	case l.mu.damage != nil:
		l.mu.Unlock()
		return nil, d
	}
	l.mu.damage = d
	l.mu.Unlock()
	l.store.log.Error("log damaged, it must be rebuilt", "topic", d.Topic, "partition", d.Partition, "offset", d.Offset, "error", d.Err)
	l.store.reportDamage(d)
	return d, d
}

// newDamage describes err. The caller holds mu, or has the log alone.
func (l *Log) newDamage(err error) *DamageError {
	d := &DamageError{Topic: l.name, TopicID: l.identity.topicID, Partition: l.identity.partition, LogID: l.id, Offset: l.mu.state.start, Err: err}
	var u *unreadable
	if errors.As(err, &u) {
		d.Offset, d.Err = u.offset, u.err
	}
	return d
}

// persistDamage makes the mark outlive a restart; without it, it is found again. The
// caller holds write, so that no Reset comes between the look and the mark, but not
// mu: the write may stall, and readers go on.
func (l *Log) persistDamage(d *DamageError) {
	if l.store.readOnly || l.store.failure.get() != nil || l.deleted.Load() || l.damage() != d {
		return
	}
	v := append(binary.BigEndian.AppendUint64(nil, uint64(d.Offset)), d.Err.Error()...)
	if err := l.store.db.Set(prefixKey(l.id, kindDamage), v, pebble.NoSync); err != nil {
		l.store.log.Warn("cannot store that a log is damaged", "error", err)
	}
}

func (l *Log) loadDamage(v []byte) error {
	if len(v) < 8 {
		return fmt.Errorf("damage mark of %d bytes: %w", len(v), ErrCorrupt)
	}
	offset := int64(binary.BigEndian.Uint64(v))
	l.mu.damage = l.newDamage(at(offset, errors.New(string(v[8:]))))
	return nil
}

func (s *Store) reportDamage(d *DamageError) {
	if s.onDamage != nil {
		go s.onDamage(d)
	}
}
