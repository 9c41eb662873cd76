package broker

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/broker/detector"
	"github.com/regency-project/regency/storage"
)

// Config of a broker. ID, DataDir, Listen and PeerListen are required.
type Config struct {
	// ID is the broker's number, 0 or more, unique in the cluster, the same at each start of one data directory.
	ID int32
	// DataDir holds meta.json and the log store; it is made if it does not exist. One process at a time may use it.
	DataDir string
	// Listen is host:port for Kafka clients, PeerListen for other brokers. Port 0 takes a free one.
	Listen, PeerListen string
	// Advertise and PeerAdvertise are what clients and brokers connect to; empty: what is listened on, which then must be a definite address. A port 0 or left
	// out is the port listened on.
	Advertise, PeerAdvertise string
	// SourceAddress is the local IP address from which connections to other brokers leave; empty: the system chooses.
	SourceAddress string
	Rack          string
	Version       string // for the timeline

	// Flush is what an acknowledged record survives: the machine (FlushSync, the default) or the process (FlushWritten).
	Flush storage.FlushMode
	// MemoryBudget bounds the log store's buffers and caches, in bytes; 0 takes an eighth of the machine's memory.
	MemoryBudget int64
	// CompactEvery is how often the logs of compacted topics are looked at; 0 is 15 s.
	CompactEvery time.Duration
	// ScrubEvery is how often all stored records are read and their checksums compared, at 16 MiB a second; 0 is a week, negative is never.
	ScrubEvery time.Duration
	// ReplicaLagMax is how long a follower may be behind before its leader takes it out of the ISR; 0 is 10 s.
	ReplicaLagMax time.Duration
	// StallLimit is how long the disk may make no progress before the broker lets its session lapse; 0 is 10 s.
	StallLimit time.Duration
	// ShutdownTimeout bounds the hand-over of leaderships when the broker stops; 0 is 5 s.
	ShutdownTimeout time.Duration
	// RebalanceDelay is how long all live replicas must be in sync before leadership goes back to the preferred ones; 0 is 5 s, negative is never. It matters on
	// the broker that is the controller.
	RebalanceDelay time.Duration
	// Detector notices dead brokers sooner than their sessions end.
	Detector detector.Config
	// Guardian starts the process of detector "guardian".
	Guardian detector.GuardianCommand

	// DefaultPartitions (0: 1) and DefaultReplicationFactor (0: 3) are for topics that are created without saying. For automatic creation the factor is lowered to
	// the number of live brokers. MaxPartitions bounds a topic; 0 is 10 000.
	//
	// min.insync.replicas, where a topic does not set it, is 2 for partitions of three or more replicas and else 1.
	DefaultPartitions        int32
	DefaultReplicationFactor int16
	MaxPartitions            int32
	// AutoCreateTopics creates the topics that clients ask for by name, where the client allows it.
	AutoCreateTopics bool
	// OffsetsPartitions is the number of partitions of the offsets topic, if this broker creates it; 0 is 8.
	OffsetsPartitions int32
}

func (c Config) withDefaults() Config {
	orDuration := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	c.Detector = c.Detector.WithDefaults()
	orDuration(&c.CompactEvery, 15*time.Second)
	orDuration(&c.ScrubEvery, 7*24*time.Hour)
	orDuration(&c.ReplicaLagMax, 10*time.Second)
	orDuration(&c.StallLimit, 10*time.Second)
	orDuration(&c.ShutdownTimeout, 5*time.Second)
	orCount := func(n *int32, def int32) {
		if *n == 0 {
			*n = def
		}
	}
	orCount(&c.DefaultPartitions, 1)
	orCount(&c.MaxPartitions, 10_000)
	orCount(&c.OffsetsPartitions, 8)
	if c.DefaultReplicationFactor == 0 {
		c.DefaultReplicationFactor = 3
	}
	return c
}

// Validate names every faulty field.
func (c Config) Validate() error {
	var errs []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("broker configuration: "+format, args...))
		}
	}
	fault(c.ID >= 0, "ID %d: use 0 or more", c.ID)
	fault(c.DataDir != "", "DataDir is empty: name the data directory")
	for name, address := range map[string]string{"Listen": c.Listen, "PeerListen": c.PeerListen} {
		_, _, err := splitAddress(address)
		fault(err == nil, "%s %q: want host:port", name, address)
	}
	fault(c.SourceAddress == "" || net.ParseIP(c.SourceAddress) != nil, "SourceAddress %q: want an IP address", c.SourceAddress)
	if err := c.Detector.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("broker configuration: %w", err))
	}
	fault(c.Detector.Kind != detector.Guardian || c.Guardian.Path != "", "Guardian: detector guardian needs a program to start")
	for name, d := range map[string]time.Duration{"CompactEvery": c.CompactEvery, "ReplicaLagMax": c.ReplicaLagMax, "StallLimit": c.StallLimit, "ShutdownTimeout": c.ShutdownTimeout} {
		fault(d >= 0, "%s %s: use 0 or more", name, d)
	}
	for name, n := range map[string]int32{
		"DefaultPartitions": c.DefaultPartitions, "DefaultReplicationFactor": int32(c.DefaultReplicationFactor),
		"MaxPartitions": c.MaxPartitions, "OffsetsPartitions": c.OffsetsPartitions,
	} {
		fault(n >= 0, "%s %d: use 0 or more", name, n)
	}
	return errors.Join(errs...)
}

func splitAddress(address string) (host string, port int32, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q: %w", text, err)
	}
	return host, int32(n), nil
}

// advertised is the endpoint that others are told for a listener. flag names the option to use when it cannot be told.
func advertised(ln net.Listener, advertise, flag string) (cluster.Endpoint, error) {
	bound, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return cluster.Endpoint{}, fmt.Errorf("listener address %s is not TCP", ln.Addr())
	}
	e := cluster.Endpoint{Host: bound.IP.String(), Port: int32(bound.Port)}
	if advertise == "" {
		if bound.IP.IsUnspecified() {
			return e, fmt.Errorf("listening on %s, which others cannot connect to: name an address with --%s", ln.Addr(), flag)
		}
		return e, nil
	}
	host, port, err := splitAddress(advertise)
	if err != nil { // a host alone
		host, port = advertise, 0
	}
	if host == "" {
		return e, fmt.Errorf("--%s %q: want host or host:port", flag, advertise)
	}
	e.Host = host
	if port != 0 {
		e.Port = port
	}
	return e, nil
}
