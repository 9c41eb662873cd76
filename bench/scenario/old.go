package scenario

import "encoding/json"

// UnmarshalJSON reads the scenario of a manifest. Those written before a scenario could have several faults hold the only one as "fault".
func (s *Scenario) UnmarshalJSON(data []byte) error {
	type plain Scenario
	v := struct {
		*plain
		Fault *Fault `json:"fault"`
	}{plain: (*plain)(s)}
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	if v.Fault != nil && *v.Fault != (Fault{}) {
		s.Faults = append([]Fault{*v.Fault}, s.Faults...)
	}
	return nil
}
