package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/backend/options"
	"github.com/regency-project/regency/coordination/ensemble/ensembletest"
	"github.com/regency-project/regency/coordination/etcd"
	"github.com/regency-project/regency/coordination/profile"
)

// TestStore holds what only this backend's store promises.
func TestStore(t *testing.T) {
	e := ensembletest.Start(t, profile.Etcd, profile.Tuned)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	raw, err := clientv3.New(clientv3.Config{Endpoints: e.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	newStore := func(t *testing.T, change func(*etcd.Config)) (*etcd.Store, backend.Session) {
		t.Helper()
		cfg := etcd.Config{Hosts: e.Endpoints(), Prefix: strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")), Session: time.Second}
		if change != nil {
			change(&cfg)
		}
		s, err := etcd.NewStore(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		ses, err := s.OpenSession(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return s, ses
	}
	set := func(t *testing.T, ses backend.Session, key string) {
		t.Helper()
		if _, err := ses.Txn(ctx, nil, []backend.Op{{Kind: backend.Set, Key: key, Value: []byte("v")}}); err != nil {
			t.Fatalf("Txn(set %s) = %v", key, err)
		}
	}

	t.Run("NothingAppliesAfterTheLease", func(t *testing.T) {
		s, ses := newStore(t, nil)
		set(t, ses, "records/a")
		var lease int64
		if _, err := fmt.Sscanf(ses.ID(), "%x", &lease); err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Revoke(ctx, clientv3.LeaseID(lease)); err != nil {
			t.Fatal(err)
		}
		// Nothing ephemeral in it, no guard that could fail: the session itself is the guard.
		if _, err := ses.Txn(ctx, nil, []backend.Op{{Kind: backend.Set, Key: "records/a", Value: []byte("late")}}); !errors.Is(err, coordination.ErrSessionLost) {
			t.Errorf("Txn() after the lease's end = %v, want ErrSessionLost", err)
		}
		if got, err := s.Get(ctx, "records/a"); err != nil || string(got.Value) != "v" {
			t.Errorf("Get() = %q, %v, want v", got.Value, err)
		}
		select {
		case <-ses.Expired():
		default:
			t.Error("Expired is open after the service said that the lease is over")
		}
		if _, err := ses.Renew(ctx); !errors.Is(err, coordination.ErrSessionLost) {
			t.Errorf("Renew() = %v, want ErrSessionLost", err)
		}
		if err := ses.Close(ctx); err != nil {
			t.Errorf("Close() of a session that is over = %v", err)
		}
	})

	t.Run("ConflictNamesTheGuard", func(t *testing.T) {
		_, ses := newStore(t, nil)
		set(t, ses, "records/a")
		_, err := ses.Txn(ctx, []backend.Guard{{Key: "records/b"}, {Key: "records/a", Version: 1}}, []backend.Op{{Kind: backend.Set, Key: "records/b"}})
		var conflict *coordination.ConflictError
		if !errors.As(err, &conflict) || conflict.Guard != 1 || conflict.Key != "records/a" {
			t.Errorf("Txn() = %v, want a conflict on guard 1, records/a", err)
		}
	})

	t.Run("PagesAreOneInstant", func(t *testing.T) {
		s, ses := newStore(t, nil)
		const n = 4500
		for start := 0; start < n; start += 100 {
			var ops []backend.Op
			for i := range 100 {
				ops = append(ops, backend.Op{Kind: backend.Create, Key: fmt.Sprintf("records/%05d", start+i), Value: []byte("v")})
			}
			if _, err := ses.Txn(ctx, nil, ops); err != nil {
				t.Fatal(err)
			}
		}
		entries, err := s.List(ctx, "records")
		if err != nil || len(entries) != n || entries[n-1].Key != "records/04499" {
			t.Errorf("List() = %d entries, %v, want %d in order", len(entries), err, n)
		}
		var told backend.Entry
		chain, loaded, err := s.Load(ctx, "chain", "records", func(e backend.Entry) { told = e })
		if err != nil || !reflect.DeepEqual(loaded, entries) || !reflect.DeepEqual(told, chain) {
			t.Errorf("Load() = %v, %d entries, %v after %v, want what List() told, at one instant", chain, len(loaded), err, told)
		}
		var keys []string
		for _, e := range entries[:300] {
			keys = append(keys, e.Key)
		}
		many, err := s.GetMany(ctx, append(keys, "records/absent"))
		if err != nil || len(many) != 301 || many[299].Key != keys[299] || many[300].Version != 0 {
			t.Errorf("GetMany() = %d entries, %v, want 301 in order, the last absent", len(many), err)
		}
	})

	t.Run("WatchFollowsThroughCompaction", func(t *testing.T) {
		s, ses := newStore(t, nil)
		set(t, ses, "records/a")
		wctx, stop := context.WithCancel(ctx)
		told := make(chan backend.Entry)
		ended := make(chan error, 1)
		go func() {
			ended <- s.Watch(wctx, "records/a", func(e backend.Entry) {
				select {
				case told <- e:
				case <-wctx.Done():
				}
			})
		}()
		last := <-told
		for range 3 {
			set(t, ses, "records/a")
			head, err := raw.Get(ctx, "records/a")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := raw.Compact(ctx, head.Header.Revision); err != nil {
				t.Fatal(err)
			}
			for before := last.Version; last.Version == before; {
				last = <-told
			}
		}
		// A live watch proves itself by telling the same again.
		began := time.Now()
		if again := <-told; again.Version != last.Version || time.Since(began) > backend.HeartbeatInterval+time.Second {
			t.Errorf("heartbeat = version %d after %v, want %d within %v", again.Version, time.Since(began), last.Version, backend.HeartbeatInterval)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch() = %v, want the context's error", err)
		}
	})

	t.Run("Users", func(t *testing.T) {
		for _, err := range []error{
			second(raw.UserAdd(ctx, "root", "rootpw")), second(raw.UserGrantRole(ctx, "root", "root")),
			second(raw.RoleAdd(ctx, "regency")),
			second(raw.RoleGrantPermission(ctx, "regency", "teststore-users/", clientv3.GetPrefixRangeEnd("teststore-users/"), clientv3.PermissionType(clientv3.PermReadWrite))),
			second(raw.UserAdd(ctx, "broker", "brokerpw")), second(raw.UserGrantRole(ctx, "broker", "regency")),
			second(raw.AuthEnable(ctx)),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		as := func(password string) func(*etcd.Config) {
			return func(c *etcd.Config) { c.User, c.Password = "broker", options.Secret(password) }
		}
		s, ses := newStore(t, as("brokerpw"))
		set(t, ses, "records/a")
		if got, err := s.Get(ctx, "records/a"); err != nil || got.Version == 0 {
			t.Errorf("Get() = %v, %v", got, err)
		}
		if _, err := ses.Renew(ctx); err != nil {
			t.Errorf("Renew() = %v", err)
		}
		wctx, stop := context.WithCancel(ctx)
		if err := s.Watch(wctx, "records/a", func(backend.Entry) { stop() }); !errors.Is(err, context.Canceled) {
			t.Errorf("Watch() = %v", err)
		}
		stop()

		cfg := etcd.Config{Hosts: e.Endpoints(), Prefix: "teststore-users"}
		as("wrong-secret")(&cfg)
		wrong, err := etcd.NewStore(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer wrong.Close()
		began := time.Now()
		_, err = wrong.OpenSession(ctx)
		if err == nil || !strings.Contains(err.Error(), `"broker"`) || strings.Contains(err.Error(), "wrong-secret") {
			t.Errorf("OpenSession() with a wrong password = %v, want an error that names the user and not the password", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("OpenSession() with a wrong password took %v, want it refused at once", took)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestUnreachable: with nobody listening every call ends with its context, and says where it tried.
func TestUnreachable(t *testing.T) {
	s, err := etcd.NewStore(etcd.Config{Hosts: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Get(context.Background(), "chain"); !errors.Is(err, coordination.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Get() = %v, want ErrUnavailable naming the endpoint", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.OpenSession(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, coordination.ErrUnavailable) {
		t.Errorf("OpenSession() = %v, want the context's end and ErrUnavailable", err)
	}
	if err := s.Watch(context.Background(), "chain", func(backend.Entry) {}); !errors.Is(err, coordination.ErrUnavailable) {
		t.Errorf("Watch() = %v, want ErrUnavailable", err)
	}
}
