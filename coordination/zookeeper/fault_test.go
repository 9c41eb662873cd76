package zookeeper_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/profile"
)

// TestFrozenMembers freezes one member after the other: the session must survive each, and writes must go on.
func TestFrozenMembers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.ZooKeeper, profile.Matched)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	store := newStore(t, ensembletest.URL(t, e, "frozen"))
	defer store.Close()
	s, err := store.OpenSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	renewing, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		for renewing.Err() == nil {
			if _, err := s.Renew(renewing); errors.Is(err, coordination.ErrSessionLost) {
				t.Errorf("Renew() = %v", err)
				return
			}
			time.Sleep(s.Timeout() / 5)
		}
	})
	defer running.Wait()
	defer stop()
	made, err := s.Txn(ctx, nil, []backend.Op{{Kind: backend.CreateEphemeral, Key: "controller", Value: []byte("me")}, {Kind: backend.Create, Key: "chain"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range e.Members() {
		if err := e.PauseMember(i); err != nil {
			t.Fatal(err)
		}
		frozen := time.Now()
		for { // past the time in which the session would have expired had it stayed with the frozen member
			_, err := s.Txn(ctx, nil, []backend.Op{{Kind: backend.Set, Key: "chain"}})
			if errors.Is(err, coordination.ErrSessionLost) || ctx.Err() != nil {
				t.Fatalf("with member %d frozen for %v: Txn() = %v", i, time.Since(frozen), err)
			}
			if err == nil && time.Since(frozen) > 2*s.Timeout() {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err := e.ResumeMember(i); err != nil {
			t.Fatal(err)
		}
		if err := e.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	got, err := store.Get(ctx, "controller")
	for err != nil && ctx.Err() == nil {
		got, err = store.Get(ctx, "controller")
	}
	if err != nil || got.Version != made[0] {
		t.Errorf("Get(controller) = version %d, %v, want %d", got.Version, err, made[0])
	}
}

// TestSilentServerInTheList opens a session although one of the addresses accepts and never answers.
func TestSilentServerInTheList(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real ensemble")
	}
	e := ensembletest.Start(t, profile.ZooKeeper, profile.Matched)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts for it
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	raw := strings.Replace(ensembletest.URL(t, e, "silent"), "://", "://"+silent.Addr().String()+",", 1)
	for range 5 { // the order of servers is random
		store := newStore(t, raw)
		began := time.Now()
		s, err := store.OpenSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("OpenSession() took %v", took)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("Close() = %v", err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}
