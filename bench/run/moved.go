package run

import (
	"fmt"

	"github.com/regency-project/regency/bench/target"
	"github.com/regency-project/regency/bench/timeline"
)

// checkOutageMoved is the name of the check below.
const checkOutageMoved = "outage-moved"

// judgeMoved: while the coordination service is away, and when it is back, established leaders go on to lead. It says nothing about a trial that hit a broker as well.
func (t *trial) judgeMoved(after target.View) {
	if len(t.ended()) > 0 || !t.s.Main().OnCoordination() {
		return
	}
	for i, p := range t.before.Partitions {
		if i >= len(after.Partitions) {
			return
		}
		if q := after.Partitions[i]; p.Leader != q.Leader || p.Epoch != q.Epoch {
			t.timeline.Emit(timeline.Violation{
				Trial: t.id, Check: checkOutageMoved,
				Detail: fmt.Sprintf("%s-%d was led by broker %d (epoch %d) before the coordination service was disturbed and by broker %d (epoch %d) after it", p.Topic, p.Partition, p.Leader, p.Epoch, q.Leader, q.Epoch),
			})
		}
	}
}
