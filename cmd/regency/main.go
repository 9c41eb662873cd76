// Command regency is the broker, the harness that breaks it, and the tools around both. This package is the only place that reads flags, environment and
// files of settings, and the only one that knows all coordination backends.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process the hard way.
	context.AfterFunc(ctx, stop)
	root := newRoot()
	root.SetArgs(os.Args[1:])
	if err := root.ExecuteContext(ctx); err != nil {
		var code exitCode
		if errors.As(err, &code) {
			os.Exit(int(code))
		}
		fmt.Fprintf(os.Stderr, "regency: %v\n", err)
		os.Exit(1)
	}
}

// exitCode is an error that only sets the exit status: the message was printed already.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit status %d", int(c)) }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "regency",
		Short: "A Kafka-protocol broker cluster with pluggable coordination, and a harness that breaks it and measures",
		Long: `Regency is a Kafka-protocol broker cluster whose coordination is pluggable (embedded, etcd, ZooKeeper, Consul),
and a harness that kills and freezes it on purpose and measures failover latency and throughput.

Start a cluster to play with:        regency up
Compare the coordination services:   regency bench run
Read a run again:                    regency bench report results/<run>`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
	}
	root.AddCommand(newBroker(), newGuardian(), newUp(), newTopic(), newLog(), newBench())
	return root
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v + " " + info.GoVersion
}

// newLogger makes the process's logger.
func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: use debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}
