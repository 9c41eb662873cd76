package main

import (
	"context"
	"path/filepath"
	"time"
)

// group is measurements that are compared with each other: in each round all of them run, in random order.
type group struct {
	name    string
	members []member
	rounds  int // at most; 0: as many as asked for
}

type member struct {
	name string
	run  func(ctx context.Context, dir string) (sample, error)
}

const (
	partitions      = 128 // of the store measurements
	topicPartitions = 6   // of the broker measurements
	recordBytes     = 1000
)

func groupNames() []string {
	var names []string
	for _, g := range groups(&config{}) {
		names = append(names, g.name)
	}
	return names
}

func groups(c *config) []group {
	return []group{
		{name: "append16", members: c.appends(16)},
		{name: "append64", members: c.appends(64)},
		{name: "tail", members: c.reads(false)},
		{name: "cold", members: c.reads(true)},
		{name: "space", members: c.space(), rounds: 1},
		{name: "produce1", members: c.produces(1)},
		{name: "produce3", members: c.produces(3)},
		{name: "latency1", members: c.latencies(1)},
		{name: "latency3", members: c.latencies(3)},
		{name: "sustained", members: c.sustainedAppends(), rounds: 1}, // two minutes for each member
	}
}

func (c *config) seconds(full float64) time.Duration {
	if c.quick {
		full = min(full, 1)
	}
	return time.Duration(full * float64(time.Second))
}

// warmBytes is what fills the memory that a store works in, and a few files of its log. Memory that is touched for the first time can cost more than all else, on
// a virtual machine most of all.
func (c *config) warmBytes() int64 {
	if c.quick {
		return 0
	}
	return 1e9
}

// storeSides are the store and what it is compared with, in both flush modes.
var storeSides = []struct {
	name        string
	files, sync bool
}{
	{"store-sync", false, true}, {"files-sync", true, true}, {"store-written", false, false}, {"files-written", true, false},
}

func (c *config) appends(appenders int) []member {
	var ms []member
	for _, side := range storeSides {
		ms = append(ms, c.inChild("append", side.name, appendLoad{
			Files: side.files, Sync: side.sync, Appenders: appenders, Batch: c.batch,
			Warm: c.seconds(3), WarmBytes: c.warmBytes(), For: c.seconds(5), Seed: c.seed,
		}))
	}
	return ms
}

func (c *config) sustainedAppends() []member {
	if c.sustained == 0 {
		return nil
	}
	var ms []member
	for _, side := range storeSides {
		if side.sync && side.files {
			continue // per-partition fdatasync is not what a target compares with here
		}
		ms = append(ms, c.inChild("append", side.name, appendLoad{
			Files: side.files, Sync: side.sync, Appenders: 64, Batch: c.batch, Bytes: c.sustained, Seed: c.seed,
		}))
	}
	return ms
}

func (c *config) reads(cold bool) []member {
	size := int64(1e9)
	if c.quick {
		size = 200e6
	}
	return []member{
		c.inChild("read", "store", readLoad{Bytes: size, Batch: c.batch, Cold: cold, For: c.seconds(4)}),
		c.inChild("read", "files", readLoad{Files: true, Bytes: size, Batch: c.batch, Cold: cold, For: c.seconds(4)}),
	}
}

func (c *config) space() []member {
	l := spaceLoad{Bytes: 4e9, Keep: 2e9, Batch: c.batch, Settle: 4 * time.Minute}
	if c.quick {
		l.Bytes, l.Keep, l.Settle = 1e9, 5e8, 10*time.Second
	}
	return []member{c.inChild("space", "store", l)}
}

func (c *config) inChild(kind, name string, load any) member {
	return member{name: name, run: func(ctx context.Context, dir string) (sample, error) {
		profile := ""
		if c.profile != "" {
			profile = filepath.Join(c.profile, kind+"-"+name+".pprof")
		}
		return runChild(ctx, dir, profile, kind, load)
	}}
}

func (c *config) produces(copies int) []member {
	load := produceLoad{Warm: c.seconds(2), For: c.seconds(6)}
	return c.brokers(copies, load.measure)
}

func (c *config) latencies(copies int) []member {
	load := latencyLoad{For: c.seconds(6)}
	return c.brokers(copies, load.measure)
}

// brokers are the servers of a replication factor, under a load.
func (c *config) brokers(copies int, load func(context.Context, *servers) (sample, error)) []member {
	var ms []member
	add := func(name string, start func(context.Context, string) (*servers, error)) {
		ms = append(ms, member{name: name, run: func(ctx context.Context, dir string) (s sample, err error) {
			srv, err := start(ctx, dir)
			if err != nil {
				return nil, err
			}
			defer srv.stop()
			return load(ctx, srv)
		}})
	}
	if copies == 1 {
		add("null", startNull)
		add("kfake", startFake)
	}
	add("nats", func(ctx context.Context, dir string) (*servers, error) { return startNATS(ctx, dir, copies, false) })
	if copies > 1 {
		add("nats-always", func(ctx context.Context, dir string) (*servers, error) { return startNATS(ctx, dir, copies, true) })
	}
	add("regency-sync", func(ctx context.Context, dir string) (*servers, error) {
		return startRegency(ctx, c.regency, dir, copies, "sync")
	})
	add("regency-written", func(ctx context.Context, dir string) (*servers, error) {
		return startRegency(ctx, c.regency, dir, copies, "written")
	})
	return ms
}
