package record

import "fmt"

// Compression is the codec in a batch's attributes.
type Compression uint8

const (
	None Compression = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// String is the codec's name in Kafka's configuration.
func (c Compression) String() string {
	if names := [...]string{"none", "gzip", "snappy", "lz4", "zstd"}; int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("compression(%d)", uint8(c))
}
