package cluster

import (
	"context"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// handOverTimeout bounds the wait for other servers to lead. It takes some
	// milliseconds; where nobody can lead there is nothing to wait for.
	handOverTimeout = 2 * time.Second
	handOverCheck   = 10 * time.Millisecond
)

// handOver makes other servers lead the streams that srv leads, so that those
// who publish need not wait for an election. What is not handed over in time
// is elected anew.
func handOver(ctx context.Context, srv *server.Server) {
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	var handed []string
	for _, s := range clusteredStreams(srv) {
		if s.Cluster.Leader == srv.Name() && othersCanLead(s.Cluster) &&
			srv.JetStreamStepdownStream(server.DEFAULT_GLOBAL_ACCOUNT, s.Name) == nil {
			handed = append(handed, s.Name)
		}
	}
	for len(handed) > 0 && !ledElsewhere(srv, handed) {
		if !wait(ctx, handOverCheck) {
			return
		}
	}
}

// othersCanLead reports whether the other copies of a stream are a majority.
func othersCanLead(c *server.ClusterInfo) bool {
	online := 0
	for _, r := range c.Replicas {
		if !r.Offline {
			online++
		}
	}
	return online > (len(c.Replicas)+1)/2
}

// ledElsewhere reports whether each of the streams has a leader that is not srv.
func ledElsewhere(srv *server.Server, names []string) bool {
	leaders := make(map[string]string)
	for _, s := range clusteredStreams(srv) {
		leaders[s.Name] = s.Cluster.Leader
	}
	for _, name := range names {
		if leaders[name] == "" || leaders[name] == srv.Name() {
			return false
		}
	}
	return true
}

// clusteredStreams returns the replicated streams of which srv has a copy.
func clusteredStreams(srv *server.Server) []server.StreamDetail {
	info, err := srv.Jsz(&server.JSzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Accounts: true, Streams: true})
	if err != nil {
		return nil
	}
	var streams []server.StreamDetail
	for _, account := range info.AccountDetails {
		for _, s := range account.Streams {
			if s.Cluster != nil {
				streams = append(streams, s)
			}
		}
	}
	return streams
}
