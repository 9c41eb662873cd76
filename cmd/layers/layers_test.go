// Package layers holds the allowed imports of the whole workspace as a test.
package layers

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/regency-project/regency/"

// rules: packages whose path has the prefix may depend, in their non-test code and through any number of hops, on nothing that has one of the
// forbidden prefixes, except on the excepted ones.
var rules = []struct {
	pkg    string
	not    []string
	except []string
	why    string
}{
	{pkg: "coordination/", not: []string{module + "broker", module + "storage", module + "bench", module + "cmd", "github.com/twmb/franz-go"},
		why: "coordination knows no Kafka and no user of its own"},
	{pkg: "coordination/etcd", not: []string{"go.etcd.io/etcd/client/v3/concurrency"},
		why: "its sessions are lost behind a silent endpoint, and its elections can be won without a lease"},
	{pkg: "coordination/profile", not: []string{module + "coordination", "go.etcd.io", "github.com/go-zookeeper", "github.com/hashicorp"}, except: []string{module + "coordination/profile"},
		why: "profile is data and formulas, no client"},
	{pkg: "coordination/ensemble", not: []string{"go.etcd.io", "github.com/go-zookeeper", "github.com/hashicorp"},
		why: "an ensemble is processes and configuration, no client"},
	{pkg: "storage/", not: []string{module + "broker", module + "coordination", module + "bench", module + "cmd"},
		why: "storage is bytes and offsets"},
	{pkg: "broker/controller", not: []string{module + "storage", module + "broker/partition", module + "broker/api", "net/http", "math/rand"},
		why: "the controller's decisions are pure"},
	{pkg: "broker/cluster", not: []string{module + "storage", module + "broker/partition", module + "broker/controlloop"},
		why: "the view of the cluster depends on nothing that acts on it"},
	{pkg: "broker/partition", not: []string{module + "broker/api", module + "broker/server", module + "broker/controlloop"},
		why: "bytes flow server → protocol → api → partition → storage"},
	{pkg: "broker", not: []string{module + "coordination/etcd", module + "coordination/zookeeper", module + "coordination/consul", module + "coordination/embedded", module + "bench", module + "cmd"},
		why: "the broker knows the Coordinator, no backend"},
	{pkg: "bench/", not: []string{module + "broker", module + "storage", module + "cmd", module + "coordination"},
		except: []string{module + "coordination/profile", module + "coordination/ensemble", module + "coordination/process", module + "coordination/backend/options", module + "coordination/link"},
		why:    "the harness is a black box beside the cluster: it shares settings, process control and the proxy that disturbs links, no server code"},
}

func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Deps " "}}`,
		module+"coordination/...", module+"storage/...", module+"broker/...", module+"bench/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, err.(*exec.ExitError).Stderr)
	}
	matched := make([]bool, len(rules))
	for line := range strings.Lines(string(out)) {
		pkg, deps, _ := strings.Cut(strings.TrimSpace(line), " ")
		for i, r := range rules {
			if !within(pkg, module+r.pkg) {
				continue
			}
			matched[i] = true
			for dep := range strings.FieldsSeq(deps) {
				if anyWithin(dep, r.not) && !anyWithin(dep, r.except) {
					t.Errorf("%s depends on %s: %s", pkg, dep, r.why)
				}
			}
		}
	}
	for i, r := range rules {
		if !matched[i] {
			t.Errorf("rule for %q matches no package", r.pkg)
		}
	}
}

func within(pkg, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

func anyWithin(pkg string, prefixes []string) bool {
	for _, p := range prefixes {
		if within(pkg, p) {
			return true
		}
	}
	return false
}
