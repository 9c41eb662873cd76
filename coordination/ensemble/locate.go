package ensemble

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/regency-project/regency/coordination/profile"
)

// ErrNoServer is wrapped when a server's program is not on this machine. The remedy is in the message: `make servers`.
var ErrNoServer = errors.New("server is not installed")

// Binary is an installed server.
type Binary struct {
	Backend profile.Backend
	Version string
	Path    string   // the program
	Args    []string // before the member's own: ZooKeeper's class path
	Files   []string // what makes up the server, for hashing: the program itself, or ZooKeeper's jars
}

// DefaultServersDir is where `make servers` puts them: $REGENCY_CACHE/servers, else ~/.cache/regency/servers.
func DefaultServersDir() (string, error) {
	cache := os.Getenv("REGENCY_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the servers' directory: set REGENCY_CACHE or HOME: %w", err)
		}
		cache = filepath.Join(home, ".cache", "regency")
	}
	return filepath.Join(cache, "servers"), nil
}

// Locate finds the newest version of a backend's server in serversDir, which is DefaultServersDir when empty.
func Locate(serversDir string, b profile.Backend) (Binary, error) {
	if serversDir == "" {
		var err error
		if serversDir, err = DefaultServersDir(); err != nil {
			return Binary{}, err
		}
	}
	var pattern string
	switch b {
	case profile.Etcd, profile.Consul:
		pattern = filepath.Join(serversDir, string(b)+"-*", string(b))
	case profile.ZooKeeper:
		pattern = filepath.Join(serversDir, "zookeeper-*", "lib", "zookeeper*.jar")
	default:
		return Binary{}, fmt.Errorf("locate a server of %q: choose from etcd, zookeeper, consul", b)
	}
	found, err := filepath.Glob(pattern)
	if err != nil {
		return Binary{}, fmt.Errorf("locate %s: %w", b, err)
	}
	// A name that goes on with ".new." is an unfinished installation.
	found = slices.DeleteFunc(found, func(path string) bool { return strings.Contains(versionOf(path, b), ".new.") })
	if len(found) == 0 {
		return Binary{}, fmt.Errorf("locate %s under %s: %w: run `make servers`", b, serversDir, ErrNoServer)
	}
	newest := slices.MaxFunc(found, func(x, y string) int { return compareVersions(versionOf(x, b), versionOf(y, b)) })
	bin := Binary{Backend: b, Version: versionOf(newest, b), Path: newest, Files: []string{newest}}
	if b == profile.ZooKeeper {
		return withJava(bin, filepath.Dir(newest))
	}
	return bin, nil
}

// versionOf reads the version out of <servers>/<name>-<version>/… .
func versionOf(path string, b profile.Backend) string {
	dir := filepath.Dir(path)
	if b == profile.ZooKeeper {
		dir = filepath.Dir(dir)
	}
	return strings.TrimPrefix(filepath.Base(dir), string(b)+"-")
}

// compareVersions compares number by number, so that 3.10 is newer than 3.9.
func compareVersions(a, b string) int {
	numbers := func(v string) []int {
		var list []int
		for _, part := range strings.FieldsFunc(v, func(r rune) bool { return r < '0' || r > '9' }) {
			n, err := strconv.Atoi(part)
			if err != nil {
				break
			}
			list = append(list, n)
		}
		return list
	}
	if c := slices.Compare(numbers(a), numbers(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func withJava(bin Binary, lib string) (Binary, error) {
	java := filepath.Join(os.Getenv("JAVA_HOME"), "bin", "java")
	if os.Getenv("JAVA_HOME") == "" || !executable(java) {
		var err error
		if java, err = exec.LookPath("java"); err != nil {
			return Binary{}, fmt.Errorf("locate zookeeper: %w: no java in JAVA_HOME or on PATH: install a Java 11 or newer runtime", ErrNoServer)
		}
	}
	jars, err := filepath.Glob(filepath.Join(lib, "*.jar"))
	if err != nil {
		return Binary{}, fmt.Errorf("locate zookeeper: %w", err)
	}
	bin.Path = java
	bin.Args = []string{"-cp", filepath.Join(lib, "*")}
	bin.Files = jars
	return bin, nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
