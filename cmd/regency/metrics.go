package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/regency-project/regency/coordination"
	"github.com/regency-project/regency/coordination/backend"
	"github.com/regency-project/regency/coordination/metered"
)

const metricsHelp = "host:port that serves /metrics to Prometheus: durations in seconds, sizes in bytes, and what the name ends in otherwise; empty: none"

// metricsServer serves the process's metrics. A nil one serves and decorates nothing.
type metricsServer struct {
	coordination *metered.Metrics
	server       *http.Server
	done         chan error
}

// newMetrics listens on the address; an empty one gives no server.
func newMetrics(ctx context.Context, address string, log *slog.Logger) (*metricsServer, error) {
	if address == "" {
		return nil, nil
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m, err := metered.New(registry)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--metrics %q: want a host:port that is free: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	s := &metricsServer{coordination: m, done: make(chan error, 1), server: &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	log.Info("metrics served", "address", listener.Addr().String())
	go func() { s.done <- s.server.Serve(listener) }()
	return s, nil
}

// store is a backend.Decorator.
func (s *metricsServer) store(b backend.Store) backend.Store {
	if s == nil {
		return b
	}
	return s.coordination.Store(b)
}

func (s *metricsServer) coordinator(c coordination.Coordinator) coordination.Coordinator {
	if s == nil {
		return c
	}
	return s.coordination.Coordinator(c)
}

func (s *metricsServer) close() error {
	if s == nil {
		return nil
	}
	err := s.server.Close()
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
