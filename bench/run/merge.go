package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/timeline"
)

// source is one run that is merged.
type source struct {
	dir      string
	manifest metrics.Manifest
	lines    int   // of the timeline: up to the end of the last finished block
	blocks   []int // finished
	shift    int   // added to the numbers of its blocks
	tag      string
}

// Merge makes one run of several in a new directory under out: the shards of one plan, or runs of the same scenarios and settings with different seeds,
// or both. What an interrupted run has finished is taken. It refuses, with ErrDifferent, runs of different programs, servers, machines, scenarios or
// settings, and the same block twice.
func Merge(out string, dirs ...string) (Result, error) {
	r, err := merge(out, dirs)
	if err != nil {
		return r, fmt.Errorf("merge: %w", err)
	}
	return r, nil
}

func merge(out string, dirs []string) (Result, error) {
	if len(dirs) < 2 {
		return Result{}, errors.New("it takes two runs or more")
	}
	var sources []*source
	for _, dir := range dirs {
		s, err := openSource(dir)
		if err != nil {
			return Result{}, err
		}
		sources = append(sources, s)
	}
	if err := compatible(sources); err != nil {
		return Result{}, err
	}
	m, err := join(sources)
	if err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return Result{}, err
	}
	dir := filepath.Join(out, m.ID)
	if err := os.Mkdir(dir, 0o755); err != nil { // one that is there is another merge
		return Result{}, err
	}
	if err := errors.Join(writeMerged(dir, sources), archive.WriteManifest(dir, m)); err != nil {
		return Result{}, errors.Join(err, os.RemoveAll(dir))
	}
	r, err := archive.Renew(dir)
	return Result{Dir: dir, Metrics: r, Advice: advice(m, r)}, err
}

func openSource(dir string) (*source, error) {
	m, err := archive.OpenManifest(dir)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	s := &source{dir: dir, manifest: m}
	blocks, lines, err := timeline.Finished(filepath.Join(dir, archive.TimelineFile))
	if err != nil {
		return nil, err
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("%s: it holds no finished block, or is of a time before they were marked", dir)
	}
	s.lines = lines
	for _, b := range blocks {
		s.blocks = append(s.blocks, b.Block)
	}
	return s, nil
}

// compatible compares all with the first.
func compatible(sources []*source) error {
	first := sources[0].manifest
	var all []error
	for i, s := range sources[1:] {
		m := s.manifest
		diff := compareHosts(first, m)
		diff = append(diff, compareBinaries(first, m)...)
		diff = append(diff, differs("flush mode", first.Flush, m.Flush)...)
		diff = append(diff, differs("backends", names(first.Backends), names(m.Backends))...)
		diff = append(diff, differs("profiles", profileNames(first), profileNames(m))...)
		diff = append(diff, differs("scenarios", scenarioNames(first), scenarioNames(m))...)
		for _, o := range sources[:i+1] {
			if o.manifest.Seed == m.Seed {
				diff = append(diff, differs("trials, of equal seed", trialsOf(o.manifest), trialsOf(m))...)
				diff = append(diff, overlap(o, s)...)
			}
		}
		for _, d := range diff {
			all = append(all, fmt.Errorf("%s and %s: %w", sources[0].dir, s.dir, d))
		}
	}
	if len(all) > 0 {
		return errors.Join(append([]error{ErrDifferent}, all...)...)
	}
	return nil
}

func overlap(a, b *source) []error {
	for _, n := range a.blocks {
		if slices.Contains(b.blocks, n) {
			return []error{fmt.Errorf("block %d of seed %d is in both: merge shards of one seed, or runs of different seeds", n, a.manifest.Seed)}
		}
	}
	return nil
}

func names(list []metrics.BackendInfo) string {
	var names []string
	for _, b := range list {
		names = append(names, b.Name)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

func profileNames(m metrics.Manifest) string {
	var names []string
	for _, p := range m.Profiles {
		names = append(names, p.Name)
	}
	return strings.Join(names, ",")
}

func scenarioNames(m metrics.Manifest) string {
	var names []string
	for _, s := range m.Scenarios {
		names = append(names, s.Name)
	}
	return strings.Join(names, ",")
}

func trialsOf(m metrics.Manifest) string {
	return fmt.Sprint(m.Trials, m.ScenarioTrials, m.ProfileTrials)
}

// join makes the manifest of the whole. Blocks and trials of each further seed get numbers of their own.
func join(sources []*source) (metrics.Manifest, error) {
	m := sources[0].manifest
	m.Plan, m.Parts, m.DurationS, m.Shard, m.Until, m.Warnings = plan.Plan{Seed: m.Seed}, nil, 0, "", nil, nil
	m.Trials = 0
	shift, seeds, commands := 0, []uint64{}, []string{}
	for _, s := range sources {
		if !slices.Contains(seeds, s.manifest.Seed) {
			seeds = append(seeds, s.manifest.Seed)
			m.Trials += s.manifest.Trials
		}
		if !slices.Contains(commands, s.manifest.Command) {
			commands = append(commands, s.manifest.Command)
		}
		m.Warnings = union(m.Warnings, s.manifest.Warnings)
		if s.manifest.Started.Before(m.Started) {
			m.Started = s.manifest.Started
		}
	}
	for i, seed := range seeds {
		last := 0
		for _, s := range sources {
			if s.manifest.Seed != seed {
				continue
			}
			s.shift = shift
			if i > 0 {
				s.tag = fmt.Sprintf("%d.", i+1)
			}
			for _, b := range s.manifest.Plan.Blocks {
				last = max(last, b.Number)
			}
			s.addTo(&m)
		}
		shift += last
	}
	slices.SortStableFunc(m.Plan.Blocks, func(a, b plan.Block) int { return a.Number - b.Number })
	m.Command = strings.Join(commands, " && ")
	m.ID = fmt.Sprintf("%s-%06x-merged", time.Now().UTC().Format("20060102-150405.000"), m.Seed&0xffffff)
	return m, nil
}

// addTo adds the plan and the parts of a source.
func (s *source) addTo(m *metrics.Manifest) {
	for _, b := range s.manifest.Plan.Blocks {
		if !slices.Contains(s.blocks, b.Number) {
			continue // not finished, or not of its shard
		}
		b.Number += s.shift
		b.Items = slices.Clone(b.Items)
		for i := range b.Items {
			b.Items[i].Trial = s.trial(b.Items[i].Trial)
		}
		m.Plan.Blocks = append(m.Plan.Blocks, b)
	}
	parts := earlierParts(s.manifest, s.blocks)
	for _, p := range parts {
		p.Blocks = slices.Clone(p.Blocks)
		for i := range p.Blocks {
			p.Blocks[i] += s.shift
		}
		m.Parts = append(m.Parts, p)
		m.DurationS += p.DurationS
	}
}

// trial is a trial's name in the whole: backend/profile/scenario/2.3 for the third of the second seed.
func (s *source) trial(id string) string {
	at := strings.LastIndexByte(id, '/')
	if s.tag == "" || at < 0 {
		return id
	}
	return id[:at+1] + s.tag + id[at+1:]
}

// writeMerged copies the finished blocks of all timelines one after another.
func writeMerged(dir string, sources []*source) (err error) {
	w, err := timeline.Create(filepath.Join(dir, archive.TimelineFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	for _, s := range sources {
		w.Emit(timeline.Part{Run: s.manifest.ID, Seed: s.manifest.Seed})
		n := 0
		err := timeline.Scan(filepath.Join(s.dir, archive.TimelineFile), func(line []byte) error {
			if n++; n > s.lines {
				return nil
			}
			line, err := s.rename(line)
			if err != nil {
				return err
			}
			return w.Copy(line)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rename gives the harness's own events the names of the whole. Events of brokers name neither trials nor blocks.
func (s *source) rename(line []byte) ([]byte, error) {
	if s.tag == "" || !bytes.Contains(line, []byte(`"trial"`)) && !bytes.Contains(line, []byte(`"block"`)) {
		return line, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return nil, fmt.Errorf("%s: %w", s.dir, err)
	}
	if fields["pid"] != nil {
		return line, nil
	}
	var trial string
	if raw := fields["trial"]; raw != nil && json.Unmarshal(raw, &trial) == nil {
		fields["trial"], _ = json.Marshal(s.trial(trial)) // a string always can be
	}
	var block int
	if raw := fields["block"]; raw != nil && json.Unmarshal(raw, &block) == nil {
		fields["block"], _ = json.Marshal(block + s.shift) // a number always can be
	}
	return json.Marshal(fields)
}
