package profile

import (
	"strconv"
	"time"
)

// Detector names what detects that a broker has died, as the broker's --detector does.
type Detector string

const (
	DetectSession  Detector = "session"  // the end of its session at the service, and nothing else
	DetectPeer     Detector = "peer"     // also its peers: the end of a connection to it, or missed heartbeats
	DetectGuardian Detector = "guardian" // also a process beside it that outlives it
)

// Detectors lists every detector.
func Detectors() []Detector { return []Detector{DetectSession, DetectPeer, DetectGuardian} }

// DetectorSettings are the broker's --detector and its settings. The zero value is DetectSession.
type DetectorSettings struct {
	Kind Detector
	// Beat is how often a peer is asked for a sign of life, Missed how many answers in a row it may owe. Of DetectPeer only.
	Beat   time.Duration
	Missed int
}

// Args are the broker's arguments that set the detector; none for DetectSession.
func (d DetectorSettings) Args() []string {
	switch d.Kind {
	case DetectPeer:
		return []string{"--detector", string(d.Kind), "--detector-beat", d.Beat.String(), "--detector-missed", strconv.Itoa(d.Missed)}
	case DetectGuardian:
		return []string{"--detector", string(d.Kind)}
	}
	return nil
}

// The peer detector's settings where nothing else is said. Conservative: a process that a busy machine does not run for a
// second is rare, and evicting it costs a failover.
const (
	PeerBeat   = 100 * time.Millisecond
	PeerMissed = 10
)

// Fault is a way to fail that detectors tell apart.
type Fault uint8

const (
	// Killed: the process is gone and its machine says so: connections to it are closed, and new ones refused.
	Killed Fault = iota + 1
	// Unresponsive: it neither runs nor closes anything, as under SIGSTOP, or with its machine off the network.
	Unresponsive
)

// DetectionOf is the window within which a broker that fails so loses its registration, by whichever detects it first; by
// the service alone it is Detection, for either fault.
//
//	peer, killed         [0, beat + request]                      the end of the connection is told at once; a redial is given a
//	                                                              beat, the eviction one try of a request
//	peer, unresponsive   [missed − 1, missed] × beat + request    the last answer has an age of up to a beat
//	guardian, killed     [0, request]                             the end of its pipe is told at once
//	guardian, unresponsive                                        as the service alone: the pipe stays open
//
// Bounds above are of a service that answers. While it elects a leader of its own, nothing is evicted and nobody is elected.
func (p Profile) DetectionOf(f Fault) Window {
	session := p.Detection()
	var w Window
	switch d := p.Detector; {
	case d.Kind == DetectPeer && f == Killed:
		w.Upper = d.Beat + p.Request
	case d.Kind == DetectPeer && f == Unresponsive:
		w = Window{Lower: time.Duration(d.Missed-1) * d.Beat, Upper: time.Duration(d.Missed)*d.Beat + p.Request}
	case d.Kind == DetectGuardian && f == Killed:
		w.Upper = p.Request
	default:
		return session
	}
	// Whichever comes first: a session may be shorter than the heartbeats' limit.
	return Window{Lower: min(w.Lower, session.Lower), Upper: min(w.Upper, session.Upper)}
}

func tunedPeer(b Backend) (Profile, bool) {
	p, ok := tuned(b)
	p.Detector = DetectorSettings{Kind: DetectPeer, Beat: PeerBeat, Missed: PeerMissed}
	p.Constants = append(p.Constants, Constant{"detector", "peer", "the end of a connection and a refused redial, or missed heartbeats"},
		Constant{"detector-beat", "100 ms", ours}, Constant{"detector-missed", strconv.Itoa(PeerMissed), "no false eviction under a starved CPU, see broker/detector/README.md"})
	return p, ok
}

func tunedGuardian(b Backend) (Profile, bool) {
	p, ok := tuned(b)
	p.Detector = DetectorSettings{Kind: DetectGuardian}
	p.Constants = append(p.Constants, Constant{"detector", "guardian", "a process that outlives the broker evicts it"})
	return p, ok
}
