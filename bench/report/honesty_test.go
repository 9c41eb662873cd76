package report

import (
	"strings"
	"testing"

	"github.com/regency-project/regency/bench/metrics"
)

func TestZombieWithoutAnyAnswerIsNotTested(t *testing.T) {
	trial := func(refused int) metrics.Trial {
		return metrics.Trial{Status: metrics.StatusOK, Zombie: &metrics.Zombie{Refused: refused}}
	}
	for want, trials := range map[string][]metrics.Trial{
		"not tested":       {trial(0)},
		"tested in 1 of 2": {trial(0), trial(4)},
	} {
		b := newBuilder(metrics.Run{
			Profiles: []metrics.Profile{{Name: "matched"}}, Backends: []metrics.Backend{{Name: "etcd", Status: metrics.StatusOK}},
			Cells: []metrics.Cell{{Profile: "matched", Backend: "etcd", Trials: trials}},
		})
		last := b.zombieTable().Rows[0].Cells[5]
		if got := last.Main + strings.Join(last.Sub, " "); !strings.Contains(got, want) {
			t.Errorf("wrongly acknowledged = %q, want %q", got, want)
		}
	}
}

func TestBannerWarnsOfFailedBlocksAndMissingTrials(t *testing.T) {
	b := newBuilder(metrics.Run{Verdict: metrics.Verdict{
		Acknowledged: 9, Trials: 1, Failed: []string{"block 2 broke"}, Short: []string{"1 of 2 planned trials count"},
	}})
	got := b.banner()
	notes := strings.Join(got.Notes, "\n")
	if got.Tone != "warn" || !strings.Contains(notes, "block 2 broke") || !strings.Contains(notes, "1 of 2 planned") {
		t.Errorf("banner = %+v", got)
	}
}
