package etcd

import (
	"context"
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/regency-project/regency/coordination"
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
