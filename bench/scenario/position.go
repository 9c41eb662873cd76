package scenario

import (
	"errors"
	"fmt"
	"strings"

	"github.com/regency-project/regency/bench/yamlpos"
)

// locate says where in the file the keys stand that a validator found faulty.
func locate(file string, data []byte, err error) error {
	at := yamlpos.Places(file, data)
	var found []error
	for _, e := range flatten(err) {
		key, _, _ := strings.Cut(e.Error(), ":")
		found = append(found, fmt.Errorf("%s: %w", at(key), e))
	}
	return errors.Join(found...)
}

func flatten(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}
