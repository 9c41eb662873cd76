package zookeeper_test

import (
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

var worldACL = zk.WorldACL(zk.PermAll)

// rawConn is the client library as it comes: for what a stranger or an operator would do.
func rawConn(t testing.TB, servers []string) *zk.Conn {
	t.Helper()
	conn, events, err := zk.Connect(servers, 10*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	for e := range events {
		if e.State == zk.StateHasSession {
			break
		}
	}
	return conn
}
