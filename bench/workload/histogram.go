package workload

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the top of the range; 10 minutes is longer than any trial, so that nothing is clamped in practice and the excess would show as the maximum.
const longest = 10 * time.Minute

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longest.Microseconds(), 3)
}

func record(h *hdrhistogram.Histogram, ns int64) {
	// Inside the range by construction: it cannot fail.
	_ = h.RecordValue(min(max(ns/1000, 0), longest.Microseconds()))
}

func milliseconds(us int64) float64 { return float64(us) / 1000 }

func encode(h *hdrhistogram.Histogram) (string, error) {
	b, err := h.EncodeV2()
	if err != nil {
		return "", fmt.Errorf("encode histogram: %w", err)
	}
	return string(b), nil
}
