package etcd

import (
	"context"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
)

// tokens are the credentials of every request when a user name is configured. The client library authenticates while it is being made,
// which blocks on a dead member, and again for every stream, which costs the service a bcrypt each; so this is ours: one token for all
// members, fetched when a request needs it and again when the service refuses it.
type tokens struct {
	user, password string

	mu struct {
		sync.Mutex
		token string
	}
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t *tokens) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.token == "" {
		return nil, nil
	}
	return map[string]string{rpctypes.TokenFieldNameGRPC: t.mu.token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: whether the link is encrypted is the operator's choice.
func (t *tokens) RequireTransportSecurity() bool { return false }

func (t *tokens) present() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.token != ""
}

func (t *tokens) set(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.token = token
}

// fetch authenticates over conn. The old token is dropped first: the service would judge the request by it.
func (t *tokens) fetch(ctx context.Context, conn *grpc.ClientConn) error {
	t.set("")
	resp, err := pb.NewAuthClient(conn).Authenticate(ctx, &pb.AuthenticateRequest{Name: t.user, Password: t.password})
	if err != nil {
		return fmt.Errorf("authenticate user %q: %w", t.user, err)
	}
	t.set(resp.Token)
	return nil
}
