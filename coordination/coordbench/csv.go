package coordbench

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// WriteFigures writes one line for each cell, backend and side. Empty fields were not measured.
func WriteFigures(w io.Writer, r Result) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"operation", "records", "clients", "watchers", "backend", "side", "n", "errors", "p50_ms", "p50_low_ms", "p50_high_ms", "p99_ms", "max_ms", "per_s",
		"ratio", "ratio_low", "ratio_high", "target"}}
	for _, f := range r.Cells {
		for _, side := range []struct {
			name string
			s    *Side
		}{{"layer", f.Layer}, {"raw", f.Raw}} {
			rows = append(rows, append([]string{f.Operation, strconv.Itoa(f.Records), strconv.Itoa(f.Clients), strconv.Itoa(f.Watchers), f.Backend, side.name},
				fields(side.s, f.Ratio, side.name == "layer", operation(f.Operation).Target)...))
		}
	}
	return flush(c, rows)
}

func fields(s *Side, r *Ratio, layer bool, target float64) []string {
	out := make([]string, 12)
	if s != nil {
		out[0], out[1], out[2], out[6], out[7] = strconv.Itoa(s.N), strconv.Itoa(s.Errors), number(s.P50Ms), number(s.MaxMs), number(s.PerS)
		if s.P50CI != nil {
			out[3], out[4] = number(s.P50CI.Low), number(s.P50CI.High)
		}
		if s.P99Ms != nil {
			out[5] = number(*s.P99Ms)
		}
	}
	if layer && r != nil {
		out[8], out[11] = number(r.Value), number(target)
		if r.CI != nil {
			out[9], out[10] = number(r.CI.Low), number(r.CI.High)
		}
	}
	return out
}

// WriteSamples writes every measurement.
func WriteSamples(w io.Writer, samples []Sample) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"backend", "operation", "records", "clients", "watchers", "round", "pair", "side", "first", "ms", "operations"}}
	for _, s := range samples {
		rows = append(rows, []string{s.Backend, s.Cell.Operation, strconv.Itoa(s.Cell.Records), strconv.Itoa(s.Cell.Clients), strconv.Itoa(s.Cell.Watchers),
			strconv.Itoa(s.Round), strconv.Itoa(s.Pair), s.Side, strconv.FormatBool(s.First), number(s.Ms), strconv.Itoa(s.Ops)})
	}
	return flush(c, rows)
}

func flush(c *csv.Writer, rows [][]string) error {
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', 4, 64) }
