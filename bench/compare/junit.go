package compare

import (
	"encoding/xml"
	"fmt"
)

type suite struct {
	XMLName  xml.Name `xml:"testsuite"`
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Cases    []test   `xml:"testcase"`
	Output   string   `xml:"system-out,omitempty"`
}

type test struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	Failure *outcome `xml:"failure"`
	Skipped *outcome `xml:"skipped"`
}

type outcome struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit renders the comparison as a test suite: one case for correctness, one for each figure. What is worse beyond the threshold has failed, what could not
// be compared was skipped.
func (c *Comparison) JUnit() ([]byte, error) {
	s := suite{Name: "regency " + c.New.ID + " against " + c.Old.ID}
	correct := test{Class: "correctness", Name: "no promise is broken"}
	if len(c.Violations) > 0 {
		correct.Failure = &outcome{Message: count(len(c.Violations), "violation")}
		for _, v := range c.Violations {
			correct.Failure.Text += fmt.Sprintf("%s in %s: %s\n", v.Check, v.Trial, v.Detail)
		}
	}
	s.Cases = append(s.Cases, correct)
	for _, l := range c.Lost {
		s.Cases = append(s.Cases, test{Class: "figures", Name: l, Failure: &outcome{Message: "no figure in the new run"}})
	}
	for _, f := range c.Each() {
		m := f.Measure
		t := test{Class: f.Cell.Name(), Name: m.Name}
		text := fmt.Sprintf("%s, then %s: %s (%s)", m.value(m.Old), m.value(m.New), m.change(), m.interval())
		switch {
		case m.Beyond:
			t.Failure = &outcome{Message: "slower by more than " + percent(c.Threshold), Text: text}
		case m.Says == NotComparable:
			t.Skipped = &outcome{Message: m.Reason}
		}
		s.Cases = append(s.Cases, t)
	}
	s.Tests = len(s.Cases)
	for _, t := range s.Cases {
		if t.Failure != nil {
			s.Failures++
		}
		if t.Skipped != nil {
			s.Skipped++
		}
	}
	for _, l := range append(c.conditions(), c.Headline()) {
		s.Output += l + "\n"
	}
	data, err := xml.MarshalIndent(s, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode JUnit: %w", err)
	}
	return append([]byte(xml.Header), append(data, '\n')...), nil
}
