package timeline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
)

// Scan calls visit with each whole line of a compressed timeline in the order of their writing. It ends quietly where the writer was cut off.
func Scan(path string, visit func(line []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read timeline: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil // nothing was flushed yet
	}
	if err != nil {
		return fmt.Errorf("read timeline %s: %w", path, err)
	}
	in := bufio.NewReaderSize(z, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil // a line without its end was cut off
		}
		if err != nil {
			return fmt.Errorf("read timeline %s: %w", path, err)
		}
		if len(line) > maxLine {
			return fmt.Errorf("read timeline %s: a line of %d bytes", path, len(line))
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := visit(line); err != nil {
			return err
		}
	}
}

// Finished returns the blocks that a timeline holds to their end, in its order, and how many lines there are up to and with the end of the last one.
func Finished(path string) (blocks []BlockFinished, lines int, err error) {
	n := 0
	err = Scan(path, func(line []byte) error {
		n++
		if !bytes.Contains(line, []byte(NameBlockFinished)) { // most lines: they need no parsing
			return nil
		}
		e, err := Parse(line)
		if err != nil || e.Name != NameBlockFinished {
			return err
		}
		var b BlockFinished
		if err := e.Decode(&b); err != nil {
			return err
		}
		blocks, lines = append(blocks, b), n
		return nil
	})
	return blocks, lines, err
}

// Resume makes a writer that goes on with an interrupted timeline after its first lines; what follows them is dropped. The file is replaced as a whole
// once it holds what is kept, so that an interruption in between loses nothing.
func Resume(path string, lines int) (*Writer, error) {
	next := path + ".new"
	if err := os.RemoveAll(next); err != nil {
		return nil, fmt.Errorf("resume timeline: %w", err)
	}
	w, err := Create(next)
	if err != nil {
		return nil, err
	}
	n := 0
	err = Scan(path, func(line []byte) error {
		if n++; n > lines {
			return nil
		}
		return w.Copy(line)
	})
	err = errors.Join(err, w.Cut())
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("resume timeline: %w", err), w.Close(), os.RemoveAll(next))
	}
	return w, nil
}

// Copy writes a line of another timeline. It is no recent event.
func (w *Writer) Copy(line []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.err == nil {
		_, w.mu.err = w.mu.out.Write(append(bytes.Clone(line), '\n'))
	}
	return w.mu.err
}
