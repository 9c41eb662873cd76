package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeConfigs tells the configuration of topics and of this broker.
func (b *Broker) describeConfigs(_ context.Context, _ Caller, r kmsg.Request) (Await, error) {
	req := r.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for _, res := range req.Resources {
		settings, err, message := b.resourceSettings(res)
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = res.ResourceType, res.ResourceName
		out.Configs = []kmsg.DescribeConfigsResponseResourceConfig{}
		if err != nil {
			out.ErrorCode, out.ErrorMessage = err.Code, &message
		}
		for _, s := range settings {
			if res.ConfigNames == nil || slices.Contains(res.ConfigNames, s.name) { // no list is all, an empty list none
				out.Configs = append(out.Configs, s.describe(req))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	return Done(resp), nil
}

func (b *Broker) resourceSettings(res kmsg.DescribeConfigsRequestResource) ([]setting, *kerr.Error, string) {
	switch res.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		t := b.Current.View().Topics[res.ResourceName]
		if t == nil {
			return nil, kerr.UnknownTopicOrPartition, fmt.Sprintf("topic %q does not exist", res.ResourceName)
		}
		return topicSettings(t), nil, ""
	case kmsg.ConfigResourceTypeBroker:
		if res.ResourceName == "" {
			return []setting{}, nil, "" // cluster-wide dynamic settings: there are none
		}
		if res.ResourceName != strconv.Itoa(int(b.ID)) {
			return nil, kerr.InvalidRequest, fmt.Sprintf("broker %d was asked for the configuration of broker %q: ask that one", b.ID, res.ResourceName)
		}
		return b.brokerSettings(), nil, ""
	}
	return nil, kerr.InvalidRequest, fmt.Sprintf("resource type %d has no configuration here", res.ResourceType)
}
