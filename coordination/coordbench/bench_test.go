package coordbench

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/regency-project/regency/coordination/ensemble"
	"github.com/regency-project/regency/coordination/profile"
)

// BenchmarkOperations measures single operations of either side, for a profile of where the layer's time goes:
//
//	go test ./coordbench -run - -bench /zookeeper/fanout/layer -benchtime 2s -cpuprofile cpu.out
func BenchmarkOperations(b *testing.B) {
	for _, name := range []profile.Backend{profile.Etcd, profile.ZooKeeper, profile.Consul} {
		b.Run(string(name), func(b *testing.B) { benchmarkBackend(b, name) })
	}
}

func benchmarkBackend(b *testing.B, name profile.Backend) {
	o, err := Options{Backends: []profile.Backend{name}, Logger: slog.New(slog.DiscardHandler)}.withDefaults()
	if err != nil {
		b.Fatal(err)
	}
	s, err := startService(b.Context(), o, name, b.TempDir())
	if errors.Is(err, ensemble.ErrNoServer) {
		b.Skip(err)
	}
	if err != nil {
		b.Fatal(err)
	}
	x := &bench{o: o, rng: rand.New(rand.NewPCG(1, 1)), clusters: map[string]*cluster{}}
	b.Cleanup(func() {
		x.closeClusters()
		if err := s.stop(); err != nil {
			b.Error(err)
		}
	})
	cells, _ := Quick.Cells()
	for _, c := range cells {
		if c.Clients > 1 {
			continue
		}
		b.Run(c.Operation, func(b *testing.B) {
			r, err := x.newRunner(b.Context(), s, c)
			if err != nil {
				b.Fatal(err)
			}
			defer r.close()
			b.Run("layer", func(b *testing.B) { repeat(b, r.layer) })
			b.Run("raw", func(b *testing.B) { repeat(b, r.raw) })
		})
	}
}

func repeat(b *testing.B, side func(ctx context.Context) sample) {
	b.ReportAllocs()
	for b.Loop() {
		if s := side(b.Context()); s.err != nil {
			b.Fatal(s.err)
		}
	}
}
