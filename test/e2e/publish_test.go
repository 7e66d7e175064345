package e2e_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// What is sent over one stream, without waiting for answers, reaches each
// receiver in its order; what is refused in the middle
// reaches nobody.
func TestPublishStream(t *testing.T) {
	const commands = 300
	ctx := bounded(t)
	n := startNode(ctx, t, "solo")
	ann := connect(ctx, t, n, "acme", "ann")
	bob := connect(ctx, t, n, "acme", "bob")
	stream, err := control(t, n).Publish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	request := func(user, mark string) *pushdv1.PublishRequest {
		return &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_NotifyUser{NotifyUser: &pushdv1.NotifyUserRequest{
			TenantId: "acme", UserId: user, Payload: &pushdv1.NotifyUserRequest_Json{Json: payload(mark)},
		}}}
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		for i := range commands {
			for _, user := range []string{"ann", "*", "bob"} {
				if err := stream.Send(request(user, fmt.Sprint(i))); err != nil {
					t.Errorf("send: %v", err)
					return
				}
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Error(err)
		}
	})
	seen := make(map[string]bool)
	for i := range 3 * commands {
		answer, err := stream.Recv()
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		refused := answer.GetRefused() != nil
		if id := answer.GetNotifyUser().GetMessageId(); refused != (i%3 == 1) || !refused && (id == "" || seen[id]) {
			t.Fatalf("answer %d is %v", i, answer)
		} else if !refused {
			seen[id] = true
		}
	}
	var want []string
	for i := range commands {
		want = append(want, fmt.Sprint(i))
	}
	for name, socket := range map[string]*harness.Socket{"ann": ann, "bob": bob} {
		var got []string
		for range commands {
			m, err := socket.Next(ctx)
			if err != nil {
				t.Fatalf("%s after %d messages: %v", name, len(got), err)
			}
			got = append(got, mark(m))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s got %v", name, got)
		}
		checkQuiet(ctx, t, socket)
	}
}
