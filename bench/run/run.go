// Package run is the harness's engine: it runs a plan against real clusters and leaves a directory from which every figure can be made again.
//
//	results/<run>/manifest.json       seed, plan, versions and hashes, configuration, environment
//	results/<run>/timeline.jsonl.gz   what happened, raw
//	results/<run>/metrics.json        every figure, computed from the two above
//	results/<run>/logs/               of the blocks in which something went wrong
package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/scenario"
)

var (
	// ErrViolation is wrapped when a correctness check failed: the run's figures are void, and the process must not end with success.
	ErrViolation = errors.New("correctness violated")
	// ErrIncomplete is wrapped when planned trials have no valid result. The figures of the others stand.
	ErrIncomplete = errors.New("run incomplete")
	// ErrNotRun is wrapped, with Options.Strict, when a backend's server is missing. Nothing was started.
	ErrNotRun = errors.New("backend not run")
)

// Options of a run. BrokerBinary is needed; every other zero value is usable.
type Options struct {
	Out            string              // directory of all runs; "results" when empty
	Suite          string              // name of the suite that the rest is from, for the manifest
	Backends       []string            // all when empty
	Profiles       []string            // matched when empty
	Scenarios      []scenario.Scenario // the defaults when empty
	Trials         int                 // of each failover scenario on each backend; 5 when 0
	ScenarioTrials map[string]int      // exceptions from Trials, as in plan.Options
	ProfileTrials  map[string]int      //
	Until          *metrics.Until      // go on after the plan until intervals are narrow; nil: end with the plan
	Shard          string              // "1/3": only the first of three parts of the plan; all when empty
	Seed           uint64              // drawn when 0
	BrokerBinary   string              // the regency program
	ServersDir     string              // coordination servers; where `make servers` puts them when empty
	Flush          string              // sync (when empty) or written, for clusters that do not say it
	Progress       io.Writer           // discarded when nil; a terminal gets a line that is rewritten
	Logger         *slog.Logger        // of the harness itself; discarded when nil
	Command        string              // repeats the run; "{seed}" in it is replaced
	Version        string              // of the harness and brokers, for the manifest
	Strict         bool                // a backend whose server is missing is refused (CI)

	planOnly bool // nothing will be run
}

// Result is a run that ended, or was interrupted.
type Result struct {
	Dir     string
	Metrics metrics.Run
	Left    int      // blocks that are still to run: Resume goes on with them
	Advice  []string // how many trials the cells would need whose interval is wide, one sentence each
}

// Run runs everything. It returns a Result whenever anything was measured, together with an error that wraps ErrViolation or ErrIncomplete if the run is
// not what was asked for. When ctx ends, what was measured is written and the cause is returned. What is refused before anything is started leaves no
// directory; such an error wraps ErrNotRun, with Strict, or ErrMachine where it is not for the options themselves.
func Run(ctx context.Context, o Options) (Result, error) {
	s, err := prepare(&o)
	if err != nil {
		return Result{}, fmt.Errorf("bench: %w", err)
	}
	e, err := newEngine(o, s)
	if err != nil {
		return Result{}, fmt.Errorf("bench: %w", err)
	}
	return e.runToEnd(ctx)
}

func (e *engine) runToEnd(ctx context.Context) (Result, error) {
	runErr := e.run(ctx)
	result, err := e.finish()
	if err = errors.Join(runErr, err); err != nil {
		return result, fmt.Errorf("bench: %w", err)
	}
	return result, nil
}

// complete checks the options and fills in what they leave out.
func (o *Options) complete() error {
	if o.BrokerBinary == "" {
		return errors.New("no broker program is named")
	}
	if _, err := os.Stat(o.BrokerBinary); err != nil {
		return fmt.Errorf("broker program: %w", err)
	}
	var err error
	if o.BrokerBinary, err = filepath.Abs(o.BrokerBinary); err != nil {
		return err
	}
	if o.Out == "" {
		o.Out = "results"
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o.choose()
}

// choose fills in what is to be run.
func (o *Options) choose() error {
	if len(o.Backends) == 0 {
		o.Backends = allBackends()
	}
	if len(o.Profiles) == 0 {
		o.Profiles = []string{"matched"}
	}
	if len(o.Scenarios) == 0 {
		var err error
		if o.Scenarios, err = scenario.Defaults(); err != nil {
			return err
		}
	}
	if o.Trials == 0 {
		o.Trials = 5
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())&0xffffff | 1
	}
	if o.Flush == "" {
		o.Flush = "sync"
	}
	if o.Flush != "sync" && o.Flush != "written" {
		return fmt.Errorf("flush mode %q: choose sync or written", o.Flush)
	}
	if o.Until != nil && o.Shard != "" {
		return errors.New("a shard ends with its plan: how many rounds more it takes is known of the whole only")
	}
	if err := checkUntil(o.Until); err != nil {
		return err
	}
	if err := checkNames(o.Backends, o.Profiles); err != nil {
		return err
	}
	return checkLinks(o.Backends, o.Profiles, o.Scenarios)
}
