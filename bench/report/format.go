package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/regency-project/regency/bench/metrics"
)

const (
	notMeasured = "not measured"
	notObserved = "not observed"
	nbsp        = "\u00a0"
)

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// number writes v with thousands separated: whole from 100 on, one digit after the point below, so that the digits shown are the digits measured.
func number(v float64) string {
	switch {
	case !finite(v):
		return notMeasured
	case v == 0:
		return "0"
	case math.Abs(v) >= 99.95:
		return grouped(int64(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// grouped writes 1234567 as 1,234,567.
func grouped(v int64) string {
	s := strconv.FormatInt(v, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// withUnit joins a number and its unit so that no line breaks between them.
func withUnit(s, unit string) string {
	if s == notMeasured {
		return s
	}
	return s + nbsp + unit
}

func ms(v float64) string { return withUnit(number(v), "ms") }

func span(low, high float64) string { return number(low) + "–" + number(high) }

func perSecond(v float64) string { return withUnit(number(v), "rec/s") }

// byteSize writes a number of bytes in decimal units.
func byteSize(v float64) string {
	if !finite(v) {
		return notMeasured
	}
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}} {
		if v >= u.size {
			v /= u.size
			digits := 2
			if v >= 100 {
				digits = 0
			} else if v >= 10 {
				digits = 1
			}
			return withUnit(strconv.FormatFloat(v, 'f', digits, 64), u.name)
		}
	}
	return withUnit(number(v), "B")
}

func fixed(v float64, digits int) string {
	if !finite(v) {
		return notMeasured
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

func ratioText(v float64) string { return fixed(v, 2) + "×" }

func ratioSpan(r metrics.Ratio) string {
	name := "spread"
	if r.CI {
		name = "95" + nbsp + "% CI"
	}
	return fmt.Sprintf("%s %s–%s", name, fixed(r.Low, 2), fixed(r.High, 2))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(int64(n)) + " " + many
}

// medianText writes the median of a summary. When a point that is only a lower limit could move it, it is a lower limit itself.
func medianText(s *metrics.Summary) string {
	points := slices.Clone(s.Points)
	slices.SortFunc(points, func(a, b metrics.Point) int {
		switch {
		case a.Value < b.Value:
			return -1
		case a.Value > b.Value:
			return 1
		}
		return 0
	})
	limit := s.Median
	if len(points) > 0 {
		limit = points[len(points)/2].Value
	}
	return atLeast(s, limit) + ms(s.Median)
}

// atLeast is "≥ " when a censored point lies at or below limit.
func atLeast(s *metrics.Summary, limit float64) string {
	for _, p := range s.Points {
		if p.Censored && p.Value <= limit {
			return "≥" + nbsp
		}
	}
	if len(s.Points) == 0 && s.Censored > 0 {
		return "≥" + nbsp
	}
	return ""
}

func maxText(s *metrics.Summary) string { return atLeast(s, s.Max) + ms(s.Max) }

// spreadText is the interval of the median where there are enough points, and the range below that.
func spreadText(s *metrics.Summary) string {
	switch {
	case s.CI != nil:
		return "95" + nbsp + "% CI " + span(s.CI.Low, s.CI.High)
	case s.N == 1:
		return "one trial"
	}
	return "range " + span(s.Min, s.Max)
}

// usable tells whether a summary holds anything to show.
func usable(s *metrics.Summary) bool { return s != nil && s.N > 0 && finite(s.Median) }

// slug makes an identifier of any string: lower-case letters, digits and single hyphens.
func slug(parts ...string) string {
	var b strings.Builder
	hyphen := false
	for _, r := range strings.ToLower(strings.Join(parts, "-")) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			if hyphen && b.Len() > 0 {
				b.WriteByte('-')
			}
			hyphen = false
			b.WriteRune(r)
			continue
		}
		hyphen = true
	}
	if b.Len() == 0 {
		return "x"
	}
	return b.String()
}

func ellipsis(s string, limit int) string {
	r := []rune(s)
	if len(r) <= limit || limit < 2 {
		return s
	}
	return string(r[:limit-1]) + "…"
}

func orText(s, otherwise string) string {
	if strings.TrimSpace(s) == "" {
		return otherwise
	}
	return s
}

func joinAnd(items []string) string {
	switch len(items) {
	case 0:
		return ""
	case 1:
		return items[0]
	}
	return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
}
