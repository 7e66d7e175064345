package control

import pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"

func notificationContent(r *pushdv1.NotifyUserRequest) content {
	switch p := r.GetPayload().(type) {
	case *pushdv1.NotifyUserRequest_Json:
		return content{field: fieldJSON, text: p.Json}
	case *pushdv1.NotifyUserRequest_Data:
		return content{field: fieldData, data: p.Data}
	default:
		return content{}
	}
}

func tenantContent(r *pushdv1.BroadcastTenantRequest) content {
	switch p := r.GetPayload().(type) {
	case *pushdv1.BroadcastTenantRequest_Json:
		return content{field: fieldJSON, text: p.Json}
	case *pushdv1.BroadcastTenantRequest_Data:
		return content{field: fieldData, data: p.Data}
	case *pushdv1.BroadcastTenantRequest_Raw:
		return content{field: fieldRaw, text: p.Raw}
	default:
		return content{}
	}
}

func channelContent(r *pushdv1.SendChannelRequest) content {
	switch p := r.GetPayload().(type) {
	case *pushdv1.SendChannelRequest_Json:
		return content{field: fieldJSON, text: p.Json}
	case *pushdv1.SendChannelRequest_Data:
		return content{field: fieldData, data: p.Data}
	case *pushdv1.SendChannelRequest_Raw:
		return content{field: fieldRaw, text: p.Raw}
	default:
		return content{}
	}
}

func allContent(r *pushdv1.BroadcastAllRequest) content {
	switch p := r.GetPayload().(type) {
	case *pushdv1.BroadcastAllRequest_Json:
		return content{field: fieldJSON, text: p.Json}
	case *pushdv1.BroadcastAllRequest_Data:
		return content{field: fieldData, data: p.Data}
	case *pushdv1.BroadcastAllRequest_Raw:
		return content{field: fieldRaw, text: p.Raw}
	default:
		return content{}
	}
}
