package ensembletest

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// Record keeps all that is logged and every error that a test meets, to prove that a secret is in none of it.
type Record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (r *Record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// Logger logs everything into the record.
func (r *Record) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Refused keeps an error that must be one, and must name each of the parts.
func (r *Record) Refused(t testing.TB, what string, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s succeeded, want it refused", what)
		return
	}
	_, _ = r.Write([]byte(err.Error() + "\n"))
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s = %v, want it to say %q", what, err, part)
		}
	}
}

// Lacks fails the test if a secret was logged or told.
func (r *Record) Lacks(t testing.TB, secrets ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.text.Len() == 0 {
		t.Error("nothing was recorded")
	}
	for _, s := range secrets {
		if strings.Contains(r.text.String(), s) {
			t.Errorf("the secret %q was logged or told:\n%s", s, r.text.String())
		}
	}
}
