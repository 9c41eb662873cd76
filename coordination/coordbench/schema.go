package coordbench

import (
	"encoding/json"
	"time"
)

// Schema is the version of Result's JSON.
const Schema = 1

// Status of a backend or a cell.
const (
	StatusOK      = "ok"
	StatusNotRun  = "not-run" // a backend that could not be started, or a cell that the run did not come to
	StatusInvalid = "invalid" // measured, but too few operations succeeded for a figure
)

// Result is what a run found: figures.json of its directory. Durations are in milliseconds; what was not measured is null, never 0.
type Result struct {
	Schema      int             `json:"schema"`
	Kind        string          `json:"kind"` // "coordination"
	ID          string          `json:"id"`
	Started     time.Time       `json:"started"`
	DurationS   float64         `json:"duration_s"`
	Complete    bool            `json:"complete"` // false: it was interrupted, and cells or rounds are missing
	Command     string          `json:"command"`
	Revision    string          `json:"revision"`
	Seed        uint64          `json:"seed"`
	Profile     string          `json:"profile"`
	Rounds      int             `json:"rounds"`      // finished by every backend
	Environment json.RawMessage `json:"environment"` // as the harness's metrics.Environment
	Backends    []Backend       `json:"backends"`
	Operations  []Operation     `json:"operations"`
	Cells       []Figures       `json:"cells"`
	Limits      []string        `json:"limits"`
}

// Backend is a service that was, or should have been, measured.
type Backend struct {
	Name     string    `json:"name"`
	Title    string    `json:"title"`
	Version  string    `json:"version"`
	Status   string    `json:"status"`
	Reason   string    `json:"reason,omitempty"`
	Settings []Setting `json:"settings"`
}

// Setting is one of the timing settings that a service ran under.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Operation is what is measured.
type Operation struct {
	Name   string  `json:"name"`
	Title  string  `json:"title"`
	Layer  string  `json:"layer"`  // what the layer does between the two instants
	Raw    string  `json:"raw"`    // what the service's own client does
	Target float64 `json:"target"` // the ratio of the medians that the layer must not exceed
}

// Cell is one operation under one size and load.
type Cell struct {
	Operation string `json:"operation"`
	Records   int    `json:"records"`  // of the cluster that is operated on
	Clients   int    `json:"clients"`  // that operate at the same time, each on a connection, and for commits on a cluster, of its own
	Watchers  int    `json:"watchers"` // that follow the chain; 0 where nobody must
}

// Figures are what one backend showed in one cell.
type Figures struct {
	Cell
	Backend string `json:"backend"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Layer   *Side  `json:"layer"`
	Raw     *Side  `json:"raw"`
	// Ratio is the layer's median latency over the raw client's.
	Ratio *Ratio `json:"ratio"`
	Met   *bool  `json:"met"` // the ratio is at most the operation's target; null without a ratio
}

// Side is the layer, or the raw client.
type Side struct {
	N       int       `json:"n"`      // operations that succeeded
	Errors  int       `json:"errors"` // operations that failed; they have no latency
	P50Ms   float64   `json:"p50_ms"`
	P50CI   *Interval `json:"p50_ci"` // 95 %, by bootstrap; null below 10 samples
	P99Ms   *float64  `json:"p99_ms"` // null below 100 samples
	MaxMs   float64   `json:"max_ms"`
	PerS    float64   `json:"per_s"` // operations a second, all clients together; of one client: the inverse of the mean latency
	Samples int       `json:"samples"`
}

// Interval is a 95 % interval.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Ratio of two medians. Pairs are the samples that were taken back to back; the interval resamples these.
type Ratio struct {
	Value float64   `json:"value"`
	CI    *Interval `json:"ci"` // 95 %; null below 10 pairs
	Pairs int       `json:"pairs"`
}

// Sample is one measurement of one side: an operation, or with several clients a window of them, whose median it is.
type Sample struct {
	Backend string
	Cell    Cell
	Round   int // from 1
	Pair    int // within the round, from 1
	Side    string
	First   bool    // of its pair
	Ms      float64 // latency
	Ops     int
}
