package metrics

// Series is a trial's timeline around the fault in bins of equal width. All slices have the same length; instants are the bins' starts, after the
// fault took effect. Operations are counted in the bin of their intended time (Offered) or of their completion (Acked, Errors).
type Series struct {
	Trial   string     `json:"trial"`
	BinMs   float64    `json:"bin_ms"`
	StartMs float64    `json:"start_ms"` // of the first bin: negative
	Configs []Traffic  `json:"traffic"`  // one a client: tuned, default
	Window  Window     `json:"fault"`
	Marks   []Mark     `json:"marks"` // ends of phases, resume, restart: vertical lines
	Lanes   []Lane     `json:"lanes"` // who led each partition of the headline topic
	CPU     []CPUTrack `json:"cpu"`   // sampled, CPU seconds per second
}

// Traffic of one client. Rates are per second.
type Traffic struct {
	Config  string     `json:"config"`
	Offered []float64  `json:"offered"`
	Acked   []float64  `json:"acked"`
	Errors  []float64  `json:"errors"`
	P50Ms   []*float64 `json:"p50_ms"` // latency of what was acknowledged in the bin; null: nothing was
	MaxMs   []*float64 `json:"max_ms"` // not clipped
}

// Window is when the fault lasted. EndMs is null when the victim was killed and not restarted inside the series.
type Window struct {
	StartMs float64  `json:"start_ms"` // 0
	EndMs   *float64 `json:"end_ms"`   // resumed or restarted
}

// Mark is an instant with a name.
type Mark struct {
	Name string  `json:"name"`
	AtMs float64 `json:"at_ms"`
}

// Lane is the leadership of one partition, or of the controllership (Topic "" and Partition -1).
type Lane struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Spans     []Span `json:"spans"`
}

// Span is one leadership. A nil end lasts beyond the series. A killed leader's span ends at the fault.
type Span struct {
	Broker int32    `json:"broker"`
	Epoch  int32    `json:"epoch"`
	FromMs float64  `json:"from_ms"`
	ToMs   *float64 `json:"to_ms"`
}

// CPUTrack is the use of CPU by one kind of process: brokers, service, harness.
type CPUTrack struct {
	Name string     `json:"name"`
	CPU  []*float64 `json:"cpu"` // one a bin; null: no sample
}
