package scenario

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// position says where in the file an error of the YAML reader is.
func position(file string, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) || y.GetToken() == nil || y.GetToken().Position == nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	at := y.GetToken()
	return fmt.Errorf("%s:%d:%d: %s (at %q)", file, at.Position.Line, at.Position.Column, y.GetMessage(), at.Value)
}

// locate says where in the file the keys stand that a validator found faulty. A key that is not in the file is where what should hold it is.
func locate(file string, data []byte, err error) error {
	root, parseErr := parser.ParseBytes(data, 0)
	var found []error
	for _, e := range flatten(err) {
		key, _, _ := strings.Cut(e.Error(), ":")
		if line := lineOf(root, key); parseErr == nil && line > 0 {
			found = append(found, fmt.Errorf("%s:%d: %w", file, line, e))
		} else {
			found = append(found, fmt.Errorf("%s: %w", file, e))
		}
	}
	return errors.Join(found...)
}

func flatten(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}

func lineOf(root *ast.File, key string) int {
	for root != nil && key != "" {
		if path, err := yaml.PathString("$." + key); err == nil {
			if node, err := path.FilterFile(root); err == nil && node != nil && node.GetToken() != nil && node.GetToken().Position != nil {
				return node.GetToken().Position.Line
			}
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return 0
}
