// Package yamlpos says where in a YAML file something is wrong: an error that names file, line and key can be mended without a search.
package yamlpos

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// Syntax puts the place of a syntax error, an unknown key or a wrong type before its message.
func Syntax(file string, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil || y.GetToken().Position == nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	at := y.GetToken()
	return fmt.Errorf("%s:%d:%d: %s (at %q)", file, at.Position.Line, at.Position.Column, y.GetMessage(), at.Value)
}

// Places returns a function that says where the value of a path such as "faults[2].role" stands: "file:line". Of a key that is absent it is the place of what it
// would stand in, and the file alone if there is no such place.
func Places(file string, data []byte) func(key string) string {
	root, err := parser.ParseBytes(data, 0)
	return func(key string) string {
		for at := key; err == nil && at != ""; at = at[:max(strings.LastIndexAny(at, ".["), 0)] {
			path, err := yaml.PathString("$." + at)
			if err != nil {
				continue
			}
			node, err := path.FilterFile(root)
			if err == nil && node != nil && node.GetToken() != nil && node.GetToken().Position != nil {
				return fmt.Sprintf("%s:%d", file, node.GetToken().Position.Line)
			}
		}
		return file
	}
}
