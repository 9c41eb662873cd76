package timeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Tail reads what a broker has appended to its event file since the last call.
type Tail struct {
	Path   string
	offset int64
}

// Next returns the whole lines that are new. A file that does not exist yet has none.
func (t *Tail) Next() ([]Event, error) {
	f, err := os.Open(t.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read broker events: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(t.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read broker events: %w", err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read broker events: %w", err)
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	t.offset += int64(end)
	var events []Event
	for line := range bytes.Lines(data[:end]) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		e, err := Parse(line)
		if err != nil {
			return nil, fmt.Errorf("read broker events %s: %w", t.Path, err)
		}
		events = append(events, e)
	}
	return events, nil
}
