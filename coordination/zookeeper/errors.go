package zookeeper

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"

	"github.com/regency-project/regency/coordination"
)

// What can go wrong between us and the client library, besides the service's own answers.
var (
	// errNotSent: the request never reached the client's queue.
	errNotSent = errors.New("not sent")
	// errNoAnswer: the request was handed to the client and no answer came in time; it may still be sent.
	errNoAnswer = errors.New("no answer")
	// errRequestLimit is why, unless the caller's context ended.
	errRequestLimit = errors.New("request limit reached")
)

// translate turns the error of a read, or of any operation that is harmless to repeat, into one of package coordination. An expired session
// is the caller's business where it matters (translateWrite): for a read it only means that another connection must be made.
func translate(verb string, err error) error {
	switch {
	case err == nil:
		return nil
	case isRefusal(err):
		return fmt.Errorf("%s: %w: the service refused our credentials (check user and password_file, or name another prefix: this one belongs to another user): %w", verb, coordination.ErrUnavailable, err)
	default:
		return fmt.Errorf("%s: %w: %w", verb, coordination.ErrUnavailable, err)
	}
}

// isRefusal: the service answered, and will answer the same the next time. Its answer to a wrong password is NoAuth, to an operation on a node of the
// user's: authentication itself, by the digest scheme, takes any password.
func isRefusal(err error) bool {
	return errors.Is(err, zk.ErrNoAuth) || errors.Is(err, zk.ErrAuthFailed) || errors.Is(err, zk.ErrInvalidACL)
}

// translateWrite turns the error of a write on a session into one of package coordination.
//
// zk.ErrSessionExpired certainly means "not applied": the server said so in answer to this request (the client flushes what was in flight with
// ErrConnectionClosed before it can learn of an expiry by reconnecting). So does ErrSessionMoved, and ErrNoServer, with which the client
// flushes what it had queued and never sent. Everything that is neither an answer nor known to be unsent is an unknown outcome.
func translateWrite(verb string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, zk.ErrSessionExpired):
		return fmt.Errorf("%s: %w: %w", verb, coordination.ErrSessionLost, err)
	case errors.Is(err, errNotSent), errors.Is(err, zk.ErrNoServer), errors.Is(err, zk.ErrSessionMoved),
		isRefusal(err), errors.Is(err, zk.ErrNoNode), errors.Is(err, zk.ErrInvalidPath), errors.Is(err, zk.ErrBadArguments):
		return translate(verb, err)
	default:
		return fmt.Errorf("%s: %w: %w", verb, coordination.ErrOutcomeUnknown, err)
	}
}

// ended is the error of an operation whose context ended.
func ended(ctx context.Context, kind error) error {
	return fmt.Errorf("%w: %w", kind, context.Cause(ctx))
}
