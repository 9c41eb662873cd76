package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Change is one value that differs between two documents.
type Change struct {
	Where  string // "cells[matched leader-kill etcd].headline.median_ms"
	Before string // as JSON; "absent" when there was none
	After  string
}

// absent stands for a value that is not there. A null, an empty list and an empty object say no more than that and are taken to be the same: a newer
// program may write a field that an older one left out.
const absent = "absent"

// rounding is by how much two numbers may differ, relatively, and be the same: the last bits depend on the processor.
const rounding = 1e-9

// Changes compares two JSON documents. Items of a list are matched by what names them, where they have names, and by place where they have not.
func Changes(before, after []byte) ([]Change, error) {
	a, err := decode(before)
	if err != nil {
		return nil, fmt.Errorf("read the earlier figures: %w", err)
	}
	b, err := decode(after)
	if err != nil {
		return nil, fmt.Errorf("read the new figures: %w", err)
	}
	return changes("", a, b), nil
}

func decode(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

func changes(where string, a, b any) []Change {
	if empty(a) && empty(b) {
		return nil
	}
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			return changesOfMaps(where, x, y)
		}
	case []any:
		if y, ok := b.([]any); ok {
			return changesOfMaps(where, named(x), named(y))
		}
	case json.Number:
		if y, ok := b.(json.Number); ok && sameNumber(x, y) {
			return nil
		}
	default:
		if a == b && a != nil {
			return nil
		}
	}
	return []Change{{strings.TrimPrefix(where, "."), brief(a), brief(b)}}
}

func changesOfMaps(where string, a, b map[string]any) []Change {
	var list []Change
	keys := slices.Sorted(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		step := "." + k
		if strings.HasPrefix(k, "[") {
			step = k
		}
		x, inA := a[k]
		y, inB := b[k]
		if !inA && zero(y) || !inB && zero(x) {
			continue // a field that one of the two programs does not write
		}
		list = append(list, changes(where+step, x, y)...)
	}
	return list
}

// named turns a list into a map by the names of its items.
func named(list []any) map[string]any {
	m := make(map[string]any, len(list))
	for i, item := range list {
		name := nameOf(item)
		if name == "" {
			name = strconv.Itoa(i)
		}
		for key := "[" + name + "]"; ; key += "'" {
			if _, taken := m[key]; !taken {
				m[key] = item
				break
			}
		}
	}
	return m
}

// nameOf is what tells an item of a list from the others.
func nameOf(item any) string {
	fields, ok := item.(map[string]any)
	if !ok {
		return ""
	}
	for _, keys := range [][]string{{"profile", "scenario", "backend", "variant"}, {"class", "topic", "partition"}, {"id"}, {"name"}, {"class"}, {"config"}, {"key"}, {"trial"}} {
		var parts []string
		for _, k := range keys {
			switch v := fields[k].(type) {
			case string:
				parts = append(parts, v)
			case json.Number:
				parts = append(parts, v.String())
			}
		}
		if name := strings.TrimSpace(strings.Join(parts, " ")); name != "" && fields[keys[0]] != nil {
			return name
		}
	}
	return ""
}

func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	return errX == nil && errY == nil && math.Abs(x-y) <= rounding*max(math.Abs(x), math.Abs(y))
}

func empty(v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case map[string]any:
		return len(x) == 0
	case []any:
		return len(x) == 0
	}
	return false
}

func zero(v any) bool {
	return v == false || v == "" || v == json.Number("0")
}

func brief(v any) string {
	if empty(v) {
		return absent
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	const most = 80
	if text := []rune(string(data)); len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(data)
}
