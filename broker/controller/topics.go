package controller

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/regency-project/regency/broker/cluster"
	"github.com/regency-project/regency/coordination"
)

// maxTopicName is Kafka's limit, from the length of a file name less the longest suffix.
const maxTopicName = 249

func (e CreateTopic) step(v *cluster.View) Result {
	if err := e.validate(v); err != nil {
		return refuse(err)
	}
	if orphans := orphansOf(v, e.Name); len(orphans) > 0 {
		return Result{Mutations: orphans, Again: true} // chunks of two topics must never be under one name
	}
	assignment, err := e.assignment(v)
	if err != nil {
		return refuse(err)
	}
	t := &cluster.Topic{Name: e.Name, ID: e.ID, Configs: e.Configs}
	for _, replicas := range assignment {
		t.Partitions = append(t.Partitions, newPartition(replicas, v.Brokers))
	}
	if e.ValidateOnly {
		return Result{Reply: t}
	}
	return Result{Mutations: cluster.PutTopic(t), Reply: t}
}

func (e CreateTopic) validate(v *cluster.View) error {
	if err := validateName(e.Name); err != nil {
		return err
	}
	for name := range v.Topics {
		if flatName(name) == flatName(e.Name) {
			if name == e.Name {
				return fmt.Errorf("%w: %q", ErrTopicExists, name)
			}
			return fmt.Errorf("%w: %q collides with %q: names that differ only in '.' and '_' cannot be told apart in metrics", ErrInvalidTopic, e.Name, name)
		}
	}
	if _, taken := v.TopicNames[e.ID]; taken || e.ID == [16]byte{} {
		return fmt.Errorf("%w: topic id %x is empty or taken", ErrInvalidRequest, e.ID)
	}
	return cluster.ValidateConfigs(e.Configs)
}

func (e CreateTopic) assignment(v *cluster.View) ([][]int32, error) {
	if len(e.Assignment) > 0 {
		if e.Partitions != -1 || e.ReplicationFactor != -1 {
			return nil, fmt.Errorf("%w: with an explicit assignment, partitions and replication factor must be -1", ErrInvalidRequest)
		}
		if err := checkPartitions(int32(len(e.Assignment)), e.MaxPartitions); err != nil {
			return nil, err
		}
		return e.Assignment, checkAssignment(e.Assignment, len(e.Assignment[0]), v.Brokers)
	}
	if err := checkPartitions(e.Partitions, e.MaxPartitions); err != nil {
		return nil, err
	}
	return assign(usable(v), 0, int(e.Partitions), int(e.ReplicationFactor), e.Seed)
}

func (e DeleteTopic) step(v *cluster.View) Result {
	name := e.Name
	if name == "" {
		name = v.TopicNames[e.ID]
	}
	t := v.Topics[name]
	if t == nil {
		return refuse(fmt.Errorf("%w: %q", ErrUnknownTopic, name))
	}
	return Result{Mutations: cluster.DeleteTopic(t), Reply: t}
}

func (e CreatePartitions) step(v *cluster.View) Result {
	old := v.Topics[e.Name]
	if old == nil {
		return refuse(fmt.Errorf("%w: %q", ErrUnknownTopic, e.Name))
	}
	assignment, err := e.assignment(v, old)
	if err != nil {
		return refuse(err)
	}
	if orphans := orphansOf(v, e.Name); len(orphans) > 0 {
		return Result{Mutations: orphans, Again: true}
	}
	t := *old
	t.Partitions = slices.Clone(old.Partitions)
	for _, replicas := range assignment {
		t.Partitions = append(t.Partitions, newPartition(replicas, v.Brokers))
	}
	if e.ValidateOnly {
		return Result{Reply: &t}
	}
	// The chunk that ended the topic says where it ends: what lies beyond it is written first, and that one makes it visible.
	first := len(old.Partitions) / cluster.ChunkSize * cluster.ChunkSize
	if first == len(old.Partitions) {
		first -= cluster.ChunkSize
	}
	var changed []int32
	for i := first; i < len(t.Partitions); i++ {
		changed = append(changed, int32(i))
	}
	ms := cluster.PutPartitions(&t, changed)
	slices.Reverse(ms)
	return Result{Mutations: ms, Reply: &t}
}

func (e CreatePartitions) assignment(v *cluster.View, t *cluster.Topic) ([][]int32, error) {
	have := len(t.Partitions)
	if int(e.Count) <= have {
		return nil, fmt.Errorf("%w: %q has %d already, asked for %d in all", ErrInvalidPartitions, t.Name, have, e.Count)
	}
	if err := checkPartitions(e.Count, e.MaxPartitions); err != nil {
		return nil, err
	}
	factor := len(t.Partitions[0].Replicas)
	if len(e.Assignment) == 0 {
		return assign(usable(v), have, int(e.Count)-have, factor, e.Seed)
	}
	if len(e.Assignment) != int(e.Count)-have {
		return nil, fmt.Errorf("%w: %d new partitions, %d assignments", ErrInvalidAssignment, int(e.Count)-have, len(e.Assignment))
	}
	return e.Assignment, checkAssignment(e.Assignment, factor, v.Brokers)
}

func (CollectOrphans) step(v *cluster.View) Result {
	return Result{Mutations: orphans(v, func(string) bool { return true })}
}

func orphansOf(v *cluster.View, name string) []coordination.Mutation {
	return orphans(v, func(n string) bool { return n == name })
}

// orphans deletes the chunks, under the wanted names, that are not part of a visible topic; of each topic the last one first.
func orphans(v *cluster.View, wanted func(name string) bool) []coordination.Mutation {
	type chunk struct {
		name   string
		number int
	}
	var found []chunk
	for _, key := range v.Keys() {
		name, number, ok := cluster.ParseChunkKey(key)
		if !ok || !wanted(name) {
			continue
		}
		if t := v.Topics[name]; t == nil || number*cluster.ChunkSize >= len(t.Partitions) {
			found = append(found, chunk{name, number})
		}
	}
	slices.SortFunc(found, func(a, b chunk) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(b.number, a.number))
	})
	var ms []coordination.Mutation
	for _, c := range found {
		ms = append(ms, cluster.DeleteChunk(c.name, c.number))
	}
	return ms
}

var errName = errors.New("want 1 to 249 of a-z A-Z 0-9 . _ - and not \".\" or \"..\"")

func validateName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > maxTopicName {
		return fmt.Errorf("%w: %.260q: %w", ErrInvalidTopic, name, errName)
	}
	for _, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '.' && r != '_' && r != '-' {
			return fmt.Errorf("%w: %.260q: %w", ErrInvalidTopic, name, errName)
		}
	}
	return nil
}

func flatName(name string) string { return strings.ReplaceAll(name, ".", "_") }

func checkPartitions(n, limit int32) error {
	if n < 1 || n > limit {
		return fmt.Errorf("%w: %d, want 1 to %d", ErrInvalidPartitions, n, limit)
	}
	return nil
}
