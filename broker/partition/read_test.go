package partition

import (
	"context"
	"io"
	"testing"
)

// Whatever ended the connection, its requests are told of an ordinary cancellation.
func TestReadUnderAnEndedConnectionIsCancelled(t *testing.T) {
	w := newTestWorld(t, 1, 1, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.EOF)
	_, err := w.nodes[1].part().Read(ctx, ReadOptions{MaxBytes: 1, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1})
	w.wantErr(err, context.Canceled)
	w.wantErr(err, io.EOF)
}
