package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/regency-project/regency/bench/metrics"
	"github.com/regency-project/regency/bench/plan"
	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/profile"
)

var titles = map[profile.Backend]string{
	profile.Embedded: "Embedded", profile.Etcd: "etcd", profile.ZooKeeper: "ZooKeeper", profile.Consul: "Consul",
}

// absent says that a profile has no settings for a backend.
func absent(backend, name string) bool {
	_, err := profile.Lookup(profile.Backend(backend), profile.Name(name))
	return errors.Is(err, profile.ErrAbsent)
}

func allBackends() []string {
	var names []string
	for _, b := range profile.Backends() {
		names = append(names, string(b))
	}
	return names
}

// checkNames finds unknown and repeated names before anything is started.
func checkNames(backends, profiles []string) error {
	var errs []error
	for i, b := range backends {
		if slices.Index(backends, b) != i {
			errs = append(errs, fmt.Errorf("backend %s is given twice", b))
		}
		if !slices.Contains(profile.Backends(), profile.Backend(b)) {
			errs = append(errs, fmt.Errorf("unknown backend %q: choose from %s", b, strings.Join(allBackends(), ", ")))
		}
	}
	for i, p := range profiles {
		if slices.Index(profiles, p) != i {
			errs = append(errs, fmt.Errorf("profile %s is given twice", p))
		}
		if !slices.Contains(profile.Names(), profile.Name(p)) {
			errs = append(errs, fmt.Errorf("unknown profile %q: choose from %v", p, profile.Names()))
		}
	}
	return errors.Join(errs...)
}

// describe makes the manifest of a run that has not begun.
func describe(o Options, p plan.Plan) (metrics.Manifest, error) {
	m := metrics.Manifest{
		Schema: metrics.Schema, Revision: revision(), Seed: o.Seed, Trials: o.Trials,
		Flush: o.Flush, Scenarios: o.Scenarios, Plan: p, Command: strings.ReplaceAll(o.Command, "{seed}", fmt.Sprint(o.Seed)),
		Suite: o.Suite, ScenarioTrials: o.ScenarioTrials, ProfileTrials: o.ProfileTrials, Until: o.Until, Shard: o.Shard, HostID: hostID(),
	}
	for _, name := range o.Profiles {
		m.Profiles = append(m.Profiles, metrics.Profile{Name: name, Title: profile.Name(name).Title(), Ranked: name != string(profile.Default)})
	}
	m.Environment = hostEnvironment()
	m.Environment.Flush = o.Flush
	for _, s := range o.Scenarios {
		m.Environment.Resolution = max(m.Environment.Resolution, float64(s.Probes.Interval)/1e6)
		m.Environment.Deadline = max(m.Environment.Deadline, float64(s.Probes.Deadline)/1e6)
	}
	sum, err := hashFiles([]string{o.BrokerBinary})
	if err != nil {
		return m, fmt.Errorf("hash the broker program: %w", err)
	}
	m.Environment.Binaries = append(m.Environment.Binaries, metrics.Binary{Name: "regency", Version: o.Version, SHA256: sum})
	for _, name := range o.Backends {
		info, binary, err := describeBackend(o, profile.Backend(name))
		if err != nil {
			return m, err
		}
		m.Backends = append(m.Backends, info)
		if binary != nil {
			m.Environment.Binaries = append(m.Environment.Binaries, *binary)
		}
	}
	return m, nil
}

func describeBackend(o Options, b profile.Backend) (metrics.BackendInfo, *metrics.Binary, error) {
	info := metrics.BackendInfo{Name: string(b), Title: titles[b], Status: metrics.StatusOK}
	for _, name := range o.Profiles {
		given, err := describeSettings(b, profile.Name(name))
		if errors.Is(err, profile.ErrAbsent) {
			continue
		}
		if err != nil {
			return info, nil, err
		}
		info.Settings = append(info.Settings, given)
	}
	if b == profile.Embedded {
		info.Version = "in the brokers"
		return info, nil, nil
	}
	found, err := ensemble.Locate(o.ServersDir, b)
	if errors.Is(err, ensemble.ErrNoServer) {
		info.Status, info.Reason = metrics.StatusNotRun, err.Error()
		return info, nil, nil
	}
	if err != nil {
		return info, nil, err
	}
	info.Version, info.Service = found.Version, 3
	sum, err := hashFiles(found.Files)
	if err != nil {
		return info, nil, fmt.Errorf("hash the server of %s: %w", b, err)
	}
	return info, &metrics.Binary{Name: string(b), Version: found.Version, SHA256: sum}, nil
}

// describeSettings renders the exact server configuration with example places, since the ports of each cluster differ.
func describeSettings(b profile.Backend, name profile.Name) (metrics.BackendGiven, error) {
	p, err := profile.Lookup(b, name)
	if err != nil {
		return metrics.BackendGiven{}, err
	}
	given := metrics.BackendGiven{
		Profile: string(name), Bound: bound(p.DetectionOf(profile.Killed)), BoundPaused: bound(p.DetectionOf(profile.Unresponsive)), Constants: []metrics.KV{},
	}
	for _, c := range p.Constants {
		given.Constants = append(given.Constants, metrics.KV{Key: c.Setting, Value: c.Value})
	}
	if b == profile.Embedded {
		return given, nil
	}
	servers := make([]profile.Server, 3)
	for i := range servers {
		servers[i] = profile.Server{Host: "127.0.0.1", Dir: fmt.Sprintf("/member-%d", i+1), Client: 10000 + 3*i, Peer: 10001 + 3*i, Side: 10002 + 3*i}
	}
	command, err := profile.Member(p, servers, 0)
	if err != nil {
		return given, err
	}
	given.Command = command.Args
	for _, f := range command.Files {
		given.Files = append(given.Files, metrics.KV{Key: f.Name, Value: f.Data})
	}
	return given, nil
}

func bound(w profile.Window) metrics.Bound {
	return metrics.Bound{LowerMs: float64(w.Lower) / 1e6, UpperMs: float64(w.Upper) / 1e6}
}

// hashFiles returns the SHA-256 of one file, or of the list of the sums of several.
func hashFiles(paths []string) (string, error) {
	var sums []string
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close() // read only
		if err != nil {
			return "", err
		}
		sums = append(sums, hex.EncodeToString(h.Sum(nil)))
	}
	if len(sums) == 1 {
		return sums[0], nil
	}
	h := sha256.Sum256([]byte(strings.Join(sums, "\n")))
	return hex.EncodeToString(h[:]), nil
}

// revision asks git about the working directory.
func revision() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	rev := strings.TrimSpace(string(out))
	// Results themselves lie in the checkout and are no change of the program.
	status, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no", "--", ":!results").Output()
	if err != nil || len(status) > 0 {
		rev += "+changes"
	}
	return rev
}

func host() string { return runtime.GOOS + "/" + runtime.GOARCH }
