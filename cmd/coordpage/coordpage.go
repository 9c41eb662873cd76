// Package coordpage writes the directory of a coordination microbenchmark: figures and samples as package coordbench found them, and a page in the look of the
// harness's report. It stands in cmd because it needs both, which know nothing of each other.
package coordpage

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/regency-project/regency/coordination/coordbench"
)

// Names of what Write leaves in the directory.
const (
	name        = "coordination"
	HTMLFile    = name + ".html"
	FiguresFile = "figures.json"
	CSVFile     = "figures.csv"
	SamplesFile = "samples.csv.gz"
)

// Write fills dir, making it if needed.
func Write(dir string, r coordbench.Result, samples []coordbench.Sample) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the result's directory: %w", err)
	}
	figures, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", FiguresFile, err)
	}
	if err := os.WriteFile(filepath.Join(dir, FiguresFile), append(figures, '\n'), 0o644); err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	var csv, zipped bytes.Buffer
	if err := coordbench.WriteFigures(&csv, r); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, CSVFile), csv.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	if err := compress(&zipped, func(w io.Writer) error { return coordbench.WriteSamples(w, samples) }); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, SamplesFile), zipped.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write samples: %w", err)
	}
	p, err := page(r)
	if err != nil {
		return err
	}
	return p.Write(dir, name)
}

// Render writes the page of a directory again from its figures.
func Render(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, FiguresFile))
	if err != nil {
		return fmt.Errorf("read figures: %w", err)
	}
	var r coordbench.Result
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("decode %s: %w", filepath.Join(dir, FiguresFile), err)
	}
	if r.Kind != "coordination" || r.Schema != coordbench.Schema {
		return fmt.Errorf("%s: kind %q, schema %d; this version reads coordination, %d", filepath.Join(dir, FiguresFile), r.Kind, r.Schema, coordbench.Schema)
	}
	p, err := page(r)
	if err != nil {
		return err
	}
	return p.Write(dir, name)
}

func compress(w io.Writer, write func(io.Writer) error) error {
	z := gzip.NewWriter(w)
	if err := write(z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("compress: %w", err)
	}
	return nil
}
