package timeline

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// Writer appends events to a compressed file and keeps those of the current block in memory, so that a trial can be judged while its cluster still
// runs. Its methods may be called from any goroutine.
type Writer struct {
	mu struct {
		sync.Mutex
		out    *gzip.Writer
		file   io.Closer
		recent []Event
		err    error
	}
}

// Create makes the file; an existing one is an error, because a run is never written twice.
func Create(path string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create timeline: %w", err)
	}
	w := &Writer{}
	w.mu.out, w.mu.file = gzip.NewWriter(f), f
	return w, nil
}

// NewWriter writes uncompressed memory only: for tests and for judging a trial that is not kept.
func NewWriter() *Writer { return &Writer{} }

// Emit writes an event that happened now.
func (w *Writer) Emit(p Payload) { w.EmitAt(Now(), p) }

// EmitAt writes an event that happened at t. The first error is kept for Close.
func (w *Writer) EmitAt(t int64, p Payload) {
	body, err := json.Marshal(p)
	if err != nil {
		w.fail(fmt.Errorf("encode event %s: %w", p.event(), err))
		return
	}
	line := fmt.Appendf(make([]byte, 0, len(body)+48), `{"t":%d,"event":%q`, t, p.event())
	if len(body) > 2 {
		line = append(line, ',')
	}
	line = append(line, body[1:]...)
	e, err := Parse(line)
	if err != nil {
		w.fail(err)
		return
	}
	w.Add(e)
}

// Add writes an event of a broker, or one that was read elsewhere, as it is.
func (w *Writer) Add(events ...Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		w.mu.recent = append(w.mu.recent, e)
		if w.mu.out == nil || w.mu.err != nil {
			continue
		}
		if _, err := w.mu.out.Write(append(slices.Clip(e.line), '\n')); err != nil {
			w.mu.err = err
		}
	}
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.err = errors.Join(w.mu.err, err)
}

// Recent returns the events since the last Cut, in the order of their time.
func (w *Writer) Recent() []Event {
	w.mu.Lock()
	events := slices.Clone(w.mu.recent)
	w.mu.Unlock()
	sortEvents(events)
	return events
}

// Cut forgets the recent events and makes what was written so far durable against the end of this process.
func (w *Writer) Cut() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.recent = nil
	if w.mu.out != nil && w.mu.err == nil {
		w.mu.err = w.mu.out.Flush()
	}
	return w.mu.err
}

// Close ends the file and returns the first error of any write.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.out == nil {
		return w.mu.err
	}
	err := errors.Join(w.mu.err, w.mu.out.Close(), w.mu.file.Close())
	w.mu.out = nil
	if err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	return nil
}

func sortEvents(events []Event) {
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.T, b.T) })
}

// maxLine bounds a line: the longest are histograms and the roles of all partitions.
const maxLine = 16 << 20

// Read reads a timeline, compressed when its name ends in .gz, and sorts each of its parts by time. A last line that was cut off by the end of the writer is left
// out; any other line that does not parse is an error with its number.
func Read(path string) ([]Event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read timeline: %w", err)
	}
	defer f.Close()
	in := io.Reader(f)
	if len(path) > 3 && path[len(path)-3:] == ".gz" {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("read timeline %s: %w", path, err)
		}
		in = z
	}
	events, err := ReadFrom(in)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // the writer died: what it had flushed is still good
		return nil, fmt.Errorf("read timeline %s: %w", path, err)
	}
	return events, nil
}

// ReadFrom reads lines until the end of r and sorts those of each part.
func ReadFrom(r io.Reader) ([]Event, error) {
	var events []Event
	part := 0 // where the current part begins
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 64<<10), maxLine)
	var bad error
	for n := 1; scan.Scan(); n++ {
		if bad != nil {
			return nil, bad
		}
		if len(scan.Bytes()) == 0 {
			continue
		}
		e, err := Parse(slices.Clone(scan.Bytes()))
		if err != nil {
			bad = fmt.Errorf("line %d: %w", n, err) // an error only if another line follows
			continue
		}
		if e.Name == NamePart {
			sortEvents(events[part:])
			part = len(events)
		}
		events = append(events, e)
	}
	sortEvents(events[part:])
	return events, scan.Err()
}
