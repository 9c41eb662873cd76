package metrics

// Cell holds all trials of one scenario on one backend under one profile.
type Cell struct {
	Profile  string `json:"profile"`
	Scenario string `json:"scenario"`
	Backend  string `json:"backend"`
	// Variant splits a cell that would mix unlike faults. "" is the plain one; "coordination-leader" holds the trials whose victim hosted the leader of
	// the embedded coordination service as well: two faults in one, never ranked with the plain row.
	Variant string `json:"variant,omitempty"`
	Status  string `json:"status"` // ok, not-run, invalid (no valid trial), void
	Reason  string `json:"reason,omitempty"`
	Bound   *Bound `json:"bound"` // null for a throughput scenario

	Valid   int `json:"valid"`   // trials counted
	Invalid int `json:"invalid"` // trials not counted

	// Headline is the outage of the scenario's headline class, one point a trial: the trial's worst probed partition.
	Headline *Summary `json:"headline"`
	// Detection is "fault took effect → first survivor's watch event"; Remainder is headline outage − detection, paired by trial.
	Detection *Summary `json:"detection"`
	Remainder *Summary `json:"remainder"`
	Evidence  *Summary `json:"evidence,omitempty"` // fault took effect → the brokers' own detector knew; null: there is none
	// Ensemble is fault took effect → the embedded ensemble has a leader again, of victims that hosted it; ClaimAfter from there to the next controller's claim.
	Ensemble   *Summary        `json:"ensemble,omitempty"`
	ClaimAfter *Summary        `json:"claim_after_ensemble,omitempty"`
	Outages    []ClassSummary  `json:"outages"` // every probed class, headline included
	Phases     []PhaseSummary  `json:"phases"`  // in the order of PhaseNames; for stacked bars
	Clients    []ClientSummary `json:"clients"`

	Throughput *Throughput `json:"throughput"` // of a throughput scenario; null otherwise
	Cost       *Cost       `json:"cost"`       // null: not measured
	Checks     Checks      `json:"checks"`     // summed over the counted trials
	Violations []Violation `json:"violations"`

	Typical *Series `json:"typical"` // around the fault, of the trial whose headline is nearest the median; null: none
	Worst   *Series `json:"worst"`   // of the trial with the longest outage; null when it is the typical one
	Trials  []Trial `json:"trials"`  // all, in the order of their run
}

// Bound is the detection window that the settings imply by formula: what the service alone permits, before any of our code runs.
type Bound struct {
	LowerMs float64 `json:"lower_ms"`
	UpperMs float64 `json:"upper_ms"`
	Formula string  `json:"formula,omitempty"`
}

// Summary describes the points of a cell. The figures that need more points than there are stay null: CI below 10 points, P95 below 40.
type Summary struct {
	N        int       `json:"n"`
	Censored int       `json:"censored"` // points that are only lower limits: recovery was not seen
	Median   float64   `json:"median_ms"`
	Min      float64   `json:"min_ms"`
	Max      float64   `json:"max_ms"`
	CI       *Interval `json:"ci"`     // 95 % of the median, bootstrap
	P95      *float64  `json:"p95_ms"` //
	Points   []Point   `json:"points"` // every one, in the order of trials
}

// Interval is a closed range.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Point is one trial's value.
type Point struct {
	Trial    string  `json:"trial"` // Trial.ID
	Value    float64 `json:"value_ms"`
	Censored bool    `json:"censored,omitempty"`
}

// ClassSummary is the outage of one class: Summary has one point a trial, the worst partition of the class.
type ClassSummary struct {
	Class   string  `json:"class"`
	Summary Summary `json:"summary"`
	// PartitionSeconds is the median over trials of the unavailable time summed over the probed partitions of the class; Failed of the failed probes.
	PartitionSeconds float64 `json:"partition_seconds"`
	Failed           float64 `json:"failed_probes"`
}

// PhaseSummary describes the width of one phase over the trials where both its ends were seen.
type PhaseSummary struct {
	Name string `json:"name"`
	// Summary is null when no trial showed the phase: for the stacked bar it has no width, and the table says "not observed".
	Summary *Summary `json:"summary"`
}

// ClientSummary is what a real client saw: an ordinary idempotent kgo producer, not the prober.
type ClientSummary struct {
	Config  string   `json:"config"`  // tuned or default
	Gap     *Summary `json:"gap"`     // per trial: longest time without an acknowledgement on a partition of the headline class (all partitions for control)
	Latency *Latency `json:"latency"` // in the steady phases, from the intended send time
	Errors  int64    `json:"errors"`  // records that failed for good
}

// Latency of acknowledged records from the intended send time.
type Latency struct {
	N      int64   `json:"n"`
	P50Ms  float64 `json:"p50_ms"`
	P99Ms  float64 `json:"p99_ms"`
	P999Ms float64 `json:"p999_ms"`
	MaxMs  float64 `json:"max_ms"`
}

// Throughput is the result of a throughput scenario.
type Throughput struct {
	Rounds []Round `json:"rounds"`
	// Median, Min and Max of the rounds, acknowledged records per second and bytes of values per second.
	RecordsPerS float64 `json:"records_per_s"`
	MinRecords  float64 `json:"min_records_per_s"`
	MaxRecords  float64 `json:"max_records_per_s"`
	BytesPerS   float64 `json:"bytes_per_s"`
	// Ratio to the reference backend's median, with the smallest and the largest ratio of any two rounds; null when one of the two did not run.
	Ratio *Ratio `json:"ratio"`
}

// Ratio of two medians.
type Ratio struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"` // spread: the extreme ratios of single rounds or trials; interval when CI is true
	High  float64 `json:"high"`
	CI    bool    `json:"ci"` // Low and High are a 95 % bootstrap interval (n ≥ 10 on both sides)
}

// Round is one measured spell of a throughput scenario.
type Round struct {
	Trial       string  `json:"trial"`
	Seconds     float64 `json:"seconds"`
	Records     int64   `json:"records"` // acknowledged
	RecordsPerS float64 `json:"records_per_s"`
	BytesPerS   float64 `json:"bytes_per_s"`
	Errors      int64   `json:"errors"`
	Latency     Latency `json:"latency"`
}

// Comparison is one backend's time from detection to the first acknowledged probe against the reference's, in one row. The outage itself is not ranked: it
// holds the detection window, which the settings decide and which differs between services.
type Comparison struct {
	Profile  string `json:"profile"`
	Scenario string `json:"scenario"`
	Backend  string `json:"backend"`
	Ratio    Ratio  `json:"ratio"` // backend / reference
	// Says is "faster", "slower", "no difference shown" or "too few trials": the first two only when the interval excludes 1.
	Says string `json:"says"`
}

// Cost of running the cell, apart for brokers and for the coordination service (embedded: the service's cost is inside the brokers').
type Cost struct {
	Brokers Usage `json:"brokers"`
	Service Usage `json:"service"`
}

// Usage sums over the processes of one kind, in the steady phases.
type Usage struct {
	Processes  int     `json:"processes"`
	CPU        float64 `json:"cpu"`                // CPU seconds per second
	RSSB       int64   `json:"rss_bytes"`          // highest sum seen
	WriteBPerS float64 `json:"write_bytes_per_s"`  // sent to the disk
	CPUPerK    float64 `json:"cpu_s_per_1000_rec"` // CPU seconds per 1000 acknowledged records; 0 when none were offered
}
