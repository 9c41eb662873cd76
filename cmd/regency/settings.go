package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const configFlag = "config"

// applySettings gives each flag that was not set on the command line its value from the environment (REGENCY_DATA_DIR for --data-dir), or else from the
// YAML file of --config, whose keys are the flags' names. An unknown key is an error that names the file, the key and what there is.
func applySettings(cmd *cobra.Command) error {
	flags := cmd.Flags()
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "REGENCY_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := os.LookupEnv(name); ok && !f.Changed && settable(f) {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("environment %s=%q: %w", name, v, err))
			}
		}
	})
	if path, err := flags.GetString(configFlag); err == nil && path != "" {
		errs = append(errs, applyFile(flags, path))
	}
	return errors.Join(errs...)
}

func settable(f *pflag.Flag) bool { return f.Name != "help" && f.Name != "version" }

func applyFile(flags *pflag.FlagSet, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	var values map[string]any
	if err := yaml.NewDecoder(bytes.NewReader(raw)).Decode(&values); err != nil {
		return fmt.Errorf("--config %s: %s", path, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	var errs []error
	for key, value := range values {
		f := flags.Lookup(key)
		if f == nil || !settable(f) || key == configFlag {
			errs = append(errs, fmt.Errorf("--config %s: unknown key %q; known are %s", path, key, strings.Join(names(flags), ", ")))
			continue
		}
		if f.Changed {
			continue
		}
		text, err := settingText(key, value)
		if err == nil {
			err = flags.Set(key, text)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("--config %s: key %q: %w", path, key, err))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func names(flags *pflag.FlagSet) []string {
	var ns []string
	flags.VisitAll(func(f *pflag.Flag) {
		if settable(f) && f.Name != configFlag {
			ns = append(ns, f.Name)
		}
	})
	return ns
}

// settingText is the flag's text of a YAML value: scalars as they are; coordination may be a mapping instead of a URL.
func settingText(key string, value any) (string, error) {
	switch v := value.(type) {
	case map[string]any:
		if key == "coordination" {
			return coordinationURL(v)
		}
		return "", errors.New("want one value, not a mapping")
	case []any:
		return "", errors.New("want one value, not a list")
	case nil:
		return "", errors.New("has no value")
	}
	return fmt.Sprint(value), nil
}

// coordinationURL is the URL of the YAML form {backend: etcd, endpoints: [h1:2379], prefix: cluster-a, options: {session: 2s}}.
func coordinationURL(m map[string]any) (string, error) {
	var u url.URL
	q := url.Values{}
	for key, value := range m {
		switch key {
		case "backend":
			u.Scheme = fmt.Sprint(value)
		case "prefix":
			u.Path = "/" + strings.TrimPrefix(fmt.Sprint(value), "/")
		case "endpoints":
			list, ok := value.([]any)
			if !ok {
				return "", errors.New("coordination.endpoints: want a list of host:port")
			}
			var hosts []string
			for _, h := range list {
				hosts = append(hosts, fmt.Sprint(h))
			}
			u.Host = strings.Join(hosts, ",")
		case "options":
			options, ok := value.(map[string]any)
			if !ok {
				return "", errors.New("coordination.options: want a mapping, as {session: 2s}")
			}
			for k, v := range options {
				q.Set(k, fmt.Sprint(v))
			}
		default:
			return "", fmt.Errorf("unknown key %q in coordination; known are backend, endpoints, prefix, options", key)
		}
	}
	if u.Scheme == "" {
		return "", errors.New("coordination.backend is missing: embedded, etcd, zookeeper, consul or memory")
	}
	// Not encoded: peers=1@host:port,2@… reads better in messages, and none of these characters is special in a query.
	u.RawQuery, _ = url.QueryUnescape(q.Encode())
	if u.Host == "" && u.Path == "" {
		u.Opaque = " "
		return strings.Replace(u.String(), " ", "", 1), nil
	}
	return u.String(), nil
}
