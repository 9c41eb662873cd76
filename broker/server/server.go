// Package server accepts connections and moves frames: it reads requests, calls their handlers in order, and writes the responses in order.
//
// Each connection has two goroutines. The reader decodes a request and calls its handler, which takes effect and returns an Await; the writer runs the Awaits
// in the same order and sends the responses. Between them is a queue bounded in requests and bytes: a client that pipelines beyond it is not read from.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/regency-project/regency/broker/api"
	"github.com/regency-project/regency/broker/protocol"
	"golang.org/x/sync/errgroup"
)

// Config configures a listener. Zero fields take the stated defaults.
type Config struct {
	Kind api.ListenerKind
	Keys []api.Key

	MaxFrame       int           // bytes of a request; 100 MiB
	MaxConnections int           // at once; further ones are closed at once; 4096
	IdleTimeout    time.Duration // without a byte from the client; 10 min
	WriteTimeout   time.Duration // for one response to be taken by the client; 30 s
	Grace          time.Duration // for responses under way when the server stops; 1 s
	Pipeline       int           // requests of one connection under way; 64
	PipelineBytes  int           // their size; one request is always let in; 64 MiB

	Log *slog.Logger // nil discards
}

func (c Config) withDefaults() Config {
	def := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	wait := func(p *time.Duration, v time.Duration) {
		if *p <= 0 {
			*p = v
		}
	}
	def(&c.MaxFrame, protocol.DefaultMaxFrame)
	def(&c.MaxConnections, 4096)
	def(&c.Pipeline, 64)
	def(&c.PipelineBytes, 64<<20)
	wait(&c.IdleTimeout, 10*time.Minute)
	wait(&c.WriteTimeout, 30*time.Second)
	wait(&c.Grace, time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Listen binds the address. flag names the option that it came from, for the message of an error.
func Listen(ctx context.Context, flag, address string) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("--%s %s: address already in use: choose another port, or stop the process that has it (ss -ltnp shows it): %w", flag, address, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("--%s %s: this host has no such address: bind 0.0.0.0 or one of the host's own addresses, and advertise the other: %w", flag, address, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("--%s %s: no permission to bind: choose a port above 1023: %w", flag, address, err)
	}
	return nil, fmt.Errorf("--%s %s: %w", flag, address, err)
}

// Server serves one listener.
type Server struct {
	cfg  Config
	keys map[int16]api.Key
	mu   struct {
		sync.Mutex
		open int
	}
}

// New makes a server.
func New(c Config) *Server {
	return &Server{cfg: c.withDefaults(), keys: api.Served(c.Keys, c.Kind)}
}

// Serve accepts connections until ctx ends, then lets the requests under way finish for the grace period, closes everything and returns nil. It owns ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	defer ln.Close()
	// Connections outlive ctx by the grace period; conn sees to both.
	var conns errgroup.Group
	defer conns.Wait()
	var delay time.Duration
	for {
		c, err := ln.Accept()
		if ctx.Err() != nil {
			if c != nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			if !temporary(err) {
				return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
			}
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.cfg.Log.Warn("cannot accept a connection, trying again", "listener", s.cfg.Kind.String(), "error", err)
			wait(ctx, delay)
			continue
		}
		delay = 0
		if !s.admit() {
			s.cfg.Log.Warn("connection refused: too many", "listener", s.cfg.Kind.String(), "remote", c.RemoteAddr().String(), "limit", s.cfg.MaxConnections)
			c.Close()
			continue
		}
		conns.Go(func() error {
			defer s.release()
			newConn(s, c).run(ctx)
			return nil
		})
	}
}

func (s *Server) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.open >= s.cfg.MaxConnections {
		return false
	}
	s.mu.open++
	return true
}

func (s *Server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.open--
}

// temporary errors of accept: the process is out of file descriptors or memory, or the client was quicker to leave.
func temporary(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
