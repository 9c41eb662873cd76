package embedded

import (
	"context"
	"log/slog"
	"time"

	"go.uber.org/zap/zapcore"
)

// logCore hands the server's log to slog, warnings and errors only. The server repeats itself while a member is away; of each message the
// first in ten seconds is kept.
type logCore struct {
	logger *slog.Logger
	fields []zapcore.Field
}

// advice is what the server says at every start about choices that are ours: HTTP serves nothing but its own health here, and users are not enabled.
var advice = map[string]bool{
	"Running http and grpc server on single port. This is not recommended for production.": true,
	"simple token is not cryptographically signed":                                         true,
}

func newLogCore(logger *slog.Logger) zapcore.Core {
	core := &logCore{logger: logger.With("component", "embedded coordination member")}
	return zapcore.NewSamplerWithOptions(core, 10*time.Second, 1, 0)
}

func (c *logCore) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	return &logCore{logger: c.logger, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c *logCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && !advice[e.Message] {
		return checked.AddCore(e, c)
	}
	return checked
}

func (c *logCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		f.AddTo(enc)
	}
	level := slog.LevelWarn
	if e.Level > zapcore.WarnLevel {
		level = slog.LevelError
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	c.logger.LogAttrs(context.Background(), level, e.Message, attrs...)
	return nil
}

func (c *logCore) Sync() error { return nil }
