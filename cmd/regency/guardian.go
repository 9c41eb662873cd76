package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/regency-project/regency/broker/detector"
	"github.com/regency-project/regency/broker/event"
	"github.com/regency-project/regency/coordination"
	"github.com/spf13/cobra"
)

// guardianSettings go to a guardian over its pipe: the URL may hold secrets, and arguments can be read by anyone on the machine.
type guardianSettings struct {
	Coordination string `json:"coordination"`
	Events       string `json:"events,omitempty"`
	LogLevel     string `json:"log_level"`
}

// newGuardian is the process that detector guardian puts beside a broker. It is nothing that anyone starts by hand.
func newGuardian() *cobra.Command {
	return &cobra.Command{
		Use: "guardian", Short: "Evict a broker when it dies (started by a broker)", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			// It ends with its broker, and not before: neither by what stops a whole service, or is typed at the terminal, nor by a reader of its log that left.
			signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
			return detector.RunGuardian(os.Stdin, openGuardian)
		},
	}
}

func openGuardian(ctx context.Context, broker int32, raw json.RawMessage) (coordination.Coordinator, *event.Log, *slog.Logger, error) {
	var s guardianSettings
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, nil, nil, fmt.Errorf("read settings: %w", err)
	}
	log, err := newLogger(os.Stderr, s.LogLevel)
	if err != nil {
		return nil, nil, nil, err
	}
	log = log.With("guardian", broker)
	var events *event.Log
	if s.Events != "" {
		if events, err = event.Open(s.Events, broker); err != nil {
			return nil, nil, nil, err
		}
	}
	c, err := openCoordination(ctx, withoutOwnMember(s.Coordination, broker), hostBroker{id: -1}, log)
	return c, events, log, err
}

// withoutOwnMember puts the broker's own member of an embedded ensemble behind the others: it will be dead when the guardian has to act.
func withoutOwnMember(raw string, broker int32) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "embedded" {
		return raw
	}
	peers := strings.Split(u.Query().Get("peers"), ",")
	members := 1
	for _, n := range []int{3, 5} {
		if len(peers) >= n {
			members = n
		}
	}
	i := slices.IndexFunc(peers, func(p string) bool { return strings.HasPrefix(p, strconv.Itoa(int(broker))+"@") })
	if i < 0 || i >= members {
		return raw
	}
	order := slices.Concat(peers[:i], peers[i+1:members], peers[i:i+1], peers[members:])
	return strings.Replace(raw, strings.Join(peers, ","), strings.Join(order, ","), 1)
}

// guardianCommand starts this program as a guardian.
func (f *brokerFlags) guardianCommand() (detector.GuardianCommand, error) {
	self, err := os.Executable()
	if err != nil {
		return detector.GuardianCommand{}, fmt.Errorf("--detector guardian: %w", err)
	}
	settings, err := json.Marshal(guardianSettings{Coordination: f.coordination, Events: f.events, LogLevel: f.logLevel})
	return detector.GuardianCommand{Path: self, Args: []string{"guardian"}, Settings: settings}, err
}
