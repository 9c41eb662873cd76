package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend/options"
)

// proposalDropped is raft.ErrProposalDropped's text: the member had no leader to propose to, so nothing entered the log.
const proposalDropped = "raft proposal dropped"

// The foreign error is printed, not wrapped: the end of one try (a deadline of ours) must not read as the end of the caller's context.

// translateRead turns the error of a request without effect into one of package coordination. ctx is the caller's.
func translateRead(ctx context.Context, verb string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", verb, context.Cause(ctx))
	}
	if errors.Is(err, coordination.ErrClosed) {
		return fmt.Errorf("%s: %w", verb, coordination.ErrClosed)
	}
	if fault := options.AsFault(err); fault != nil {
		return fmt.Errorf("%s: %w: %w", verb, coordination.ErrUnavailable, fault)
	}
	return fmt.Errorf("%s: %w: %v", verb, coordination.ErrUnavailable, err)
}

// translateUnsent is translateRead for a write that was not sent: the end of ctx is told as such, and that nothing was applied.
func translateUnsent(ctx context.Context, verb string, err error) error {
	err = translateRead(ctx, verb, err)
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", coordination.ErrUnavailable, err)
	}
	return err
}

// translateTxn turns the error of a transaction that was sent once into one of package coordination. Only an answer of the service that
// names a refusal before the proposal means "not applied"; all else, above all a deadline or a broken connection, is an unknown outcome.
func translateTxn(err error) error {
	kind := coordination.ErrOutcomeUnknown
	switch code, text := answer(err); {
	case sameAnswer(err, rpctypes.ErrGRPCRequestTooLarge), sameAnswer(err, rpctypes.ErrGRPCTooManyOps), messageTooLarge(err):
		kind = coordination.ErrTooLarge
	case sameAnswer(err, rpctypes.ErrGRPCNoLeader), sameAnswer(err, rpctypes.ErrGRPCRequestTooManyRequests), sameAnswer(err, rpctypes.ErrGRPCNoSpace),
		sameAnswer(err, rpctypes.ErrGRPCNotSupportedForLearner), text == proposalDropped:
		kind = coordination.ErrUnavailable
	case code == codes.Unauthenticated, code == codes.PermissionDenied, code == codes.InvalidArgument, code == codes.FailedPrecondition, code == codes.Unimplemented:
		// Refused by the service's checks of the request.
		kind = coordination.ErrUnavailable
	}
	return fmt.Errorf("txn: %w: %v", kind, err)
}

// isLeaseGone says whether the service answered that it does not hold the lease.
func isLeaseGone(err error) bool {
	return sameAnswer(err, rpctypes.ErrGRPCLeaseNotFound)
}

// needsToken says whether the service asked for (new) credentials.
func needsToken(err error) bool {
	return sameAnswer(err, rpctypes.ErrGRPCInvalidAuthToken) || sameAnswer(err, rpctypes.ErrGRPCUserEmpty) || sameAnswer(err, rpctypes.ErrGRPCAuthOldRevision)
}

// refused says whether another member would give the same answer.
func refused(err error) bool {
	return sameAnswer(err, rpctypes.ErrGRPCPermissionDenied) || sameAnswer(err, rpctypes.ErrGRPCAuthFailed) || sameAnswer(err, rpctypes.ErrGRPCAuthNotEnabled)
}

// sameAnswer compares by code and text: the client library hands out the service's answer in several Go types.
func sameAnswer(err, want error) bool {
	if err == nil {
		return false
	}
	code, text := answer(err)
	wantCode, wantText := answer(want)
	return code == wantCode && text == wantText
}

func messageTooLarge(err error) bool {
	code, text := answer(err)
	return code == codes.ResourceExhausted && strings.Contains(text, "message larger than max")
}

// answer is what the service said, whatever Go type carries it. An error that is not the service's has code Unknown.
func answer(err error) (codes.Code, string) {
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		return known.Code(), known.Error()
	}
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Code(), s.GRPCStatus().Message()
	}
	return codes.Unknown, err.Error()
}
