package zookeeper

import (
	"fmt"
	"strings"
)

const hexDigits = "0123456789ABCDEF"

// escape makes any text a legal name of one znode: bytes outside printable ASCII,
// '~' and '/', and all of a name that consists of dots, become
// ~XX. The percent sign stays: keys come percent-escaped already.
func escape(s string) string {
	dots := strings.Trim(s, ".") == ""
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if dots || c <= ' ' || c >= 0x7f || c == '~' || c == '/' {
			b.WriteByte('~')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape is the inverse of escape.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '~' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("node name %q: truncated escape", s)
		}
		hi, lo := strings.IndexByte(hexDigits, s[i+1]), strings.IndexByte(hexDigits, s[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("node name %q: bad escape", s)
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), nil
}

// path is the znode of a key, or of a directory.
func (s *Store) path(key string) string {
	var b strings.Builder
	b.WriteString(s.cfg.Prefix)
	for segment := range strings.SplitSeq(key, "/") {
		b.WriteByte('/')
		b.WriteString(escape(segment))
	}
	return b.String()
}
