// Package coordbench compares coordination services below the broker: what each operation of the contract costs on each of them, and what our layer
// adds to the service's own client.
//
// All ensembles (three members each) run for the whole time. A run goes in rounds; in each, every cell of the matrix is measured on every service, in an
// order drawn from the seed. A measurement is a sequence of pairs: the layer's operation and, back to back and in random order, the same transaction sent by
// the service's own Go client, used directly. So a disturbance of the machine meets both sides, and the ratio is that of one run. What the raw side
// sends is what a decorator below the layer saw the layer send: the same guards, keys of the same length and the same values. The process of either side
// watches its chain record, as every broker does: at the services a commit costs more when somebody is told of it, and both sides have one to tell.
//
// Both sides talk to the same one member, which follows the service's leader when the run begins. With several clients a sample is a window of 100 ms, in
// which each client repeats its operation.
package coordbench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/regency-project/regency/coordination/profile"
)

// Options of a run. Member is needed for the embedded backend; every other zero value is usable.
type Options struct {
	Backends   []profile.Backend // all when empty
	Profile    profile.Name      // profile.Matched when empty
	Cells      []Cell            // the quick ones when empty
	Rounds     int               // 3 when 0
	Budget     time.Duration     // for one cell on one backend in one round; 1 s when 0
	Seed       uint64            // drawn when 0
	ServersDir string            // where the servers are; as for package ensemble when empty
	// Member is the command that runs RunMember: the program and arguments, to which id, directory and URL are added.
	Member      []string
	Progress    io.Writer       // one line for each measurement; discarded when nil
	Logger      *slog.Logger    // discarded when nil
	Command     string          // for the result
	Revision    string          // for the result
	Environment json.RawMessage // for the result
}

func (o Options) withDefaults() (Options, error) {
	if len(o.Backends) == 0 {
		o.Backends = profile.Backends()
	}
	if o.Profile == "" {
		o.Profile = profile.Matched
	}
	if len(o.Cells) == 0 {
		o.Cells, _ = Quick.Cells()
	}
	if o.Rounds == 0 {
		o.Rounds = 3
	}
	if o.Budget == 0 {
		o.Budget = time.Second
	}
	for o.Seed == 0 {
		o.Seed = rand.Uint64() >> 32 // short enough to type
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	for _, b := range o.Backends {
		if _, err := profile.Lookup(b, o.Profile); err != nil {
			errs = append(errs, err)
		}
		if b == profile.Embedded && len(o.Member) == 0 {
			errs = append(errs, errors.New("embedded: no command that runs a member"))
		}
	}
	if o.Rounds < 1 || o.Budget < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("%d rounds of %v: want at least 1 round and 10ms", o.Rounds, o.Budget))
	}
	return o, errors.Join(errs...)
}

// Expect estimates how long a run takes.
func (o Options) Expect() time.Duration {
	o, err := o.withDefaults()
	if err != nil {
		return 0
	}
	var round time.Duration
	for _, c := range o.Cells {
		round += o.cost(c) * time.Duration(len(o.Backends))
	}
	return startCost + round*time.Duration(o.Rounds)
}

// startCost is for ensembles and content, as measured on 2 cores.
const startCost = 20 * time.Second

// cost is the budget and what a cell's preparation takes.
func (o Options) cost(c Cell) time.Duration {
	return o.Budget + o.Budget/5 + time.Duration(c.Watchers)*15*time.Millisecond
}

// bench is a run.
type bench struct {
	o        Options
	rng      *rand.Rand
	clusters map[string]*cluster
	tallies  map[Figure]*result
	samples  []Sample
	progress progress
}

// Figure identifies a cell on a backend.
type Figure struct {
	Backend string
	Cell    Cell
}

// result collects a cell on a backend.
type result struct {
	layer, raw tally
	pairs      []pair
	reason     string // of the last failure
}

// Run measures. The result stands even with an error: an interrupted run reports what it finished.
func Run(ctx context.Context, o Options) (Result, []Sample, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Result{}, nil, err
	}
	began := time.Now()
	b := &bench{o: o, rng: rand.New(rand.NewPCG(o.Seed, 1)), clusters: map[string]*cluster{}, tallies: map[Figure]*result{}}
	b.progress = newProgress(o)
	r := Result{
		Schema: Schema, Kind: "coordination", ID: began.UTC().Format("20060102-150405") + "-" + uuid.NewString()[:6], Started: began.UTC().Truncate(time.Second),
		Command: o.Command, Revision: o.Revision, Seed: o.Seed, Profile: string(o.Profile), Environment: o.Environment, Operations: Operations(), Limits: limits(),
	}
	dir, err := os.MkdirTemp("", "regency-coordbench-")
	if err != nil {
		return r, nil, fmt.Errorf("make the servers' directory: %w", err)
	}
	defer os.RemoveAll(dir)
	b.progress.say("starting %d ensembles of %d members", len(o.Backends), members)
	sctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	services, infos := startServices(sctx, o, dir)
	cancel()
	r.Backends = infos
	defer func() {
		for _, s := range services {
			if serr := s.stop(); serr != nil {
				o.Logger.Warn("ensemble not stopped cleanly", "backend", s.backend, "error", serr)
			}
		}
	}()
	for _, i := range infos {
		if i.Status != StatusOK {
			b.progress.say("%s does not run: %s", i.Title, i.Reason)
		}
	}
	if len(services) == 0 {
		return r, nil, errors.New("no backend runs")
	}
	defer b.closeClusters()
	r.Rounds = b.rounds(ctx, services)
	r.Complete = r.Rounds == o.Rounds
	r.Cells = b.figures()
	r.DurationS = time.Since(began).Seconds()
	if !r.Complete {
		return r, b.samples, fmt.Errorf("interrupted after %d of %d rounds: %w", r.Rounds, o.Rounds, context.Cause(ctx))
	}
	return r, b.samples, nil
}

// rounds measures until all rounds are done or ctx ends, and returns how many were done.
func (b *bench) rounds(ctx context.Context, services []*service) int {
	for round := range b.o.Rounds {
		cells := slices.Clone(b.o.Cells)
		b.rng.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
		for _, c := range cells {
			order := slices.Clone(services)
			b.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			for _, s := range order {
				if ctx.Err() != nil {
					return round
				}
				b.measure(ctx, s, c, round+1)
			}
		}
	}
	if ctx.Err() != nil {
		return b.o.Rounds - 1
	}
	return b.o.Rounds
}

const (
	minPairs = 3
	warmUps  = 2 // pairs that are not counted
	maxPairs = 400
)

// measure takes pairs until the budget is spent.
func (b *bench) measure(ctx context.Context, s *service, c Cell, round int) {
	began := time.Now()
	key := Figure{string(s.backend), c}
	res := b.tallies[key]
	if res == nil {
		res = &result{}
		b.tallies[key] = res
	}
	run, err := b.newRunner(ctx, s, c)
	if err != nil {
		if ctx.Err() == nil {
			res.reason = err.Error()
			res.layer.errors++
			b.progress.done(c, s, round, res, time.Since(began))
		}
		return
	}
	defer run.close()
	for range warmUps {
		run.layer(ctx)
		run.raw(ctx)
	}
	start := time.Now()
	for n := 1; n <= maxPairs && (n <= minPairs || time.Since(start) < b.o.Budget) && ctx.Err() == nil; n++ {
		layerFirst := b.rng.IntN(2) == 0
		var layer, raw sample
		if layerFirst {
			layer = run.layer(ctx)
			raw = run.raw(ctx)
		} else {
			raw = run.raw(ctx)
			layer = run.layer(ctx)
		}
		if ctx.Err() != nil {
			break
		}
		b.take(res, key, round, n, layerFirst, layer, raw)
	}
	b.progress.done(c, s, round, res, time.Since(began))
}

// take counts a pair. An operation that failed has no latency, and its pair no ratio; it is told as an error.
func (b *bench) take(res *result, key Figure, round, n int, layerFirst bool, layer, raw sample) {
	side := func(name string, t *tally, s sample, first bool) float64 {
		t.errors += s.errors
		if s.err != nil {
			res.reason = name + ": " + s.err.Error()
		}
		if len(s.latencies) == 0 {
			return 0
		}
		t.busy += s.busy
		var all []float64
		for _, d := range s.latencies {
			all = append(all, ms(d))
		}
		m := median(all)
		t.latencies, t.samples = append(t.latencies, all...), append(t.samples, m)
		b.samples = append(b.samples, Sample{key.Backend, key.Cell, round, n, name, first, m, len(all)})
		return m
	}
	p := pair{side("layer", &res.layer, layer, layerFirst), side("raw", &res.raw, raw, !layerFirst)}
	if p.layer > 0 && p.raw > 0 {
		res.pairs = append(res.pairs, p)
	}
}

// cluster returns the cluster of that name, made at first use and again after its session was lost.
func (b *bench) cluster(ctx context.Context, s *service, name string, records int) (*cluster, error) {
	key := string(s.backend) + "/" + name
	c := b.clusters[key]
	if c != nil {
		// A cluster for claims gives its leadership up; its session must live.
		if err := c.healthy(); err == nil || c.resigned() {
			return c, nil
		}
		b.o.Logger.Warn("cluster is made again", "backend", s.backend, "cluster", name, "error", c.healthy())
		c.close()
		delete(b.clusters, key)
		name = fmt.Sprintf("%s-%d", name, b.rng.IntN(1_000_000))
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	c, err := newCluster(ctx, s, name, records)
	if err == nil {
		b.clusters[key] = c
	}
	return c, err
}

func (b *bench) closeClusters() {
	for _, c := range b.clusters {
		c.close()
	}
}

// figures lists what was found, in the order of cells and backends.
func (b *bench) figures() []Figures {
	var list []Figures
	for _, c := range b.o.Cells {
		for _, name := range b.o.Backends {
			f := Figures{Cell: c, Backend: string(name), Status: StatusNotRun}
			if res := b.tallies[Figure{string(name), c}]; res != nil {
				f.fill(res)
			}
			list = append(list, f)
		}
	}
	return list
}

func (f *Figures) fill(res *result) {
	f.Layer, f.Raw, f.Ratio, f.Reason = res.layer.side(), res.raw.side(), ratioOf(res.pairs), res.reason
	f.Status = StatusOK
	failed, made := res.layer.errors+res.raw.errors, len(res.layer.latencies)+len(res.raw.latencies)
	if f.Ratio == nil || failed*20 > made { // above 5 % the rest is not what it seems
		f.Status = StatusInvalid
		if f.Reason == "" {
			f.Reason = "no pair was measured"
		}
		return
	}
	met := f.Ratio.Value <= operation(f.Operation).Target
	f.Met = &met
}

func limits() []string {
	return []string{
		"One host: members, clients and the benchmark share its processors, loopback has no latency, and all members share one disk. Compare services and sides within a run, not with another machine's.",
		"All clients talk to one member, which follows the service's leader when the run begins; clients that talk to the leader save a hop.",
		"All ensembles run all the time; those that are not measured are idle but for heartbeats and session renewals.",
		"The raw client has no fail-over, no retry and no proof of the session's deadline; it is the lower bound of what the same transaction costs, not a substitute.",
		"With several clients both sides share the benchmark's own processor time, and throughput is what that leaves.",
	}
}
