// Package metrics turns the raw timeline of a run into the figures of its report, and holds the types of these figures: the file
// metrics.json of a run directory is one Run.
//
// Nothing here is measured while the cluster runs: Compute reads only the recorded timeline, so that any figure can be made again, by anybody,
// from the raw data. Three rules hold everywhere:
//
//   - A duration that was not observed is null, never 0. An outage of 0 is a measurement: the partition was probed all the time and no probe failed,
//     so it was available at the resolution that stands beside it.
//   - Nothing is clamped or dropped. A partition that was still unavailable when the observation ended has recovered = false and the time waited in
//     waited_ms; it counts in summaries as at least that long, and the summary says how many such points it holds (censored).
//   - Durations are milliseconds as JSON numbers (…_ms); instants of a trial are milliseconds after the fault took effect (negative: before it).
package metrics

import "time"

// Schema is the version of metrics.json. A reader refuses another one.
const Schema = 1

// Names of outage classes, of statuses and of phases as they stand in the file.
const (
	ClassLed       = "led"       // partitions that the victim led
	ClassFollowed  = "followed"  // partitions that the victim replicates and does not lead: only the ISR shrinks
	ClassUntouched = "untouched" // partitions with no replica on the victim
	ClassData      = "data"      // any partitions, where no broker was aimed at
	ClassControl   = "control"   // the control plane: topics can be created and deleted

	StatusOK      = "ok"      // measured
	StatusNotRun  = "not-run" // the backend or the scenario could not be run; Reason says why and what to do
	StatusInvalid = "invalid" // a validity gate failed; the figures are shown but not counted
	StatusVoid    = "void"    // a correctness check failed: the figures mean nothing

	PhaseDetection   = "detection"   // fault took effect → the first survivor sees the registration gone (or, without that, claims the controllership)
	PhaseElection    = "election"    // … → a controller is elected; null when the controller survived
	PhaseLoad        = "load"        // … → it has loaded the cluster's metadata; null when the controller survived
	PhaseCommit      = "commit"      // … → the commit that takes leadership from the victim is written
	PhaseServe       = "serve"       // … → a broker has applied the commit and leads
	PhaseAcknowledge = "acknowledge" // … → the first probe of the headline class that is acknowledged again
)

// PhaseNames lists the phases of a failover in their order.
var PhaseNames = []string{PhaseDetection, PhaseElection, PhaseLoad, PhaseCommit, PhaseServe, PhaseAcknowledge}

// Run is everything that a report shows about one run.
type Run struct {
	Schema      int          `json:"schema"`
	ID          string       `json:"id"`         // name of the run directory
	Started     time.Time    `json:"started"`    // wall clock
	DurationS   float64      `json:"duration_s"` // of the whole run, seconds
	Seed        uint64       `json:"seed"`       // gives the order of blocks and the instants of the faults
	Command     string       `json:"command"`    // repeats the run
	Revision    string       `json:"revision"`   // git revision of the harness and the brokers; "unknown" outside a checkout, with "+changes" when the tree was not clean
	Profiles    []Profile    `json:"profiles"`   // in the order asked for; the first is the headline
	Reference   string       `json:"reference"`  // the backend that ratios are taken to
	Verdict     Verdict      `json:"verdict"`
	Backends    []Backend    `json:"backends"`  // columns, in order
	Scenarios   []Scenario   `json:"scenarios"` // rows, in order
	Cells       []Cell       `json:"cells"`     // one for each profile × scenario × variant × backend, also those that did not run
	Comparisons []Comparison `json:"comparisons"`
	Environment Environment  `json:"environment"`
	Limits      []string     `json:"limits"` // what these figures do not show, one sentence each
}

// Profile is a set of timing settings.
type Profile struct {
	Name  string `json:"name"`  // matched, tuned, default
	Title string `json:"title"` // one sentence
	// Ranked is false when the backends of this profile must not be compared with each other (default: as shipped).
	Ranked bool `json:"ranked"`
}

// Verdict is the banner.
type Verdict struct {
	OK           bool        `json:"ok"`           // every cell ran, no violation
	Acknowledged int64       `json:"acknowledged"` // records acknowledged over all trials, probes included
	Lost         int64       `json:"lost"`         // of these, never read back
	Duplicated   int64       `json:"duplicated"`   // extra copies from idempotent producers
	Trials       int         `json:"trials"`       // counted
	Invalid      int         `json:"invalid"`      // not counted, by a validity gate
	Violations   []Violation `json:"violations"`   // of all trials
	NotRun       []string    `json:"not_run"`      // names of backends
	// Failed says of each block that failed how; Short names the cells with fewer valid trials than planned.
	Failed []string `json:"failed_blocks,omitempty"`
	Short  []string `json:"short_cells,omitempty"`
	// Compared counts the batches of one replica that were compared with another's on the disks of the stopped brokers. Absent: nothing was.
	Compared int `json:"batches_compared,omitempty"`
}

// Backend is a column: our brokers on one coordination service.
type Backend struct {
	Name     string `json:"name"`   // embedded, etcd, zookeeper, consul
	Title    string `json:"title"`  // as people write it
	Status   string `json:"status"` // ok or not-run
	Reason   string `json:"reason,omitempty"`
	Version  string `json:"version,omitempty"` // of the server
	Brokers  int    `json:"brokers"`           // processes
	Service  int    `json:"service"`           // further processes of the coordination service; 0 for embedded
	Settings []KV   `json:"settings"`          // timing settings by profile ("matched session" = "1.6s"), ordered
}

// KV is an ordered map's entry.
type KV struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Scenario is a row.
type Scenario struct {
	Name        string `json:"name"`
	Title       string `json:"title"`
	Description string `json:"description"`
	// Kind is "failover" or "throughput".
	Kind string `json:"kind"`
	// Headline is the class whose outage is the cell's figure: led or control; empty for a throughput scenario.
	Headline   string  `json:"headline,omitempty"`
	Fault      string  `json:"fault,omitempty"` // "kill -9 of the controller"
	Rate       float64 `json:"rate"`            // offered, records per second of one client; 0 = as many as are taken
	RecordSize int     `json:"record_size"`     // bytes
	Topics     []KV    `json:"topics"`          // name → "12 partitions × 3"
}

// Environment is what the run ran on.
type Environment struct {
	Host       string     `json:"host"` // operating system, architecture
	Kernel     string     `json:"kernel"`
	CPU        string     `json:"cpu"`
	Cores      int        `json:"cores"` // usable
	MemoryB    int64      `json:"memory_bytes"`
	Go         string     `json:"go"`
	Filesystem string     `json:"filesystem"` // of the brokers' data
	Fsync      *Fsync     `json:"fsync"`      // null: not measured
	Binaries   []Binary   `json:"binaries"`
	Flush      string     `json:"flush"`       // sync or written
	AA         *ProbeCost `json:"probe_cost"`  // what probing costs the cluster; null: not measured
	Resolution float64    `json:"probe_ms"`    // interval of probes: the resolution of every outage
	Deadline   float64    `json:"deadline_ms"` // a probe that takes longer has failed
}

// Fsync is the time of write(4 KiB) + fsync on the disk of the brokers' data, before the run.
type Fsync struct {
	N     int     `json:"n"`
	P50Ms float64 `json:"p50_ms"`
	P99Ms float64 `json:"p99_ms"`
	MaxMs float64 `json:"max_ms"`
}

// Binary is a program that took part.
type Binary struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
}

// ProbeCost compares the client latency of two otherwise equal spells: prober on and off.
type ProbeCost struct {
	OnP50Ms  float64 `json:"on_p50_ms"`
	OnP99Ms  float64 `json:"on_p99_ms"`
	OffP50Ms float64 `json:"off_p50_ms"`
	OffP99Ms float64 `json:"off_p99_ms"`
}
