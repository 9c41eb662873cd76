package profile

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// testdata/compose and testdata/servers are links to the directories at the top. Under their own paths they lie outside this
// module, and `go test` would repeat a cached result after they changed.

// composeFile is the part of a Compose file that the matched profile decides.
type composeFile struct {
	Services map[string]composeService `yaml:"services"`
}

type composeService struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Healthcheck struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
}

func readCompose(t *testing.T, b Backend) composeFile {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "compose", string(b)+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatalf("%s.yaml: %v", b, err)
	}
	return file
}

// composeServers are the members as the Compose files place them.
func composeServers(b Backend) []Server {
	place := map[Backend]Server{
		Etcd:      {Dir: "/var/lib/etcd", Client: 2379, Peer: 2380},
		ZooKeeper: {Dir: "/", Client: 2181, Peer: 2888, Side: 3888},
		Consul:    {Dir: "/consul", Client: 8500, Peer: 8300, Side: 8301},
	}[b]
	servers := make([]Server, 3)
	for i := range servers {
		servers[i] = place
		servers[i].Host, servers[i].Bind = MemberName(b, i), "0.0.0.0"
	}
	return servers
}

func TestComposeBrokersHaveTheMatchedSession(t *testing.T) {
	for _, b := range Backends() {
		file := readCompose(t, b)
		var endpoints []string
		if b == Embedded {
			for i := range 4 {
				endpoints = append(endpoints, fmt.Sprintf("%d@broker-%d:9095:9096", i+1, i+1))
			}
		} else {
			for _, s := range composeServers(b) {
				endpoints = append(endpoints, s.Endpoint())
			}
		}
		want, err := CoordinationURL(lookup(t, b, Matched), endpoints, "cluster-a")
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i <= 4; i++ {
			name := fmt.Sprintf("broker-%d", i)
			broker, ok := file.Services[name]
			if !ok {
				t.Errorf("%s.yaml: no %s", b, name)
				continue
			}
			for _, arg := range []string{
				"--coordination=" + want,
				fmt.Sprintf("--id=%d", i),
				fmt.Sprintf("--listen=0.0.0.0:%d", 19090+i),
				fmt.Sprintf("--advertise=%s:%d", name, 19090+i),
				"--peer-advertise=" + name + ":9093",
				"--flush=sync",
			} {
				if !slices.Contains(broker.Command, arg) {
					t.Errorf("%s.yaml: %s: no %s in %q", b, name, arg, broker.Command)
				}
			}
			if len(broker.Healthcheck.Test) == 0 {
				t.Errorf("%s.yaml: %s: no health check", b, name)
			}
		}
	}
}

func TestComposeEtcdIsMatched(t *testing.T) {
	file := readCompose(t, Etcd)
	servers := composeServers(Etcd)
	for i := range servers {
		want, err := EtcdMember(lookup(t, Etcd, Matched), servers, i)
		if err != nil {
			t.Fatal(err)
		}
		if got := file.Services[MemberName(Etcd, i)].Command; !slices.Equal(got, want.Args) {
			t.Errorf("etcd.yaml: %s: command %q\nwant %q", MemberName(Etcd, i), got, want.Args)
		}
	}
}

func TestComposeZooKeeperIsMatched(t *testing.T) {
	file := readCompose(t, ZooKeeper)
	want := slices.Sorted(slices.Values(zooKeeperConfig(*lookup(t, ZooKeeper, Matched).ZooKeeper)))
	spelling := map[string]string{ // of the image's entry point
		"ZOO_TICK_TIME": "tickTime", "ZOO_INIT_LIMIT": "initLimit", "ZOO_SYNC_LIMIT": "syncLimit",
		"ZOO_MAX_CLIENT_CNXNS": "maxClientCnxns", "ZOO_ADMINSERVER_ENABLED": "admin.enableServer",
		"ZOO_4LW_COMMANDS_WHITELIST": "4lw.commands.whitelist",
	}
	var cluster []string
	for i, s := range composeServers(ZooKeeper) {
		cluster = append(cluster, fmt.Sprintf("server.%d=%s:%d:%d;%d", i+1, s.Host, s.Peer, s.Side, s.Client))
	}
	for i := range 3 {
		name := MemberName(ZooKeeper, i)
		env := file.Services[name].Environment
		got := strings.Fields(env["ZOO_CFG_EXTRA"])
		for variable, key := range spelling {
			got = append(got, key+"="+env[variable])
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("zookeeper.yaml: %s: settings %q\nwant %q", name, got, want)
		}
		if got := strings.Fields(env["ZOO_SERVERS"]); !slices.Equal(got, cluster) {
			t.Errorf("zookeeper.yaml: %s: ZOO_SERVERS %q, want %q", name, got, cluster)
		}
		if env["ZOO_MY_ID"] != fmt.Sprint(i+1) {
			t.Errorf("zookeeper.yaml: %s: ZOO_MY_ID %q", name, env["ZOO_MY_ID"])
		}
	}
}

func TestComposeConsulIsMatched(t *testing.T) {
	file := readCompose(t, Consul)
	servers := composeServers(Consul)
	for i := range servers {
		command, err := ConsulMember(lookup(t, Consul, Matched), servers, i)
		if err != nil {
			t.Fatal(err)
		}
		name := MemberName(Consul, i)
		var got, want map[string]any
		if err := json.Unmarshal([]byte(file.Services[name].Environment["CONSUL_LOCAL_CONFIG"]), &got); err != nil {
			t.Errorf("consul.yaml: %s: CONSUL_LOCAL_CONFIG: %v", name, err)
			continue
		}
		if err := json.Unmarshal([]byte(command.Files[0].Data), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("consul.yaml: %s: configuration %v\nwant %v", name, got, want)
		}
	}
}

// The local trials and the containers must run the same servers, and no image may move by itself.
func TestComposeImagesArePinned(t *testing.T) {
	versions := map[Backend]string{
		Etcd:      moduleVersion(t, "etcd", "go.etcd.io/etcd/server/v3"),
		Consul:    moduleVersion(t, "consul", "github.com/hashicorp/consul"),
		ZooKeeper: pomVersion(t),
	}
	for b, version := range versions {
		file := readCompose(t, b)
		for _, name := range slices.Sorted(maps.Keys(file.Services)) {
			_, tag, _ := strings.Cut(file.Services[name].Image, ":")
			if tag == "" || tag == "latest" {
				t.Errorf("%s.yaml: %s: image %q has no fixed tag", b, name, file.Services[name].Image)
			}
			if strings.HasPrefix(name, string(b)) && strings.TrimPrefix(tag, "v") != strings.TrimPrefix(version, "v") {
				t.Errorf("%s.yaml: %s: image %q, but bench/servers pins %s", b, name, file.Services[name].Image, version)
			}
		}
	}
}

func moduleVersion(t *testing.T, server, module string) string {
	t.Helper()
	path := filepath.Join("testdata", "servers", server, "go.mod")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module {
			return fields[1]
		}
	}
	t.Fatalf("%s requires no %s", path, module)
	return ""
}

func pomVersion(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "servers", "zookeeper", "pom.xml"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "<zookeeper.version>")
	version, _, found := strings.Cut(rest, "</zookeeper.version>")
	if !found {
		t.Fatal("pom.xml has no zookeeper.version")
	}
	return version
}
