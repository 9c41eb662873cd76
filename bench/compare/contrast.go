package compare

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/regency-project/regency/bench/archive"
	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/scenario"
)

// machine names what a run ran on.
func machine(e metrics.Environment) string {
	return fmt.Sprintf("%s, %d cores, %.1f GB, %s, %s", orUnknown(e.CPU), e.Cores, float64(e.MemoryB)/1e9, orUnknown(e.Filesystem), orUnknown(e.Host))
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// memorySlack is by how much the memory that a system reports may differ and the machine be the same: kernels keep different amounts to themselves.
const memorySlack = 0.03

// contrast writes down what differs between the conditions of two runs, and tells whether it forbids to compare their figures.
func (c *Comparison) contrast(before, after archive.Record) bool {
	old, now := before.Run.Environment, after.Run.Environment
	mark := func(what, a, b string) {
		if a != b {
			c.Marks = append(c.Marks, fmt.Sprintf("%s: %s, then %s", what, orUnknown(a), orUnknown(b)))
		}
	}
	marks := len(c.Marks)
	mark("ANOTHER MACHINE, system", old.Host, now.Host)
	mark("ANOTHER MACHINE, processor", old.CPU, now.CPU)
	mark("ANOTHER MACHINE, cores", fmt.Sprint(old.Cores), fmt.Sprint(now.Cores))
	if apart(float64(old.MemoryB), float64(now.MemoryB), memorySlack) {
		mark("ANOTHER MACHINE, memory", fmt.Sprintf("%.1f GB", float64(old.MemoryB)/1e9), fmt.Sprintf("%.1f GB", float64(now.MemoryB)/1e9))
	}
	mark("ANOTHER FILE SYSTEM", old.Filesystem, now.Filesystem)
	mark("ANOTHER FLUSH MODE", old.Flush, now.Flush)
	c.Notes = append(c.Notes, Differences(before.Manifest, after.Manifest)...)
	return len(c.Marks) > marks
}

func apart(a, b, slack float64) bool { return math.Abs(a-b) > slack*max(a, b) }

// Differences lists what is not the same in what two runs were made with, and does not forbid to compare them: programs, versions, kernel, load of the disk.
func Differences(old, now metrics.Manifest) []string {
	var list []string
	add := func(what, a, b string) {
		if a != b {
			list = append(list, fmt.Sprintf("%s: %s, then %s", what, orUnknown(a), orUnknown(b)))
		}
	}
	add("revision", old.Revision, now.Revision)
	add("kernel", old.Environment.Kernel, now.Environment.Kernel)
	add("Go", old.Environment.Go, now.Environment.Go)
	add("seed", fmt.Sprint(old.Seed), fmt.Sprint(now.Seed))
	add("trials a cell", fmt.Sprint(old.Trials), fmt.Sprint(now.Trials))
	if a, b := old.Environment.Fsync, now.Environment.Fsync; a != nil && b != nil && (a.P50Ms > 2*b.P50Ms || b.P50Ms > 2*a.P50Ms) {
		add("the disk's fsync", fmt.Sprintf("median %.2f ms", a.P50Ms), fmt.Sprintf("median %.2f ms", b.P50Ms))
	}
	binaries := func(m metrics.Manifest) map[string]metrics.Binary {
		list := make(map[string]metrics.Binary)
		for _, b := range m.Environment.Binaries {
			list[b.Name] = b
		}
		return list
	}
	a, b := binaries(old), binaries(now)
	for _, name := range slices.Sorted(maps.Keys(a)) {
		other, both := b[name]
		if !both {
			continue
		}
		if name != "regency" { // its version is the revision above
			add("version of "+name, a[name].Version, other.Version)
		}
		add("program "+name, short(a[name].SHA256), short(other.SHA256))
	}
	return list
}

func short(hash string) string { return hash[:min(12, len(hash))] }

// scenarioDiffers says how a scenario is not the same in both runs, which makes its figures no figures of the same thing; nothing when it is. Titles and
// limits of validity may differ, and so may what one of the programs did not know of yet.
func scenarioDiffers(before, after archive.Record, name string) string {
	find := func(m metrics.Manifest) map[string]any {
		i := slices.IndexFunc(m.Scenarios, func(s scenario.Scenario) bool { return s.Name == name })
		if i < 0 {
			return nil
		}
		data, err := json.Marshal(m.Scenarios[i])
		if err != nil {
			return nil
		}
		var v map[string]any
		if json.Unmarshal(data, &v) != nil {
			return nil
		}
		flat := make(map[string]any)
		flatten("", v, flat)
		return flat
	}
	a, b := find(before.Manifest), find(after.Manifest)
	if a == nil || b == nil {
		return "the scenario is not in both manifests"
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if top, _, _ := strings.Cut(k, "."); slices.Contains([]string{"title", "description", "limits"}, strings.ToLower(top)) {
			continue
		}
		if other, both := b[k]; both && other != a[k] {
			list = append(list, fmt.Sprintf("%s was %v, is %v", k, a[k], other))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return "the scenario is not the same: " + strings.Join(list, "; ")
}

func flatten(at string, v any, out map[string]any) {
	switch x := v.(type) {
	case map[string]any:
		for k, y := range x {
			flatten(strings.TrimPrefix(at+"."+k, "."), y, out)
		}
	case []any:
		for i, y := range x {
			flatten(fmt.Sprintf("%s[%d]", at, i), y, out)
		}
		out[at+".length"] = len(x)
	default:
		out[at] = v
	}
}

// settingsDiffer names the timing settings of a backend that are not the same under the same profile: what was tuned between the runs.
func settingsDiffer(before, after archive.Record, profile, backend string) []string {
	find := func(r archive.Record) map[string]string {
		list := make(map[string]string)
		for _, b := range r.Run.Backends {
			if b.Name == backend {
				for _, kv := range b.Settings {
					if key, ok := strings.CutPrefix(kv.Key, profile+" "); ok {
						list[key] = kv.Value
					}
				}
			}
		}
		return list
	}
	a, b := find(before), find(after)
	var list []string
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if b[k] != a[k] {
			list = append(list, fmt.Sprintf("%s: %s, then %s", k, a[k], orUnknown(b[k])))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[k]; !ok {
			list = append(list, fmt.Sprintf("%s: unset, then %s", k, b[k]))
		}
	}
	return list
}
