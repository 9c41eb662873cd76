package timeline

// The harness's events. Instants are CLOCK_MONOTONIC nanoseconds; other durations say their unit.

// Payload is one of the types below.
type Payload interface{ event() string }

// BlockStarted: a cluster is about to be started.
type BlockStarted struct {
	Block   int    `json:"block"`
	Backend string `json:"backend"`
	Profile string `json:"profile"`
	URL     string `json:"coordination"`
}

// BlockReady: the cluster serves, all topics exist and all ISRs are full.
type BlockReady struct {
	Block int `json:"block"`
}

// BlockEnded closes a block, whatever came of it. Every event of a broker between BlockStarted and BlockEnded belongs to it.
type BlockEnded struct {
	Block int    `json:"block"`
	Error string `json:"error,omitempty"`
}

// BlockFinished: the harness has closed the block, and goes on to the next one. What stands before it is kept when an interrupted run is resumed.
type BlockFinished struct {
	Block   int `json:"block"`
	Missing int `json:"missing,omitempty"` // trials that were given up
}

// Part opens a part of the run: what follows was measured later, by another process, perhaps after the clock began anew. Its events are sorted apart.
type Part struct {
	Run  string `json:"run"` // the id of the run that measured it
	Seed uint64 `json:"seed"`
}

// TrialStarted opens a trial; its steady phase begins here.
type TrialStarted struct {
	Trial    string `json:"trial"`
	Scenario string `json:"scenario"`
	Backend  string `json:"backend"`
	Profile  string `json:"profile"`
	Block    int    `json:"block"`
	Counted  bool   `json:"counted"` // false for the failover that warms a block up
}

// TrialEnded: the trial was observed to its end; healing follows.
type TrialEnded struct {
	Trial string `json:"trial"`
}

// TrialHealed: the cluster is whole again.
type TrialHealed struct {
	Trial string `json:"trial"`
}

// TrialInvalid: a gate that only the harness could judge while it ran.
type TrialInvalid struct {
	Trial  string `json:"trial"`
	Reason string `json:"reason"`
}

// Roles of the cluster as its metadata tells.
type Roles struct {
	Trial      string          `json:"trial"`
	When       string          `json:"when"` // before or after the fault
	Controller int32           `json:"controller"`
	Leader     *string         `json:"coordination_leader"` // a member's name; null when it could not be told
	Partitions []PartitionRole `json:"partitions"`
}

// PartitionRole is one partition's state.
type PartitionRole struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Epoch     int32   `json:"epoch"`
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
}

// Victim was chosen: the broker that the main fault is aimed at, 0 where it is aimed at none.
type Victim struct {
	Trial              string `json:"trial"`
	Broker             int32  `json:"broker"`
	Action             string `json:"action"`
	Controller         bool   `json:"controller"`
	Leads              int    `json:"leads"`
	Follows            int    `json:"follows"`
	CoordinationLeader *bool  `json:"coordination_leader"`
	Role               string `json:"role,omitempty"`
	Hits               []Hit  `json:"hits,omitempty"` // of each fault of the scenario
}

// Hit is whom one fault hits.
type Hit struct {
	Action    string   `json:"action"`
	Role      string   `json:"role,omitempty"`
	Link      string   `json:"link,omitempty"`
	Direction string   `json:"direction,omitempty"`
	Brokers   []int32  `json:"brokers,omitempty"`
	Members   []string `json:"members,omitempty"` // of a coordination service of its own
}

// Fault is a step of a fault: asked, closed (a connection to the victim broke), effect, resumed, restarted, ended (what is neither frozen nor dead).
type Fault struct {
	Trial  string `json:"trial"`
	Step   string `json:"step"`
	Broker int32  `json:"broker"`
	Aside  bool   `json:"aside,omitempty"` // beside the scenario's main fault, whose effect is the zero of all durations
	Action string `json:"action,omitempty"`
	Role   string `json:"role,omitempty"`
}

// Steps of a fault.
const (
	StepAsked     = "asked"
	StepClosed    = "closed"
	StepEffect    = "effect"
	StepResumed   = "resumed"
	StepRestarted = "restarted"
	StepEnded     = "ended"
)

// ControlPrefix begins the names of the topics that control-plane probes make and delete.
const ControlPrefix = "control-"

// Successes is how many consecutive probes must succeed to end an outage: one can be a leader's last breath.
const Successes = 5

// ProbeRun is a run of probes of one partition that all succeeded or all failed.
type ProbeRun struct {
	Trial     string `json:"trial"`
	Class     string `json:"class"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	OK        bool   `json:"ok"`
	From      int64  `json:"from"` // intended time of the first probe
	To        int64  `json:"to"`   // intended time of the last
	N         int    `json:"n"`
	Done      int64  `json:"done"`            // when the first was answered, or given up
	Error     string `json:"error,omitempty"` // of the first failed one
}

// LoadBin counts what one client did in a bin of time.
type LoadBin struct {
	Client  string  `json:"client"` // tuned or default
	From    int64   `json:"from"`
	Width   int64   `json:"width"`
	Offered int     `json:"offered"` // by intended time
	Acked   int     `json:"acked"`   // by completion
	Errors  int     `json:"errors"`  // by completion
	P50     float64 `json:"p50_ms"`  // latency from the intended time, of those acknowledged in the bin
	Max     float64 `json:"max_ms"`
}

// AckGap is the longest time without an acknowledgement on a partition in a trial.
type AckGap struct {
	Trial     string `json:"trial"`
	Client    string `json:"client"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
}

// LoadLatency is the histogram of one client over one phase of one trial: HdrHistogram V2, compressed, base64, of microseconds.
type LoadLatency struct {
	Trial     string `json:"trial"`
	Phase     string `json:"phase"`
	Client    string `json:"client"`
	Histogram string `json:"histogram"`
}

// Delay tells how late the harness's own timers were in a trial.
type Delay struct {
	Trial  string  `json:"trial"`
	Source string  `json:"source"` // probe, tuned, default
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
}

// Usage is what a kind of process has used up since the block began, its earlier incarnations included.
type Usage struct {
	Kind       string  `json:"kind"` // brokers, service, harness
	Processes  int     `json:"processes"`
	CPU        float64 `json:"cpu_s"`
	RSS        int64   `json:"rss_bytes"`
	WriteBytes int64   `json:"write_bytes"`
}

// Round is one measured spell of a throughput trial.
type Round struct {
	Trial     string `json:"trial"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	Records   int64  `json:"records"`
	Bytes     int64  `json:"bytes"`
	Errors    int64  `json:"errors"`
	Histogram string `json:"histogram"` // as in LoadLatency, from the call to the acknowledgement
}

// Checked holds what was verified of a trial's records.
type Checked struct {
	Trial        string `json:"trial"`
	Acknowledged int64  `json:"acknowledged"`
	Read         int64  `json:"read"`
	Lost         int64  `json:"lost"`
	Duplicated   int64  `json:"duplicated"`
	Reordered    int64  `json:"reordered"`
	Corrupt      int64  `json:"corrupt"`
	Unknown      int64  `json:"unknown"`
}

// Disks tells that the copies of the partitions were compared after the brokers of a block were stopped.
type Disks struct {
	Block      int `json:"block"`
	Partitions int `json:"partitions"`
	Batches    int `json:"batches"` // pairs of copies that were found equal
}

// Violation of a promise, as the harness saw it. (Double leaders and controllers are computed from the brokers' events.)
type Violation struct {
	Trial  string `json:"trial"`
	Check  string `json:"check"`
	Detail string `json:"detail"`
}

// Zombie tells of probes sent straight to a victim that was replaced while it lived: frozen, or cut off. Only those of partitions that another broker led meanwhile count.
type Zombie struct {
	Trial    string `json:"trial"`
	Broker   int32  `json:"broker"`
	Refused  int    `json:"refused"`
	Accepted int    `json:"accepted"`         // each is a violation
	Closed   int    `json:"closed,omitempty"` // unanswered, because it ended the connection
}

// Names of the harness's events.
const (
	NameBlockStarted  = "block.started"
	NameBlockReady    = "block.ready"
	NameBlockEnded    = "block.ended"
	NameBlockFinished = "block.finished"
	NamePart          = "run.part"
	NameTrialStarted  = "trial.started"
	NameTrialEnded    = "trial.ended"
	NameTrialHealed   = "trial.healed"
	NameTrialInvalid  = "trial.invalid"
	NameRoles         = "trial.roles"
	NameVictim        = "trial.victim"
	NameFault         = "fault"
	NameProbeRun      = "probe.run"
	NameLoadBin       = "load.bin"
	NameAckGap        = "load.gap"
	NameLoadLatency   = "load.latency"
	NameDelay         = "harness.delay"
	NameUsage         = "usage"
	NameRound         = "round"
	NameChecked       = "check.result"
	NameDisks         = "check.disks"
	NameViolation     = "check.violation"
	NameZombie        = "zombie"
)

func (BlockStarted) event() string  { return NameBlockStarted }
func (BlockReady) event() string    { return NameBlockReady }
func (BlockEnded) event() string    { return NameBlockEnded }
func (BlockFinished) event() string { return NameBlockFinished }
func (Part) event() string          { return NamePart }
func (TrialStarted) event() string  { return NameTrialStarted }
func (TrialEnded) event() string    { return NameTrialEnded }
func (TrialHealed) event() string   { return NameTrialHealed }
func (TrialInvalid) event() string  { return NameTrialInvalid }
func (Roles) event() string         { return NameRoles }
func (Victim) event() string        { return NameVictim }
func (Fault) event() string         { return NameFault }
func (ProbeRun) event() string      { return NameProbeRun }
func (LoadBin) event() string       { return NameLoadBin }
func (AckGap) event() string        { return NameAckGap }
func (LoadLatency) event() string   { return NameLoadLatency }
func (Delay) event() string         { return NameDelay }
func (Usage) event() string         { return NameUsage }
func (Round) event() string         { return NameRound }
func (Checked) event() string       { return NameChecked }
func (Disks) event() string         { return NameDisks }
func (Violation) event() string     { return NameViolation }
func (Zombie) event() string        { return NameZombie }
