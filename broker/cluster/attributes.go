package cluster

import (
	"encoding/json"
	"fmt"
)

// Attributes is what a broker tells about itself in its registration.
type Attributes struct {
	Client Endpoint `json:"client"`
	Peer   Endpoint `json:"peer"`
	Rack   string   `json:"rack,omitempty"`
}

// Encode is the form that a registration carries.
func (a Attributes) Encode() []byte {
	b, err := json.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("encode broker attributes: %v", err)) // plain structs: cannot fail
	}
	return b
}

// ParseAttributes is the inverse of Encode. It refuses attributes without endpoints: such a broker could not be reached.
func ParseAttributes(b []byte) (Attributes, error) {
	var a Attributes
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("parse broker attributes: %w", err)
	}
	for name, e := range map[string]Endpoint{"client": a.Client, "peer": a.Peer} {
		if e.Host == "" || e.Port <= 0 || e.Port > 65535 {
			return a, fmt.Errorf("parse broker attributes: %s endpoint %q port %d is not an address", name, e.Host, e.Port)
		}
	}
	return a, nil
}
