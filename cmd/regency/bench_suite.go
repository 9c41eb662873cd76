package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/regency-project/regency/bench/run"
	"github.com/regency-project/regency/bench/scenario"
	"github.com/regency-project/regency/bench/suite"
	"github.com/regency-project/regency/coordination/profile"
	"github.com/spf13/cobra"
)

func newBenchSuites() *cobra.Command {
	return &cobra.Command{
		Use:   "suites [SUITE…]",
		Short: "List the suites, or say what is in some of them",
		Example: `  regency bench suites
  regency bench suites failover ./mine.yaml`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return suiteCompletions(), cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if len(args) > 0 {
				return describeSuites(out, args)
			}
			wide := run.Columns(out, 200)
			line := func(name, time, trials, title string) {
				fmt.Fprintln(out, run.Cut(fmt.Sprintf("%-20s %8s  %6s  %s", name, time, trials, title), wide))
			}
			line("suite", "time", "trials", "what it shows")
			for _, name := range suite.Names() {
				s, err := suite.Load(name)
				if err != nil {
					return err
				}
				d, err := expected(s)
				if err != nil {
					return err
				}
				line(s.Name, roughly(d), fmt.Sprint(s.Trials), s.Title)
			}
			return nil
		},
	}
}

// expected is the estimate for the suite with all that it names installed.
func expected(s suite.Suite) (time.Duration, error) {
	return run.Expected(run.Options{
		Backends: s.Backends, Profiles: s.Profiles, Scenarios: s.Scenarios, Trials: s.Trials, ScenarioTrials: s.ScenarioTrials,
		ProfileTrials: s.ProfileTrials, Flush: s.Flush, Seed: 1,
	})
}

func roughly(d time.Duration) string {
	if d < 90*time.Minute {
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

func describeSuites(out io.Writer, names []string) error {
	for i, name := range names {
		s, err := suite.Load(name)
		if err != nil {
			return err
		}
		d, err := expected(s)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(out)
		}
		backends := s.Backends
		if len(backends) == 0 {
			backends = allBackends()
		}
		fmt.Fprintf(out, "%s: %s\n%s\n", s.Name, s.Title, s.Description)
		fmt.Fprintf(out, "  backends  %s\n  profiles  %s\n  trials    %d\n  time      about %s\n  scenarios\n",
			strings.Join(backends, ", "), strings.Join(s.Profiles, ", "), s.Trials, roughly(d))
		for _, sc := range s.Scenarios {
			fmt.Fprintf(out, "    %-34s %s\n", sc.Name, sc.Title)
		}
	}
	return nil
}

func newBenchMerge() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "merge RUN RUN…",
		Short: "Make one run of the shards of a plan, or of runs with different seeds",
		Long: `Make one run of several: the shards of one plan (--shard 1/2 and 2/2 with one seed), runs of the same scenarios with different seeds, or both.
What an interrupted run has finished is taken. Runs of other programs, servers, machines, scenarios or settings are refused, and every difference is named.`,
		Example: `  regency bench merge results/20260101-000000-00abcd-1of2 results/20260101-010000-00abcd-2of2`,
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			result, err := run.Merge(out, dirs...)
			if err != nil {
				return err
			}
			return conclude(cmd.OutOrStdout(), result, nil)
		},
	}
	cmd.Flags().StringVar(&out, "out", "results", "directory of all runs")
	return cmd
}

// completeBenchFlags makes the shell complete what has a fixed set of values.
func completeBenchFlags(cmd *cobra.Command) {
	fixed := map[string]func() []string{
		"suite": suiteCompletions,
		"flush": func() []string { return []string{"sync", "written"} },
	}
	lists := map[string]func() []string{
		"backends": allBackends, "profiles": profileCompletions, "scenarios": scenarioCompletions,
	}
	for flag, values := range fixed {
		must(cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return values(), cobra.ShellCompDirectiveDefault
		}))
	}
	for flag, values := range lists {
		must(cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return completeList(typed, values()), cobra.ShellCompDirectiveNoSpace
		}))
	}
	must(cmd.RegisterFlagCompletionFunc("resume", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}))
}

// must: a flag of that name was registered a line before.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// completeList completes the last of a list with commas with what is not yet in it.
func completeList(typed string, values []string) []string {
	before := ""
	if at := strings.LastIndexByte(typed, ','); at >= 0 {
		before = typed[:at+1]
	}
	var found []string
	for _, v := range values {
		name, _, _ := strings.Cut(v, "\t")
		if !strings.Contains(","+before, ","+name+",") {
			found = append(found, before+v)
		}
	}
	return found
}

func suiteCompletions() []string {
	var list []string
	for _, name := range suite.Names() {
		if s, err := suite.Load(name); err == nil {
			list = append(list, name+"\t"+s.Title)
		}
	}
	return list
}

func profileCompletions() []string {
	var list []string
	for _, n := range profile.Names() {
		list = append(list, string(n)+"\t"+n.Title())
	}
	return list
}

func scenarioCompletions() []string {
	known, err := scenario.All()
	if err != nil {
		return nil
	}
	var list []string
	for _, s := range known {
		list = append(list, s.Name+"\t"+s.Title)
	}
	return list
}
