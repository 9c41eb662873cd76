package etcd

import (
	"context"
	"fmt"
	"net"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/regency-project/regency/coordination/backend/options"
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

// handshakes are the TLS credentials of one member's connections. The connection's own state says only that there is none; why a handshake was refused,
// by us or by the member, is kept here.
type handshakes struct {
	credentials.TransportCredentials
	files  options.TLS
	member *member
}

// ClientHandshake implements credentials.TransportCredentials.
func (h *handshakes) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		h.note(h.files.Explain(err))
		return nil, nil, err
	}
	return options.Conn{Conn: conn, Files: h.files, OnFault: h.note}, info, nil
}

// Clone implements credentials.TransportCredentials.
func (h *handshakes) Clone() credentials.TransportCredentials {
	return &handshakes{TransportCredentials: h.TransportCredentials.Clone(), files: h.files, member: h.member}
}

func (h *handshakes) note(err error) {
	if f := options.AsFault(err); f != nil {
		h.member.fault.Store(f)
	}
}

// explain finds the setting to blame for the service's answer, if one is: a *options.Fault.
func explain(c Config, err error) error {
	remedy := ""
	switch {
	case err == nil || options.AsFault(err) != nil:
		return err
	case sameAnswer(err, rpctypes.ErrGRPCAuthFailed):
		remedy = fmt.Sprintf("user, password_file: the service refuses them for user %q", c.User)
	case sameAnswer(err, rpctypes.ErrGRPCAuthNotEnabled):
		remedy = "user, password_file: the service has authentication switched off: leave them out, or switch it on"
	case sameAnswer(err, rpctypes.ErrGRPCUserEmpty) && c.User == "":
		remedy = "user, password_file: missing, and the service wants a user"
	case sameAnswer(err, rpctypes.ErrGRPCPermissionDenied) && c.User == "":
		remedy = fmt.Sprintf("user, password_file: missing, and without them we lack readwrite on the prefix %s/", c.Prefix)
	case sameAnswer(err, rpctypes.ErrGRPCPermissionDenied):
		remedy = fmt.Sprintf("user: %q lacks a right: its role needs readwrite on the prefix %s/", c.User, c.Prefix)
	default:
		return err
	}
	return &options.Fault{Remedy: remedy, Err: err}
}
