// Package audit examines a cluster at the end of its life: it reads everything back as a client does, and then, with the brokers stopped, compares what each
// of them has on its disk. The brokers' program prints that; the harness reads no file of theirs.
package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/regency-project/regency/bench/check"
)

// maxLine bounds a line of a dump: the longest are the time index and the producers of one log.
const maxLine = 64 << 20

// grace is how long a program may take to end by itself once it was told to.
const grace = 5 * time.Second

// line is what `regency log dump --json` and `regency log verify --json` print.
type line struct {
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
}

// Copies returns the copies of the wanted partitions in a stopped broker's data directory.
func Copies(ctx context.Context, program, dir string, broker int32, wanted func(check.Partition) bool) (map[check.Partition]check.Replica, error) {
	d := dump{broker: broker, wanted: wanted, copies: make(map[check.Partition]check.Replica)}
	_, err := print(ctx, d.line, program, "log", "dump", "--json", "--data-dir", dir)
	if err != nil {
		return nil, fmt.Errorf("dump the logs of broker %d: %w", broker, err)
	}
	return d.copies, nil
}

// Faults returns what contradicts itself in a stopped broker's data directory.
func Faults(ctx context.Context, program, dir string, broker int32) ([]string, error) {
	var faults []string
	failed, err := print(ctx, func(l line) error {
		if l.Kind == "fault" {
			faults = append(faults, string(l.Data))
		}
		return nil
	}, program, "log", "verify", "--json", "--data-dir", dir)
	if err == nil && failed != nil && len(faults) == 0 {
		err = failed
	}
	if err != nil {
		return nil, fmt.Errorf("verify the logs of broker %d: %w", broker, err)
	}
	return faults, nil
}

// print runs the program and takes the lines that it prints. failed is how it ended, if not well.
func print(ctx context.Context, take func(line) error, program string, args ...string) (failed, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = grace
	var said strings.Builder
	cmd.Stderr = &limited{w: &said, left: 4096}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err = lines(out, take)
	if err != nil {
		_, _ = io.Copy(io.Discard, out) // so that it can end
	}
	if failed = cmd.Wait(); failed != nil {
		failed = fmt.Errorf("%s %s: %w: %s", program, strings.Join(args[:2], " "), failed, strings.TrimSpace(said.String()))
	}
	var ended *exec.ExitError
	if err == nil && failed != nil && (!errors.As(failed, &ended) || args[1] != "verify") {
		err = failed
	}
	return failed, err
}

func lines(r io.Reader, take func(line) error) error {
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 64<<10), maxLine)
	for scan.Scan() {
		var l line
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			return fmt.Errorf("a line of another form: %w", err)
		}
		if err := take(l); err != nil {
			return err
		}
	}
	return scan.Err()
}

// limited drops what is too much.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// dump gathers the lines of one broker.
type dump struct {
	broker int32
	wanted func(check.Partition) bool
	copies map[check.Partition]check.Replica
}

type logLine struct {
	Topic         string `json:"topic"`
	Partition     int32  `json:"partition"`
	Start         int64  `json:"start"`
	HighWatermark int64  `json:"high_watermark"`
	End           int64  `json:"end"`
}

type batchLine struct {
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	BaseOffset  int64  `json:"base_offset"`
	LastOffset  int64  `json:"last_offset"`
	LeaderEpoch int32  `json:"leader_epoch"`
	Checksum    string `json:"crc32c"`
	Error       string `json:"error"`
}

func (d *dump) line(l line) error {
	switch l.Kind {
	case "log":
		var x logLine
		if err := json.Unmarshal(l.Data, &x); err != nil {
			return err
		}
		if p := (check.Partition{Topic: x.Topic, ID: x.Partition}); d.wanted(p) {
			d.copies[p] = check.Replica{Broker: d.broker, Start: x.Start, HighWatermark: x.HighWatermark, End: x.End}
		}
	case "batch":
		var x batchLine
		if err := json.Unmarshal(l.Data, &x); err != nil {
			return err
		}
		p := check.Partition{Topic: x.Topic, ID: x.Partition}
		if c, ok := d.copies[p]; ok {
			c.Batches = append(c.Batches, check.Batch{Base: x.BaseOffset, Last: x.LastOffset, LeaderEpoch: x.LeaderEpoch, Sum: x.Checksum + x.Error})
			d.copies[p] = c
		}
	}
	return nil
}
