package protocol

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzRequest feeds frames to the decoder: it must neither panic nor read past the frame, and what it accepts it must decode again after encoding.
func FuzzRequest(f *testing.F) {
	for key := int16(0); key <= 67; key++ {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		for v := int16(0); v <= req.MaxVersion(); v++ {
			f.Add(request(f, kmsg.RequestForKey(key), v))
			f.Add(request(f, filled(kmsg.RequestForKey(key)), v))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, err := ParseHeader(b)
		if err != nil {
			return
		}
		req, err := Decode(h, body)
		if err != nil {
			return
		}
		again := kmsg.RequestForKey(h.Key)
		again.SetVersion(h.Version)
		if err := again.ReadFrom(req.AppendTo(nil)); err != nil && h.Version <= req.MaxVersion() {
			t.Errorf("Decode(%x) gives a request that does not survive encoding: %v", b, err)
		}
	})
}
