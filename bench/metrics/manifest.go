package metrics

import (
	"slices"
	"time"

	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/bench/scenario"
)

// Manifest is what is known of a run beside its timeline: manifest.json of the run directory. It is written before the first trial and again at the end.
type Manifest struct {
	Schema      int                 `json:"schema"`
	ID          string              `json:"id"`
	Started     time.Time           `json:"started"`
	DurationS   float64             `json:"duration_s"` // 0: the run did not come to its end
	Command     string              `json:"command"`
	Revision    string              `json:"revision"`
	Seed        uint64              `json:"seed"`
	Trials      int                 `json:"trials"`
	Flush       string              `json:"flush"`
	Profiles    []Profile           `json:"profiles"`
	Backends    []BackendInfo       `json:"backends"`
	Scenarios   []scenario.Scenario `json:"scenarios"`
	Plan        plan.Plan           `json:"plan"`
	Environment Environment         `json:"environment"`

	Suite          string         `json:"suite,omitempty"`           // name of the suite that the plan is of
	ScenarioTrials map[string]int `json:"scenario_trials,omitempty"` // exceptions from Trials, by scenario
	ProfileTrials  map[string]int `json:"profile_trials,omitempty"`  // the most under a profile
	Until          *Until         `json:"until,omitempty"`           // the plan was extended until intervals were narrow
	Shard          string         `json:"shard,omitempty"`           // "1/3": the plan is one part of three
	HostID         string         `json:"host_id,omitempty"`         // tells hosts apart; nothing can be read from it
	Warnings       []string       `json:"warnings,omitempty"`        // about the machine, when the run began
	// Parts are the spells in which the run was measured, when it was interrupted and resumed, or merged of several; absent: one.
	Parts []Part `json:"parts,omitempty"`
}

// Until is a condition to end at.
type Until struct {
	Width  float64 `json:"width"`  // relative half width of the interval of each headline's median: 0.1 is ±10 %
	Trials int     `json:"trials"` // of each scenario on each backend: the most
}

// Part is one spell of a run.
type Part struct {
	Run       string    `json:"run"` // id of the run that measured it
	Seed      uint64    `json:"seed"`
	Started   time.Time `json:"started"`
	DurationS float64   `json:"duration_s"`
	Blocks    []int     `json:"blocks"` // finished ones, by their numbers in the plan
}

// BackendInfo is a backend as it was configured.
type BackendInfo struct {
	Name     string         `json:"name"`
	Title    string         `json:"title"`
	Version  string         `json:"version"`
	Status   string         `json:"status"`
	Reason   string         `json:"reason,omitempty"`
	Service  int            `json:"service"` // processes of its own
	Settings []BackendGiven `json:"settings"`
}

// BackendGiven is a backend's configuration under one profile.
type BackendGiven struct {
	Profile     string   `json:"profile"`
	Bound       Bound    `json:"bound"`        // of a killed process
	BoundPaused Bound    `json:"bound_paused"` // of a frozen one; absent in old manifests: as of a killed one
	Constants   []KV     `json:"constants"`
	Command     []string `json:"command,omitempty"` // arguments of the first member's server; hosts, ports and directories are examples
	Files       []KV     `json:"files,omitempty"`   // configuration files of the first member
}

func (m Manifest) backend(name string) BackendInfo {
	for _, b := range m.Backends {
		if b.Name == name {
			return b
		}
	}
	return BackendInfo{Name: name, Title: name, Status: StatusNotRun, Reason: "it is not in the manifest"}
}

// BoundOf is the detection window of a profile for a fault; nil when the profile has no settings, or they imply none: a broker that leaves tells, and one that is cut off
// is not dead.
func (b BackendInfo) BoundOf(profile string, f scenario.Fault) *Bound {
	if !f.OnBroker() || f.Action != scenario.Kill && f.Action != scenario.Pause {
		return nil
	}
	for _, s := range b.Settings {
		if s.Profile != profile {
			continue
		}
		if f.Action == scenario.Pause && s.BoundPaused != (Bound{}) {
			return &s.BoundPaused
		}
		return &s.Bound
	}
	return nil
}

// planned says whether the plan runs a backend under a profile at all: a variant of a profile need not exist for every backend.
func (m Manifest) planned(profile, backend string) bool {
	return len(m.Plan.Blocks) == 0 || slices.ContainsFunc(m.Plan.Blocks, func(b plan.Block) bool { return b.Profile == profile && b.Backend == backend })
}

func (m Manifest) scenario(name string) (scenario.Scenario, bool) {
	for _, s := range m.Scenarios {
		if s.Name == name {
			return s, true
		}
	}
	return scenario.Scenario{}, false
}
