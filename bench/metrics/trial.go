package metrics

// Trial is one run of a scenario: one fault, or one round without.
type Trial struct {
	ID      string   `json:"id"`      // unique in the run, "etcd/matched/leader-kill/3"; "…/3b" repeats an invalid one; "…/3~1" was given up and run again as "…/3"
	Block   int      `json:"block"`   // which block of the plan, from 1
	Status  string   `json:"status"`  // ok, invalid, void
	Reasons []string `json:"reasons"` // why it is not ok, one sentence each

	Victim   *Victim       `json:"victim"`    // null without fault
	EffectMs *float64      `json:"effect_ms"` // fault asked → fault took effect
	Phases   []Phase       `json:"phases"`    // in the order of PhaseNames
	Outages  []Outage      `json:"outages"`   // every probed partition and the control plane
	Classes  []ClassOutage `json:"classes"`
	Headline *float64      `json:"headline_ms"` // outage of the headline class's worst partition; null: not measured
	Detect   *float64      `json:"detection_ms"`
	Remain   *float64      `json:"remainder_ms"` // headline − detection
	// Evidence is when a detector of the brokers first knew of the victim's death, before the service was told; null: the session alone detects.
	Evidence *float64 `json:"evidence_ms,omitempty"`
	// Ensemble is when the embedded ensemble, whose leader the victim hosted, had elected another; null for other victims. ClaimAfter is from there to the next
	// controller's claim.
	Ensemble   *float64    `json:"ensemble_ms,omitempty"`
	ClaimAfter *float64    `json:"claim_after_ensemble_ms,omitempty"`
	Clients    []ClientGap `json:"clients"`
	Zombie     *Zombie     `json:"zombie"` // only of a victim that was replaced while it lived
	Checks     Checks      `json:"checks"`

	Violations []Violation `json:"violations"`
	Delivered  *float64    `json:"delivered"`           // acknowledged / offered in the steady phase
	DelayP99   *float64    `json:"harness_delay_p99ms"` // how late the harness's own timers were
}

// Victim is whom the fault hit and in which roles, resolved just before it.
type Victim struct {
	Broker     int32 `json:"broker"`
	Controller bool  `json:"controller"`
	Leads      int   `json:"leads"`    // partitions of all topics under test
	Follows    int   `json:"follows"`  //
	Replaced   bool  `json:"replaced"` // the roles after the fault are as intended: someone else has them
	// CoordinationLeader tells whether the process hosted the coordination service's leader; null when the service has processes of its own or it
	// could not be told.
	CoordinationLeader *bool `json:"coordination_leader"`

	both bool // a fault of the coordination service hit the broker that hosts it
}

// Phase is one step of the failover.
type Phase struct {
	Name string `json:"name"`
	// StartMs and EndMs are after the fault took effect; WidthMs is their difference. All three are null when the end was not observed or the phase does
	// not belong to the fault. A phase starts where the last observed one before it ended, so that observed widths add up to the last EndMs.
	StartMs *float64 `json:"start_ms"`
	EndMs   *float64 `json:"end_ms"`
	WidthMs *float64 `json:"width_ms"`
	Broker  *int32   `json:"broker"` // whose event ended it
}

// Outage of one probed partition, or of the control plane (Topic "" and Partition -1).
type Outage struct {
	Class     string `json:"class"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// OutageMs is from the intended time of the first failed probe to the intended time of the first of 5 consecutive successes. 0: no probe failed.
	// null: recovery was not seen; WaitedMs says how long was waited.
	OutageMs  *float64 `json:"outage_ms"`
	WaitedMs  *float64 `json:"waited_ms"`
	StartMs   *float64 `json:"start_ms"` // of the outage, after the effect; null when there was none
	Probes    int      `json:"probes"`   // in the impact phase
	Failed    int      `json:"failed"`
	Recovered bool     `json:"recovered"`
	// UnavailableMs is all its outages together, one that did not end with the time waited; OutageMs is the widest alone.
	UnavailableMs float64 `json:"unavailable_ms,omitempty"`
}

// ClassOutage sums a class up for one trial.
type ClassOutage struct {
	Class            string  `json:"class"`
	Partitions       int     `json:"partitions"` // probed
	MedianMs         float64 `json:"median_ms"`
	MaxMs            float64 `json:"max_ms"` // a partition that did not recover counts with the time waited
	Censored         bool    `json:"censored"`
	PartitionSeconds float64 `json:"partition_seconds"`
	Failed           int     `json:"failed_probes"`
}

// ClientGap is what one client saw in one trial.
type ClientGap struct {
	Config string   `json:"config"` // tuned or default
	GapMs  *float64 `json:"gap_ms"` // longest time between acknowledgements of a partition; null: it had no traffic
	// Censored: nothing was acknowledged after the gap began, until the trial was cut; it is a lower limit.
	Censored bool     `json:"censored,omitempty"`
	MaxMs    *float64 `json:"max_ms"` // longest latency of a record, from its intended time
	Acked    int64    `json:"acked"`
	Errors   int64    `json:"errors"`
}

// Zombie is what a paused broker did after it was resumed. Its writes that were acknowledged after the successor's commit would be a violation.
type Zombie struct {
	ResumedMs  *float64 `json:"resumed_ms"`       // SIGCONT, after the fault took effect
	StepDownMs *float64 `json:"step_down_ms"`     // resumed → its session is lost or it follows; null: not seen
	Refused    int      `json:"refused"`          // probes that it answered with an error after it was resumed
	Accepted   int      `json:"accepted"`         // probes that it acknowledged while its successor led: each is a violation
	Closed     int      `json:"closed,omitempty"` // probes that it left unanswered by ending the connection
}

// Checks counts what was verified.
type Checks struct {
	Acknowledged int64 `json:"acknowledged"`
	Read         int64 `json:"read"`
	Lost         int64 `json:"lost"`
	Duplicated   int64 `json:"duplicated"`
	Reordered    int64 `json:"reordered"`
	Corrupt      int64 `json:"corrupt"`
	Unknown      int64 `json:"unknown"` // unacknowledged records that were read back: allowed, their sends' outcome was unknown
}

// Violation is a broken promise.
type Violation struct {
	Trial  string `json:"trial"`
	Check  string `json:"check"`  // acknowledged-lost, duplicate, order, offset-regress, double-leader, double-controller, corrupt
	Detail string `json:"detail"` // one sentence with the names and numbers
}
