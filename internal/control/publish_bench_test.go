package control_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/message"
)

// BenchmarkPublish is a command over loopback, its client included.
func BenchmarkPublish(b *testing.B) {
	server, err := control.NewServer(control.Options{}, instant{})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ln) })
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	s, err := pushdv1.NewControlServiceClient(conn).Publish(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	r := asCommand(notify("acme", "ann", "", `{"text":"`+strings.Repeat("x", 80)+`"}`))
	b.ReportAllocs()
	b.ResetTimer()
	running.Go(func() {
		for range b.N {
			if s.Send(r) != nil {
				return
			}
		}
		_ = s.CloseSend()
	})
	for range b.N {
		if _, err := s.Recv(); err != nil {
			b.Error(err)
			break
		}
	}
	b.StopTimer()
	_ = conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		b.Error(err)
	}
	running.Wait()
}

// instant is a router that accepts everything at once.
type instant struct{ control.Router }

func (instant) Submit(m *message.Message, done func(message.Accepted, error)) error {
	done(message.Accepted{ID: m.ID}, nil)
	return nil
}

func (instant) Keeps(address.Target) bool { return false }

func (instant) Ready() bool { return true }
