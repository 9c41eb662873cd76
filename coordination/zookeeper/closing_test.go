package zookeeper

import (
	"encoding/binary"
	"testing"
)

// answer is a frame as a server sends it, with a body of that many bytes.
func answer(xid int32, code uint32, body int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(answerHeader+body))
	b = binary.BigEndian.AppendUint32(b, uint32(xid))
	b = binary.BigEndian.AppendUint64(b, 77)
	b = binary.BigEndian.AppendUint32(b, code)
	return append(b, make([]byte, body)...)
}

func closeRequest(xid int32) []byte {
	b := binary.BigEndian.AppendUint32(nil, 8)
	b = binary.BigEndian.AppendUint32(b, uint32(xid))
	return binary.BigEndian.AppendUint32(b, 0xfffffff5)
}

// TestClosingIsSeenInAnyPieces: the answer counts, whole or cut anywhere, behind others; those of other requests and errors do not.
func TestClosingIsSeenInAnyPieces(t *testing.T) {
	stream := func(last []byte) []byte {
		s := append(binary.BigEndian.AppendUint32(nil, 37), make([]byte, 37)...) // the handshake
		s = append(s, 0, 0, 0, 0)
		return append(append(append(s, answer(5, 0, 100)...), answer(-2, 0, 0)...), last...)
	}
	for _, c := range []struct {
		name string
		last []byte
		want bool
	}{
		{"its answer", answer(9, 0, 0), true},
		{"its answer with a body", answer(9, 0, 8), true},
		{"an error", answer(9, 0xffffff90, 0), false},
		{"another's answer", answer(8, 0, 0), false},
		{"half an answer", answer(9, 0, 0)[:15], false},
	} {
		s := stream(c.last)
		for piece := 1; piece <= len(s); piece += 3 {
			var x closing
			for i := 0; i < len(s); i += piece {
				if i >= 40 {
					x.wrote(closeRequest(9))
				}
				x.wrote(ping)
				if piece > 40 {
					x.wrote(closeRequest(9))
				}
				x.read(s[i:min(i+piece, len(s))])
			}
			if x.answered() != c.want {
				t.Fatalf("%s in pieces of %d: answered = %v, want %v", c.name, piece, x.answered(), c.want)
			}
		}
	}
}
