package api

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxApiVersions is the newest version of ApiVersions itself that is served.
const maxApiVersions = 4

// apiVersions announces the table. A version that is not served is answered in version 0, which every client reads, with error 35 and the table, so that the
// client can try again with a version from it (KIP-511).
func (b *Broker) apiVersions(_ context.Context, c Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.ApiVersionsRequest)
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	if req.Version < 0 || req.Version > maxApiVersions {
		resp.SetVersion(0)
		resp.ErrorCode = kerr.UnsupportedVersion.Code
	}
	served := Served(b.Keys(), c.Listener)
	for _, num := range slices.Sorted(maps.Keys(served)) {
		k := served[num]
		a := kmsg.NewApiVersionsResponseApiKey()
		a.ApiKey, a.MinVersion, a.MaxVersion = k.Num, k.Min, k.Max
		resp.ApiKeys = append(resp.ApiKeys, a)
	}
	return Done(resp), nil
}
