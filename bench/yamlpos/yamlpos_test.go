package yamlpos

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestPlaces(t *testing.T) {
	at := Places("f.yaml", []byte("name: x\nfaults:\n  - action: kill\n    role: leader\n  - action: cut\n"))
	for key, want := range map[string]string{
		"name": "f.yaml:1", "faults[0].role": "f.yaml:4", "faults[1].action": "f.yaml:5", "faults[1].role": "f.yaml:5", "absent": "f.yaml", "": "f.yaml", "absent.below[3]": "f.yaml",
	} {
		if got := at(key); got != want {
			t.Errorf("place of %q = %s, want %s", key, got, want)
		}
	}
	if got := Places("f.yaml", []byte("a: [1\nb: }"))("a"); got != "f.yaml" {
		t.Errorf("place in a file that is no YAML = %s", got)
	}
}

func TestSyntax(t *testing.T) {
	var v struct {
		Name string `yaml:"name"`
	}
	err := yaml.UnmarshalWithOptions([]byte("name: x\nnmae: y\n"), &v, yaml.Strict())
	if got := Syntax("f.yaml", err); !strings.HasPrefix(got.Error(), "f.yaml:2:1: ") || !strings.Contains(got.Error(), "nmae") {
		t.Errorf("Syntax() = %v", got)
	}
}
