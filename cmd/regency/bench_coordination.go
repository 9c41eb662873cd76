package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/regency-project/regency/bench/run"
	"github.com/regency-project/regency/cmd/coordpage"
	"github.com/regency-project/regency/coordination/coordbench"
	"github.com/regency-project/regency/coordination/profile"
	"github.com/spf13/cobra"
)

// memberCommand is the hidden command that is one embedded member's process.
const memberCommand = "coordination-member"

// coordinationFlags are the settings of a microbenchmark as text.
type coordinationFlags struct {
	backends, operations, profile, out, servers, logLevel string
	quick, full, dryRun                                   bool
	rounds                                                int
	budget                                                time.Duration
	seed                                                  uint64
}

func newBenchCoordination() *cobra.Command {
	var f coordinationFlags
	cmd := &cobra.Command{
		Use:   "coordination",
		Short: "Measure each coordination operation on each service, and what our layer adds",
		Long: `Measure what registering, claiming the leadership, committing, watching, loading and sessions cost on each coordination service, through our
layer and with the service's own client sending the same transaction, in pairs, all services running side by side.

The result is a directory: coordination.html, coordination.md, figures.json (the schema is package coordbench's Result), figures.csv, and samples.csv.gz
with every measurement. Ctrl-C stops the servers and reports what was finished; the exit status is then 3. It is 1 if nothing could be measured.`,
		Example: `  regency bench coordination --quick
  regency bench coordination --backends etcd,consul --operations commit,watch --rounds 5
  regency bench coordination --full --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applySettings(cmd); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	var all, operations []string
	for _, b := range profile.Backends() {
		all = append(all, string(b))
	}
	for _, o := range coordbench.Operations() {
		operations = append(operations, o.Name)
	}
	fs := cmd.Flags()
	fs.StringVar(&f.backends, "backends", strings.Join(all, ","), "coordination backends, with commas")
	fs.StringVar(&f.operations, "operations", "", "operations, with commas, of "+strings.Join(operations, ",")+" (default: all)")
	fs.StringVar(&f.profile, "profile", string(profile.Matched), profilesHelp("timing settings of services and sessions"))
	fs.BoolVar(&f.quick, "quick", false, "every operation once: about two minutes")
	fs.BoolVar(&f.full, "full", false, "the whole matrix, 100 to 100 000 records by 1 to 64 clients: an hour or more")
	fs.IntVar(&f.rounds, "rounds", 0, "rounds, in each of which every cell is measured on every backend; at least 3 (default: 3, without --quick and --full 5)")
	fs.DurationVar(&f.budget, "budget", time.Second, "time for one cell on one backend in one round, 10ms to 1m")
	fs.Uint64Var(&f.seed, "seed", 0, "order of cells, backends and pairs; 0 draws one, which is printed and kept")
	fs.StringVar(&f.out, "out", "results", "directory of all runs")
	fs.StringVar(&f.servers, "servers", "", "where the coordination servers are (default: where `make servers` puts them)")
	fs.BoolVar(&f.dryRun, "dry-run", false, "say what would be measured and how long that takes, and stop")
	fs.StringVar(&f.logLevel, "log-level", "error", "of the benchmark's clients and servers: debug, info, warn or error")
	return cmd
}

// newBenchMember runs one member for the benchmark, which ends it.
func newBenchMember() *cobra.Command {
	return &cobra.Command{
		Use: memberCommand + " ID DIRECTORY URL", Hidden: true, Args: cobra.ExactArgs(3), Short: "Run one embedded member",
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 32)
			if err != nil {
				return fmt.Errorf("member id %q is not a number", args[0])
			}
			log, err := newLogger(os.Stderr, "info")
			if err != nil {
				return err
			}
			return coordbench.RunMember(cmd.Context(), int32(id), args[1], args[2], log)
		},
	}
}

// options checks the flags, naming each that is wrong.
func (f *coordinationFlags) options() (coordbench.Options, error) {
	o := coordbench.Options{Profile: profile.Name(f.profile), Rounds: f.rounds, Budget: f.budget, Seed: f.seed, ServersDir: f.servers}
	var errs []error
	fail := func(flag string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	matrix := coordbench.Standard
	switch {
	case f.quick && f.full:
		errs = append(errs, errors.New("--quick and --full: choose one"))
	case f.quick:
		matrix = coordbench.Quick
	case f.full:
		matrix = coordbench.Full
	}
	if f.rounds == 0 {
		if o.Rounds = 3; matrix == coordbench.Standard {
			o.Rounds = 5
		}
	} else if f.rounds < 3 || f.rounds > 1000 {
		fail("rounds", fmt.Errorf("%d: give 3 to 1000; fewer than 3 cannot show how rounds differ", f.rounds))
	}
	if f.budget < 10*time.Millisecond || f.budget > time.Minute {
		fail("budget", fmt.Errorf("%v: give 10ms to 1m", f.budget))
	}
	cells, err := matrix.Cells()
	if err == nil {
		o.Cells, err = coordbench.Select(cells, list(f.operations))
	}
	fail("operations", err)
	if !slices.Contains(profile.Names(), o.Profile) {
		fail("profile", fmt.Errorf("%q is unknown; use one of %v", f.profile, profile.Names()))
	}
	for _, name := range list(f.backends) {
		b := profile.Backend(name)
		switch {
		case !slices.Contains(profile.Backends(), b):
			fail("backends", fmt.Errorf("%q is unknown; use some of %v", name, profile.Backends()))
		case slices.Contains(o.Backends, b):
			fail("backends", fmt.Errorf("%q is given twice", name))
		default:
			o.Backends = append(o.Backends, b)
		}
	}
	if len(list(f.backends)) == 0 {
		fail("backends", errors.New("none given"))
	}
	return o, errors.Join(errs...)
}

// command repeats the run.
func (f *coordinationFlags) command(seed uint64, rounds int) string {
	c := fmt.Sprintf("make bench-coordination ARGS='--backends %s --profile %s --rounds %d --budget %s --seed %d", f.backends, f.profile, rounds, f.budget, seed)
	switch {
	case f.quick:
		c += " --quick"
	case f.full:
		c += " --full"
	}
	if f.operations != "" {
		c += " --operations " + f.operations
	}
	return c + "'"
}

func (f *coordinationFlags) run(cmd *cobra.Command) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if f.dryRun {
		return f.plan(cmd, o)
	}
	if o.Logger, err = newLogger(os.Stderr, f.logLevel); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	for o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano() % 1_000_000)
	}
	o.Member, o.Progress = []string{self, "bench", memberCommand}, out
	o.Command, o.Revision = f.command(o.Seed, o.Rounds), run.Revision()
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	environment, err := run.Environment(f.out)
	if err != nil {
		return err
	}
	if o.Environment, err = json.Marshal(environment); err != nil {
		return fmt.Errorf("encode the environment: %w", err)
	}
	fmt.Fprintf(out, "seed %d; about %s\n", o.Seed, o.Expect().Round(10*time.Second))
	// A second signal ends the process, as everywhere; servers die with it.
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	result, samples, runErr := coordbench.Run(ctx, o)
	if len(samples) == 0 {
		return errors.Join(errors.New("nothing was measured"), runErr)
	}
	dir := filepath.Join(f.out, "coordination-"+result.ID)
	if err := coordpage.Write(dir, result, samples); err != nil {
		return errors.Join(err, runErr)
	}
	fmt.Fprintf(out, "\nreport: %s\n", filepath.Join(dir, coordpage.HTMLFile))
	if runErr == nil {
		return nil
	}
	if errors.Is(runErr, context.Canceled) {
		runErr = fmt.Errorf("interrupted after %d of %d rounds; the report has what was finished", result.Rounds, o.Rounds)
	}
	fmt.Fprintf(os.Stderr, "regency: %v\n", runErr)
	return exitCode(3)
}

// plan prints what would be measured.
func (f *coordinationFlags) plan(cmd *cobra.Command, o coordbench.Options) error {
	o.Member = []string{"-"}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%d rounds; in each, on %s (profile %s), %s of:\n\n", o.Rounds, f.backends, f.profile, o.Budget)
	for _, c := range o.Cells {
		fmt.Fprintf(out, "  %s\n", c)
	}
	fmt.Fprintf(out, "\n%d measurements of pairs, about %s\n", len(o.Cells)*len(o.Backends)*o.Rounds, o.Expect().Round(10*time.Second))
	return nil
}
