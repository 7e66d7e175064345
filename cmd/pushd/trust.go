package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/spf13/pflag"
)

// trust says which servers a client believes in when it speaks TLS.
type trust struct {
	// CAFile holds the authorities that are trusted. Empty: those of the system.
	CAFile string
	// SkipVerify trusts every server.
	SkipVerify bool
}

func (t *trust) addTo(fs *pflag.FlagSet) {
	fs.StringVar(&t.CAFile, "ca-file", "", "PEM file with the certificate authorities that are trusted for TLS, in place of the system's")
	fs.BoolVar(&t.SkipVerify, "tls-skip-verify", false, "do not check certificates: whoever answers gets what is sent, tokens and keys too")
}

// isSet reports whether a flag was given.
func (t *trust) isSet() bool { return t.CAFile != "" || t.SkipVerify }

// config returns the settings for TLS, and reads the file for it.
func (t *trust) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.SkipVerify} //nolint:gosec // The flag says what it means.
	if t.CAFile == "" {
		return c, nil
	}
	if t.SkipVerify {
		return nil, usagef("--ca-file and --tls-skip-verify exclude one another")
	}
	text, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, usagef("--ca-file: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, usagef("--ca-file %s holds no certificate", t.CAFile)
	}
	return c, nil
}

// configIf is config for a client that may not speak TLS; then it returns nil,
// and what was given for TLS is a mistake: the client would be less safe than its
// command line says. how names what makes it speak TLS.
func (t *trust) configIf(spoken bool, how string) (*tls.Config, error) {
	switch {
	case spoken:
		return t.config()
	case t.isSet():
		return nil, usagef("--ca-file and --tls-skip-verify are for TLS, which is spoken with %s", how)
	default:
		return nil, nil //nolint:nilnil // No TLS.
	}
}

// isSecure reports whether TLS is spoken at a URL, by its scheme in any case.
func isSecure(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "wss" || u.Scheme == "https")
}

// explainTLS adds to an error of TLS what to try; of others it returns the
// error as it is.
func explainTLS(err error) error {
	if hint := hintTLS(err); hint != "" {
		return fmt.Errorf("%w%s", err, hint)
	}
	return err
}

// What to try after an error of TLS.
const (
	hintAuthority = "The authority that signed it, or the certificate itself if none did, is given by --ca-file."
	hintName      = "The address must be one that the certificate was made for."
	hintSpoken    = "Does the server speak TLS at this address?"
)

// hintTLS says what to try after an error of TLS, or of a server that may want
// it, on a line of its own; of others it says nothing.
func hintTLS(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		plain   tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &unknown):
		return "\n  " + hintAuthority
	case errors.As(err, &name):
		return "\n  " + hintName
	case errors.As(err, &plain), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "\n  " + hintSpoken
	default:
		return ""
	}
}
