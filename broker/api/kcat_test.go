package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d\n", i)
	}
	return b.String()
}

func sorted(s string) []string {
	list := strings.Fields(s)
	slices.Sort(list)
	return list
}

func TestKcat(t *testing.T) {
	c := startBrokers(t, 3)
	c.create("orders", 3, 3)
	c.kcat("", "-V") // skips here, not in a subtest, if there is none

	t.Run("list", func(t *testing.T) {
		out := c.kcat("", "-L")
		for _, want := range []string{" 3 brokers:", `topic "orders" with 3 partitions:`, "(controller)"} {
			if !strings.Contains(out, want) {
				t.Errorf("kcat -L does not say %q:\n%s", want, out)
			}
		}
	})
	for _, acks := range []string{"all", "1", "0"} {
		t.Run("produce and consume with acks="+acks, func(t *testing.T) {
			topic := "acks-" + acks
			c.create(topic, 3, 3)
			c.kcat(lines(500), "-P", "-t", topic, "-X", "acks="+acks)
			out := c.kcat("", "-C", "-t", topic, "-o", "beginning", "-c", "500", "-q")
			if got, want := sorted(out), sorted(lines(500)); !slices.Equal(got, want) {
				t.Errorf("kcat -C read %d values, want 0 to 499", len(got))
			}
		})
	}
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		t.Run("compression "+codec, func(t *testing.T) {
			c.create(codec, 1, 3)
			c.kcat(lines(200), "-P", "-t", codec, "-z", codec)
			if got := c.kcat("", "-C", "-t", codec, "-o", "beginning", "-e", "-q"); got != lines(200) {
				t.Errorf("kcat -C read %d bytes, want %d", len(got), len(lines(200)))
			}
		})
	}
	t.Run("automatic creation", func(t *testing.T) {
		c.kcat("hello\n", "-P", "-t", "made-by-kcat")
		if got := c.kcat("", "-C", "-t", "made-by-kcat", "-o", "beginning", "-e", "-q"); got != "hello\n" {
			t.Errorf("kcat -C = %q, want hello", got)
		}
	})
	t.Run("tail and offsets", func(t *testing.T) {
		c.create("tail", 1, 3)
		c.kcat(lines(100), "-P", "-t", "tail")
		if got := c.kcat("", "-C", "-t", "tail", "-o", "-2", "-e", "-q"); got != "98\n99\n" {
			t.Errorf("kcat -C -o -2 = %q, want the last two", got)
		}
		if got := c.kcat("", "-C", "-t", "tail", "-o", "10", "-c", "2", "-q"); got != "10\n11\n" {
			t.Errorf("kcat -C -o 10 -c 2 = %q, want 10 and 11", got)
		}
		if got := c.kcat("", "-Q", "-t", "tail:0:0"); !strings.Contains(got, "offset 0") {
			t.Errorf("kcat -Q = %q, want offset 0", got)
		}
	})
	t.Run("group", func(t *testing.T) {
		c.create("grouped", 3, 3)
		c.kcat(lines(300), "-P", "-t", "grouped")
		first := c.kcat("", "-G", "readers", "-X", "auto.offset.reset=earliest", "-c", "300", "-q", "grouped")
		if got, want := sorted(first), sorted(lines(300)); !slices.Equal(got, want) {
			t.Errorf("kcat -G read %d values, want 0 to 299", len(got))
		}
		// The group goes on where it was.
		c.kcat("again\n", "-P", "-t", "grouped")
		if got := c.kcat("", "-G", "readers", "-X", "auto.offset.reset=earliest", "-c", "1", "-q", "grouped"); got != "again\n" {
			t.Errorf("kcat -G the second time = %q, want again", got)
		}
	})
}
