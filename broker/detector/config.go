package detector

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind of a detector.
type Kind string

const (
	Session  Kind = "session"
	Peer     Kind = "peer"
	Guardian Kind = "guardian"
)

// Kinds lists every kind.
func Kinds() []Kind { return []Kind{Session, Peer, Guardian} }

// Defaults of Config's zero values. A process that a busy machine does not run for a second is rare, and evicting it costs a failover.
const (
	DefaultBeat   = 100 * time.Millisecond
	DefaultMissed = 10
)

// minMissed leaves each of two connections two beats: up to one passes before a request is sent, and one is for its answer.
const minMissed = 4

// Config of a detector. The zero value is Session.
type Config struct {
	Kind Kind
	// Beat is how often a peer is asked for a sign of life, Missed after how many beats without an answer it counts as dead; 0: the defaults. For Peer only.
	Beat   time.Duration
	Missed int
}

// WithDefaults fills in the zero values.
func (c Config) WithDefaults() Config {
	if c.Kind == "" {
		c.Kind = Session
	}
	if c.Beat == 0 {
		c.Beat = DefaultBeat
	}
	if c.Missed == 0 {
		c.Missed = DefaultMissed
	}
	return c
}

// Validate names every faulty field.
func (c Config) Validate() error {
	var errs []error
	c = c.WithDefaults()
	if !slices.Contains(Kinds(), c.Kind) {
		var names []string
		for _, k := range Kinds() {
			names = append(names, string(k))
		}
		errs = append(errs, fmt.Errorf("detector %q: choose from %s", c.Kind, strings.Join(names, ", ")))
	}
	if c.Beat < 5*time.Millisecond || c.Beat > time.Minute {
		errs = append(errs, fmt.Errorf("detector beat %v: choose from 5ms to 1m", c.Beat))
	}
	if c.Missed < minMissed || c.Missed > 1000 {
		errs = append(errs, fmt.Errorf("detector missed %d: choose from %d to 1000", c.Missed, minMissed))
	}
	return errors.Join(errs...)
}
