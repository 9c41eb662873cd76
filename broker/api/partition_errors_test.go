package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestEndedRequestsAreNotLoggedAsErrors(t *testing.T) {
	var log bytes.Buffer
	b := &Broker{Log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, err := range []error{
		fmt.Errorf("read t-0: %w: %w", context.Canceled, io.EOF),
		fmt.Errorf("read t-0: %w", context.DeadlineExceeded),
	} {
		if got := b.partitionCode(err); got != kerr.RequestTimedOut.Code {
			t.Errorf("partitionCode(%v) = %d, want %d", err, got, kerr.RequestTimedOut.Code)
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
}
