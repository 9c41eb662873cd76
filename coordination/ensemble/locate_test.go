package ensemble

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regency-project/regency/coordination/profile"
)

func TestLocateNamesTheRemedy(t *testing.T) {
	for _, b := range []profile.Backend{profile.Etcd, profile.ZooKeeper, profile.Consul} {
		_, err := Locate(t.TempDir(), b)
		if !errors.Is(err, ErrNoServer) || !strings.Contains(err.Error(), "make servers") || !strings.Contains(err.Error(), string(b)) {
			t.Errorf("Locate(%s) in an empty directory = %v, want ErrNoServer and `make servers`", b, err)
		}
	}
}

func TestLocateTakesTheNewest(t *testing.T) {
	servers := t.TempDir()
	for _, path := range []string{
		"etcd-v3.7.3/etcd", "etcd-v3.10.0/etcd", "etcd-v3.9.1/etcd", "etcd-v3.11.0/.etcd.new.7",
		"zookeeper-3.9.4/lib/zookeeper-3.9.4.jar", "zookeeper-3.9.5/lib/zookeeper-3.9.5.jar",
		"zookeeper-3.9.5/lib/zookeeper-jute-3.9.5.jar", "zookeeper-3.9.6.new.7/lib/zookeeper-3.9.6.jar",
	} {
		path = filepath.Join(servers, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bin, err := Locate(servers, profile.Etcd)
	if err != nil || bin.Version != "v3.10.0" {
		t.Errorf("Locate(etcd) = %+v, %v; want v3.10.0", bin, err)
	}
	java := filepath.Join(t.TempDir(), "bin", "java")
	if err := os.MkdirAll(filepath.Dir(java), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(java, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JAVA_HOME", filepath.Dir(filepath.Dir(java)))
	bin, err = Locate(servers, profile.ZooKeeper)
	if err != nil || bin.Version != "3.9.5" || len(bin.Files) != 2 || bin.Path != java {
		t.Errorf("Locate(zookeeper) = %+v, %v; want 3.9.5, two jars, java of JAVA_HOME", bin, err)
	}

	t.Setenv("JAVA_HOME", "")
	t.Setenv("PATH", t.TempDir())
	if _, err := Locate(servers, profile.ZooKeeper); !errors.Is(err, ErrNoServer) || !strings.Contains(err.Error(), "java") {
		t.Errorf("Locate(zookeeper) without java = %v, want a word about java", err)
	}
}
