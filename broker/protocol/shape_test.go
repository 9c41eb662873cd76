package protocol

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// filled puts something into every field of a request: two elements in every list, text in every string.
func filled(req kmsg.Request) kmsg.Request {
	fill(reflect.ValueOf(req).Elem())
	return req
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" && name != "UnknownTags" {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.String:
		v.SetString("text")
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(-1)
	case reflect.Uint8:
		v.SetUint(0xff)
	}
}

func eachShape(fn func(h Header, empty, full []byte)) {
	for key, list := range shapes {
		for _, s := range list {
			for v := s.min; v <= s.max; v++ {
				body := func(r kmsg.Request) []byte { r.SetVersion(v); return r.AppendTo(nil) }
				fn(Header{Key: int16(key), Version: v}, body(kmsg.RequestForKey(int16(key))), body(filled(kmsg.RequestForKey(int16(key)))))
			}
		}
	}
}

// The shapes agree with kmsg: whatever it encodes passes, and nothing shorter or longer does.
func TestShapesAgreeWithKmsg(t *testing.T) {
	eachShape(func(h Header, empty, full []byte) {
		for _, body := range [][]byte{empty, full} {
			if _, err := Decode(h, body); err != nil {
				t.Errorf("Decode(%x): %v", body, err)
			}
			if _, err := Decode(h, append(append([]byte(nil), body...), 0)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: Decode with a byte more = %v, want %v", h, err, ErrMalformed)
			}
			for n := range body {
				if _, err := Decode(h, body[:n]); !errors.Is(err, ErrMalformed) {
					t.Errorf("%s: Decode of %d of %d bytes = %v, want %v", h, n, len(body), err, ErrMalformed)
				}
			}
		}
	})
}

// A huge count in any place is refused at once.
func TestHugeCountsAreRefused(t *testing.T) {
	began := time.Now()
	eachShape(func(h Header, _, full []byte) {
		for i := range full {
			body := append([]byte(nil), full[:i]...)
			body = append(body, 0xff, 0xff, 0xff, 0xff, 0x0f)
			_, _ = Decode(h, append(body, full[i+1:]...)) // the bytes may also be a number that is allowed
		}
	})
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

// Old versions have no tagged fields, but lengths: a produce request is walked in every version, the others are bounded.
func TestOldVersionsAreBounded(t *testing.T) {
	claim := append([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0x00, 0x80, 0, 0}, make([]byte, 8<<20)...) // 8 Mi topics of a zero byte
	if _, err := Decode(Header{Key: 0, Version: 7}, claim); !errors.Is(err, ErrMalformed) {
		t.Errorf("Decode(produce of 8 Mi topics) = %v, want %v", err, ErrMalformed)
	}
	if _, err := Decode(Header{Key: 3, Version: 1}, make([]byte, maxControl+1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("Decode(metadata of 8 MiB) = %v, want %v", err, ErrMalformed)
	}
	if Decodable(0x7f00, 0) || Decodable(3, 99) || !Decodable(3, 1) || !Decodable(3, 11) {
		t.Error("Decodable is wrong about an unknown key, an unknown version, or a known one")
	}
}
