package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/regency-project/regency/storage"
	"github.com/regency-project/regency/storage/record"
	"github.com/spf13/cobra"
)

// newLog is for people who want to see what is on a broker's disk.
func newLog() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Print or verify what is on the disk of a broker that is stopped",
		Long:  `Read the logs in a broker's data directory. Nothing in it is changed. The broker must be stopped: a directory that a process has open is refused.`,
	}
	cmd.AddCommand(newLogDump(), newLogVerify())
	return cmd
}

// logFlags say what to read and how to print it.
type logFlags struct {
	dir, topic    string
	partition     int32
	from, to      int64
	records, json bool
}

func (f *logFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.dir, "data-dir", "", "the broker's data directory, or the store inside it")
	fs.BoolVar(&f.json, "json", false, "print one JSON object a line")
}

func newLogDump() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "Print logs, their batches, leader epochs, producers and time index",
		Long: `Print the logs in a broker's data directory: offsets, leader epochs, idempotent producers, time index, and each batch with its offsets, leader
epoch, producer, checksum, codec and number of records; with --records also the records.`,
		Example: `  regency log dump --data-dir /var/lib/regency
  regency log dump --data-dir /var/lib/regency --topic orders --partition 3 --from 1000 --to 1100 --records
  regency log dump --data-dir /var/lib/regency --json | jq 'select(.kind == "batch")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.open(func(i *storage.Inspector) error {
				return f.dump(cmd.Context(), i, newPrinter(cmd.OutOrStdout(), f.json))
			})
		},
	}
	f.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.topic, "topic", "", "only this topic")
	fs.Int32Var(&f.partition, "partition", -1, "only this partition")
	fs.Int64Var(&f.from, "from", 0, "only batches with offsets from here on")
	fs.Int64Var(&f.to, "to", -1, "only batches that begin below this offset; -1: all")
	fs.BoolVar(&f.records, "records", false, "print the records as well")
	return cmd
}

func newLogVerify() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check everything on a broker's disk against itself",
		Long: `Read all logs in a broker's data directory and check every checksum, the order of offsets and leader epochs, and that what is kept about the
data (producers, time index, sizes) agrees with it. Each fault is printed with topic, partition and offset.

The exit status is 1 if there is a fault, or if the store cannot be read at all.`,
		Example: `  regency log verify --data-dir /var/lib/regency`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.open(func(i *storage.Inspector) error {
				return verifyLogs(cmd.Context(), i, newPrinter(cmd.OutOrStdout(), f.json))
			})
		},
	}
	f.add(cmd)
	return cmd
}

// storeDirName is where a broker keeps its store inside its data directory.
const storeDirName = "log"

// open opens the store for use.
func (f *logFlags) open(use func(*storage.Inspector) error) error {
	if f.dir == "" {
		return errors.New("--data-dir is missing: name the broker's data directory")
	}
	dir := f.dir
	if info, err := os.Stat(filepath.Join(dir, storeDirName)); err == nil && info.IsDir() {
		dir = filepath.Join(dir, storeDirName)
	}
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	i, err := storage.Inspect(storage.Options{Dir: dir})
	if err != nil {
		return err
	}
	return errors.Join(use(i), i.Close())
}

// errEnough ends a visit.
var errEnough = errors.New("enough")

func (f *logFlags) dump(ctx context.Context, i *storage.Inspector, p *printer) error {
	logs, err := i.Logs()
	if err != nil {
		return err
	}
	found := storage.Find(logs, f.topic, f.partition)
	if len(found) == 0 && (f.topic != "" || f.partition >= 0) {
		return fmt.Errorf("no such log among the %d in %s: look at the dump without --topic and --partition", len(logs), i.Info().Dir)
	}
	p.store(i.Info(), len(logs))
	for _, d := range found {
		p.log(d)
		err := i.Batches(d, f.from, func(b storage.BatchReport) error {
			if b.Batch != nil && f.to >= 0 && b.Batch.BaseOffset() >= f.to {
				return errEnough
			}
			p.batch(d, b)
			if f.records && b.Batch != nil {
				p.records(d, b.Batch)
			}
			return errors.Join(ctx.Err(), p.err)
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
	}
	return p.err
}

func verifyLogs(ctx context.Context, i *storage.Inspector, p *printer) error {
	stats, err := i.Verify(ctx, func(f storage.Fault) { p.line("fault", f, f.String()) })
	if err != nil {
		return err
	}
	p.line("result", stats, fmt.Sprintf("%d logs, %d batches, %d records, %d bytes: %d faults",
		stats.Logs, stats.Batches, stats.Records, stats.Bytes, stats.Faults))
	if stats.Faults > 0 {
		return errors.Join(p.err, exitCode(1))
	}
	return p.err
}

// printer writes lines for people, or JSON objects with a "kind".
type printer struct {
	w    io.Writer
	json bool
	err  error // the first of writing
}

func newPrinter(w io.Writer, json bool) *printer { return &printer{w: w, json: json} }

func (p *printer) line(kind string, v any, text string) {
	if p.err != nil {
		return
	}
	if !p.json {
		_, p.err = fmt.Fprintln(p.w, text)
		return
	}
	p.err = json.NewEncoder(p.w).Encode(struct {
		Kind string `json:"kind"`
		What any    `json:"data"`
	}{kind, v})
}

func (p *printer) store(info storage.StoreInfo, logs int) {
	state := "closed cleanly"
	if !info.Clean {
		state = "not closed cleanly"
	}
	p.line("store", info, fmt.Sprintf("store %s: format %d, directory %s, flush %s, %s, %d logs", info.Dir, info.Format, info.UUID, info.Flush, state, logs))
}

// logLine is a log in JSON.
type logLine struct {
	Topic         string                   `json:"topic"`
	TopicID       string                   `json:"topic_id"`
	Partition     int32                    `json:"partition"`
	LogID         uint64                   `json:"log_id"`
	Start         int64                    `json:"start"`
	HighWatermark int64                    `json:"high_watermark"`
	End           int64                    `json:"end"`
	Bytes         int64                    `json:"bytes"`
	CleanedTo     int64                    `json:"cleaned_to"`
	Damage        string                   `json:"damage,omitempty"`
	Epochs        []storage.EpochStart     `json:"epochs"`
	Producers     []storage.ProducerState  `json:"producers"`
	TimeIndex     []storage.TimeIndexEntry `json:"time_index"`
}

func (p *printer) log(d storage.LogDescription) {
	l := logLine{d.Topic, hex.EncodeToString(d.TopicID[:]), d.Partition, d.LogID, d.Start, d.HighWatermark, d.End, d.Bytes, d.CleanedTo, "", d.Epochs, d.Producers, d.TimeIndex}
	if d.Damage != nil {
		l.Damage = d.Damage.Error()
	}
	p.line("log", l, fmt.Sprintf("\n%s-%d  log %d, topic id %s\n  offsets %d to %d, high watermark %d, %d bytes, compacted to %d",
		l.Topic, l.Partition, l.LogID, l.TopicID, l.Start, l.End, l.HighWatermark, l.Bytes, l.CleanedTo))
	if p.json {
		return
	}
	if d.Damage != nil {
		p.line("", nil, "  DAMAGED: "+l.Damage)
	}
	for _, e := range d.Epochs {
		p.line("", nil, fmt.Sprintf("  epoch %d from %d", e.Epoch, e.Start))
	}
	for _, s := range d.Producers {
		last := s.Batches[len(s.Batches)-1]
		p.line("", nil, fmt.Sprintf("  producer %d epoch %d: last sequence %d at offset %d", s.ProducerID, s.Epoch, last.LastSeq, last.LastOffset))
	}
	for _, e := range d.TimeIndex {
		p.line("", nil, fmt.Sprintf("  time index: to offset %d nothing newer than %s, position %d", e.Offset, when(e.MaxTimestamp), e.Position))
	}
}

// batchLine is a batch in JSON.
type batchLine struct {
	Topic         string `json:"topic"`
	Partition     int32  `json:"partition"`
	BaseOffset    int64  `json:"base_offset"`
	LastOffset    int64  `json:"last_offset"`
	LeaderEpoch   int32  `json:"leader_epoch"`
	Records       int32  `json:"records"`
	Bytes         int    `json:"bytes"`
	Codec         string `json:"codec"`
	MaxTimestamp  int64  `json:"max_timestamp"`
	ProducerID    int64  `json:"producer_id"`
	ProducerEpoch int16  `json:"producer_epoch"`
	BaseSequence  int32  `json:"base_sequence"`
	Control       bool   `json:"control"`
	Transactional bool   `json:"transactional"`
	DeleteHorizon int64  `json:"delete_horizon,omitempty"`
	CRC           string `json:"crc"`
	Checksum      string `json:"crc32c,omitempty"` // of the batch from its attributes on: equal checksums, equal bytes
	Error         string `json:"error,omitempty"`
}

func (p *printer) batch(d storage.LogDescription, r storage.BatchReport) {
	l := batchLine{Topic: d.Topic, Partition: d.Partition, LastOffset: r.Key, BaseOffset: -1, CRC: "ok"}
	if r.Err != nil {
		l.CRC, l.Error = "BAD", r.Err.Error()
	}
	if r.Batch == nil {
		p.line("batch", l, fmt.Sprintf("  batch to %d cannot be read: %s", r.Key, l.Error))
		return
	}
	b := r.Batch
	l.BaseOffset, l.LeaderEpoch, l.Records, l.Bytes, l.Codec = b.BaseOffset(), b.LeaderEpoch(), b.Count(), len(b), b.Compression().String()
	l.MaxTimestamp, l.ProducerID, l.ProducerEpoch, l.BaseSequence = b.MaxTimestamp(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()
	l.Control, l.Transactional, l.Checksum = b.IsControl(), b.IsTransactional(), hex.EncodeToString(b[17:21])
	l.DeleteHorizon, _ = b.DeleteHorizon()
	text := fmt.Sprintf("  batch %d-%d: epoch %d, %d records, %d bytes, %s, newest %s, crc %s", l.BaseOffset, l.LastOffset, l.LeaderEpoch, l.Records, l.Bytes, l.Codec, when(l.MaxTimestamp), l.CRC)
	if l.ProducerID >= 0 {
		text += fmt.Sprintf(", producer %d epoch %d sequence %d", l.ProducerID, l.ProducerEpoch, l.BaseSequence)
	}
	if l.Control {
		text += ", control"
	}
	if l.Transactional {
		text += ", transactional"
	}
	if l.DeleteHorizon != 0 {
		text += ", tombstones until " + when(l.DeleteHorizon)
	}
	if l.Error != "" {
		text += ": " + l.Error
	}
	p.line("batch", l, text)
}

// recordLine is a record in JSON. What is no text is given in hexadecimal.
type recordLine struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	Timestamp int64   `json:"timestamp"`
	Key       *string `json:"key"`
	Value     *string `json:"value"`
	Headers   int     `json:"headers"`
}

// dumpLimit bounds what a batch may decompress to.
const dumpLimit = 256 << 20

func (p *printer) records(d storage.LogDescription, b record.Batch) {
	err := record.ForEach(b, dumpLimit, func(r record.Record) bool {
		l := recordLine{d.Topic, d.Partition, r.Offset, r.Timestamp, text(r.Key), text(r.Value), len(r.Headers)}
		p.line("record", l, fmt.Sprintf("    %d %s key %s value %s", r.Offset, when(r.Timestamp), quoted(l.Key), quoted(l.Value)))
		return p.err == nil
	})
	if err != nil {
		p.line("error", err.Error(), "    records cannot be decoded: "+err.Error())
	}
}

func text(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	if !utf8.Valid(b) {
		s = "0x" + hex.EncodeToString(b)
	}
	return &s
}

func quoted(s *string) string {
	if s == nil {
		return "null"
	}
	return fmt.Sprintf("%q", *s)
}

func when(ms int64) string {
	if ms < 0 {
		return "none"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
