package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// newTopic is the small part of an admin tool that trying the cluster out needs; any Kafka admin tool works as well.
func newTopic() *cobra.Command {
	var bootstrap string
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "List, describe, create and delete topics (of any Kafka-protocol cluster)",
	}
	cmd.PersistentFlags().StringVar(&bootstrap, "bootstrap", "127.0.0.1:9092", "brokers to ask first, host:port,…")
	with := func(f func(context.Context, *kadm.Client, io.Writer, []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.RetryTimeout(15*time.Second))
			if err != nil {
				return fmt.Errorf("--bootstrap %q: %w", bootstrap, err)
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), 20*time.Second)
			defer cancel()
			err = f(ctx, kadm.NewClient(client), cmd.OutOrStdout(), args)
			if errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("no answer from %s in time: %w", bootstrap, err)
			}
			return err
		}
	}
	var partitions int32
	var replicas int16
	create := &cobra.Command{Use: "create NAME", Short: "Create a topic", Args: cobra.ExactArgs(1),
		RunE: with(func(ctx context.Context, adm *kadm.Client, w io.Writer, args []string) error {
			r, err := adm.CreateTopic(ctx, partitions, replicas, nil, args[0])
			if err != nil {
				return fmt.Errorf("create topic %s: %w %s", args[0], err, r.ErrMessage)
			}
			fmt.Fprintf(w, "created %s: %d partitions, replication factor %d\n", r.Topic, r.NumPartitions, r.ReplicationFactor)
			return nil
		})}
	create.Flags().Int32Var(&partitions, "partitions", -1, "number of partitions, -1: the cluster's default")
	create.Flags().Int16Var(&replicas, "replication-factor", -1, "copies of each partition, -1: the cluster's default")
	cmd.AddCommand(create,
		&cobra.Command{Use: "list", Short: "List topics", Args: cobra.NoArgs, RunE: with(listTopics)},
		&cobra.Command{Use: "describe NAME…", Short: "Show leaders, replicas and in-sync replicas", Args: cobra.MinimumNArgs(1), RunE: with(describeTopics)},
		&cobra.Command{Use: "delete NAME", Short: "Delete a topic and its records", Args: cobra.ExactArgs(1),
			RunE: with(func(ctx context.Context, adm *kadm.Client, w io.Writer, args []string) error {
				if _, err := adm.DeleteTopic(ctx, args[0]); err != nil {
					return fmt.Errorf("delete topic %s: %w", args[0], err)
				}
				fmt.Fprintln(w, "deleted", args[0])
				return nil
			})})
	return cmd
}

func listTopics(ctx context.Context, adm *kadm.Client, w io.Writer, _ []string) error {
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "TOPIC\tPARTITIONS\tREPLICATION FACTOR")
	for _, t := range topics.Sorted() {
		fmt.Fprintf(tw, "%s\t%d\t%d\n", t.Topic, len(t.Partitions), t.Partitions.NumReplicas())
	}
	return tw.Flush()
}

func describeTopics(ctx context.Context, adm *kadm.Client, w io.Writer, args []string) error {
	topics, err := adm.ListTopics(ctx, args...)
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "TOPIC\tPARTITION\tLEADER\tEPOCH\tREPLICAS\tIN SYNC")
	var errs []error
	for _, t := range topics.Sorted() {
		if t.Err != nil {
			errs = append(errs, fmt.Errorf("topic %s: %w", t.Topic, t.Err))
			continue
		}
		for _, p := range t.Partitions.Sorted() {
			leader := "none"
			if p.Leader >= 0 {
				leader = strconv.Itoa(int(p.Leader))
			}
			fmt.Fprintf(tw, "%s\t%d\t%s\t%d\t%v\t%v\n", t.Topic, p.Partition, leader, p.LeaderEpoch, p.Replicas, p.ISR)
		}
	}
	return errors.Join(append(errs, tw.Flush())...)
}
