package etcd

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/backend/options"
)

// TestTranslateTxn: two meanings never share an error, and what may have been applied never reads as "not applied".
func TestTranslateTxn(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"deadline", context.DeadlineExceeded, coordination.ErrOutcomeUnknown},
		{"server's deadline", status.Error(codes.DeadlineExceeded, "context deadline exceeded"), coordination.ErrOutcomeUnknown},
		{"cancelled", context.Canceled, coordination.ErrOutcomeUnknown},
		{"broken connection", status.Error(codes.Unavailable, "error reading from server: EOF"), coordination.ErrOutcomeUnknown},
		{"leader failed meanwhile", rpctypes.ErrGRPCTimeoutDueToLeaderFail, coordination.ErrOutcomeUnknown},
		{"connection between members lost", rpctypes.ErrTimeoutDueToConnectionLost, coordination.ErrOutcomeUnknown},
		{"server stopped", rpctypes.ErrGRPCStopped, coordination.ErrOutcomeUnknown},
		{"leader changed", rpctypes.ErrGRPCLeaderChanged, coordination.ErrOutcomeUnknown},
		{"something new", errors.New("surprise"), coordination.ErrOutcomeUnknown},
		{"no leader", rpctypes.ErrNoLeader, coordination.ErrUnavailable},
		{"no leader, bare", rpctypes.ErrGRPCNoLeader, coordination.ErrUnavailable},
		{"too many requests", rpctypes.ErrTooManyRequests, coordination.ErrUnavailable},
		{"no space", rpctypes.ErrNoSpace, coordination.ErrUnavailable},
		{"proposal dropped", status.Error(codes.Unknown, proposalDropped), coordination.ErrUnavailable},
		{"permission", rpctypes.ErrPermissionDenied, coordination.ErrUnavailable},
		{"too many operations", rpctypes.ErrTooManyOps, coordination.ErrTooLarge},
		{"too large", rpctypes.ErrRequestTooLarge, coordination.ErrTooLarge},
		{"too large for gRPC", status.Error(codes.ResourceExhausted, "trying to send message larger than max (3 vs. 2)"), coordination.ErrTooLarge},
	} {
		got := translateTxn(c.err)
		for _, sentinel := range []error{coordination.ErrOutcomeUnknown, coordination.ErrUnavailable, coordination.ErrTooLarge, coordination.ErrSessionLost} {
			if is := errors.Is(got, sentinel); is != (sentinel == c.want) {
				t.Errorf("%s: translateTxn(%v) = %v: is %q is %v", c.name, c.err, got, sentinel, is)
			}
		}
		if errors.Is(got, context.DeadlineExceeded) {
			t.Errorf("%s: %v reads as the end of the caller's context", c.name, got)
		}
	}
	for _, err := range []error{rpctypes.ErrLeaseNotFound, rpctypes.ErrGRPCLeaseNotFound} {
		if !isLeaseGone(err) {
			t.Errorf("isLeaseGone(%v) = false", err)
		}
	}
}

func TestTranslateRead(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	if got := translateRead(ctx, "get", rpctypes.ErrNoLeader); !errors.Is(got, coordination.ErrUnavailable) {
		t.Errorf("translateRead(no leader) = %v, want ErrUnavailable", got)
	}
	if got := translateRead(ctx, "get", coordination.ErrClosed); !errors.Is(got, coordination.ErrClosed) || errors.Is(got, coordination.ErrUnavailable) {
		t.Errorf("translateRead(closed) = %v, want ErrClosed only", got)
	}
	cause := errors.New("the caller's reason")
	cancel(cause)
	if got := translateRead(ctx, "get", context.Canceled); !errors.Is(got, cause) {
		t.Errorf("translateRead() after cancellation = %v, want the cause", got)
	}
}

// TestUnsentTxn: a transaction whose context ends before it is sent says both that, and that it was not applied.
func TestUnsentTxn(t *testing.T) {
	s, err := NewStore(Config{Hosts: []string{"127.0.0.1:1"}, Prefix: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ses := &session{store: s, lease: 1, expired: make(chan struct{})}
	_, err = ses.Txn(ctx, nil, []backend.Op{{Kind: backend.Set, Key: "chain"}})
	if !errors.Is(err, coordination.ErrUnavailable) || !errors.Is(err, context.Canceled) || errors.Is(err, coordination.ErrOutcomeUnknown) {
		t.Errorf("Txn() with a cancelled context = %v, want ErrUnavailable and context.Canceled", err)
	}
}

// TestFaultOfOneMember: a fault of one member is not one of all while the others merely fail.
func TestFaultOfOneMember(t *testing.T) {
	ms, err := dialMembers(Config{Hosts: []string{"127.0.0.1:1", "127.0.0.1:2"}, Request: time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ms.close() }()
	for _, faulty := range []int{0, 1, 2} {
		for i, m := range ms.all {
			m.fault.Store(nil)
			if i < faulty {
				m.fault.Store(&options.Fault{Remedy: "ca: wrong", Err: errors.New("refused")})
			}
		}
		err := ms.each(t.Context(), func(context.Context, *member) error { return nil }) // nobody listens there
		fault := options.AsFault(err)
		if (fault != nil) != (faulty > 0) || fault != nil && fault.Everywhere != (faulty == len(ms.all)) {
			t.Errorf("with %d faulty members of 2: each() = %v (fault %+v)", faulty, err, fault)
		}
		if fault := new(options.Faults).Final(err, time.Now()); (fault != nil) != (faulty == len(ms.all)) {
			t.Errorf("with %d faulty members of 2 the first round is final: %v", faulty, fault)
		}
	}
}
