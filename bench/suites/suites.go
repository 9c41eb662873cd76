// Package suites holds the suites that ship with the harness, one YAML file each; package suite says what they mean.
package suites

import "embed"

// Files are the suites: <name>.yaml.
//
//go:embed *.yaml
var Files embed.FS
