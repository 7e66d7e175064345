package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// certificateCheck is how often the certificate files are looked at.
const certificateCheck = 5 * time.Second

// certificates serves a certificate from two files and follows them. Safe for
// concurrent use.
type certificates struct {
	// set once
	certFile, keyFile string
	log               *slog.Logger

	current atomic.Pointer[tls.Certificate]
	// seen is owned by watch.
	seen [2]fileState
}

// fileState tells whether a file has changed.
type fileState struct {
	modified time.Time
	size     int64
}

// loadCertificates reads the files; nil without an error when none are given.
func (c *config) loadCertificates(log *slog.Logger) (*certificates, error) {
	if c.TLS.CertFile == "" {
		return nil, nil //nolint:nilnil // No files: no TLS.
	}
	certs := &certificates{certFile: c.TLS.CertFile, keyFile: c.TLS.KeyFile, log: log}
	if err := certs.load(); err != nil {
		return nil, err
	}
	return certs, nil
}

// config returns the TLS settings of the WebSocket listener.
func (c *certificates) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}, // no WebSocket over HTTP/2
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	}
}

// load reads the files. After an error the certificate is what it was.
func (c *certificates) load() error {
	seen, err := c.look()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate: %w", err)
	}
	c.seen = seen
	c.current.Store(&cert)
	return nil
}

func (c *certificates) look() (seen [2]fileState, err error) {
	for i, path := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return seen, fmt.Errorf("TLS certificate: %w", err)
		}
		seen[i] = fileState{info.ModTime(), info.Size()}
	}
	return seen, nil
}

// watch loads the files anew when they have changed, until ctx ends. While only
// one of the two is new, or they can't be read, the old certificate serves on.
func (c *certificates) watch(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var last error
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		seen, err := c.look()
		if err == nil {
			if seen == c.seen {
				continue
			}
			err = c.load()
		}
		switch {
		case err == nil:
			c.log.Info("tls certificate loaded anew")
		case last == nil || !errors.Is(err, last) && err.Error() != last.Error():
			c.log.Warn("tls certificate not loaded, the old one serves on", "error", err)
		}
		last = err
	}
}
