package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend/options"
)

// requestError is a request that failed, with what decides whether it can have been applied.
type requestError struct {
	agent  string
	status int  // of the answer; 0: none came
	sent   bool // a connection was had, so bytes may have left
	err    error
}

func (e *requestError) Error() string { return fmt.Sprintf("agent %s: %v", e.agent, e.err) }
func (e *requestError) Unwrap() error { return e.err }

// says is true if the answer's text contains part: the service gives one status, 500, to most of what can happen.
func (e *requestError) says(part string) bool {
	return e.status != 0 && strings.Contains(e.err.Error(), part)
}

// refused: the service will give the same answer the next time. (429 is a rate limit.)
func (e *requestError) refused() bool {
	return e.status >= 400 && e.status < http.StatusTooManyRequests || e.status != 0 && options.AsFault(e.err) != nil
}

// harmless: the request certainly changed nothing.
func (e *requestError) harmless() bool {
	switch {
	case e.status == 0:
		return !e.sent
	case e.status >= 400 && e.status < 500: // refused, rate limits (429) included
		return true
	default:
		// What the agent says when it found nobody to forward the request to. A leader that lost its office while the request was in its
		// hands says something else.
		return e.says("No cluster leader")
	}
}

// requestErrors lists the requests that failed, in the order in which they were made: a repeated request has failed at several agents.
func requestErrors(err error) []*requestError {
	switch e := err.(type) {
	case *requestError:
		return []*requestError{e}
	case interface{ Unwrap() []error }:
		var all []*requestError
		for _, part := range e.Unwrap() {
			all = append(all, requestErrors(part)...)
		}
		return all
	case interface{ Unwrap() error }:
		return requestErrors(e.Unwrap())
	}
	return nil
}

// translate turns the error of a read, or of any request that is harmless to repeat, into one of package coordination.
func translate(verb string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, coordination.ErrClosed):
		return fmt.Errorf("%s: %w", verb, err)
	default:
		return fmt.Errorf("%s: %w: %w", verb, coordination.ErrUnavailable, err)
	}
}

// translateWrite turns the error of a write into one of package coordination.
func translateWrite(verb string, err error) error {
	tries := requestErrors(err)
	switch {
	case err == nil:
		return nil
	case slices.ContainsFunc(tries, func(r *requestError) bool { return !r.harmless() }):
		// One agent may have applied what the next one could not be asked, or refused.
		return fmt.Errorf("%s: %w: %w", verb, coordination.ErrOutcomeUnknown, err)
	case slices.ContainsFunc(tries, func(r *requestError) bool { return r.status == http.StatusRequestEntityTooLarge }):
		return fmt.Errorf("%s: %w: %w", verb, coordination.ErrTooLarge, err)
	default:
		return translate(verb, err)
	}
}

// ended is the error of an operation whose context ended.
func ended(ctx context.Context) error {
	return context.Cause(ctx)
}
