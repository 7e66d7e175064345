package bench

import (
	"context"
	"fmt"
)

// Server is what a scenario loads. Methods are called concurrently.
type Server interface {
	// Client says how the i-th client connects.
	Client(i int) (Client, error)
	// Broadcast sends a message to every client.
	Broadcast(ctx context.Context, m Message) error
	// Unicast sends a message to the i-th client.
	Unicast(ctx context.Context, i int, m Message) error
	// Process is what serves.
	Process() Process
}

// clientsOf asks a server for the clients from first on, before time is taken.
func clientsOf(s Server, first, count int) ([]Client, error) {
	if err := checkFiles(count); err != nil {
		return nil, err
	}
	clients := make([]Client, count)
	for i := range clients {
		c, err := s.Client(first + i)
		if err != nil {
			return nil, fmt.Errorf("client %d: %w", first+i, err)
		}
		clients[i] = c
	}
	return clients, nil
}
