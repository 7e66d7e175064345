package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// redacted is what a secret looks like wherever it is printed.
const redacted = "[redacted]"

// maxSecretFile bounds a file that holds one secret, in bytes.
const maxSecretFile = 64 << 10

// secret is a text that no log, error, dump or marshaller shows. It is a
// pointer inside so that even fmt's walk over unexported fields, which ignores
// methods, prints an address and not the text. The zero secret is unset.
type secret struct{ text *string }

func newSecret(text string) secret {
	if text == "" {
		return secret{}
	}
	return secret{&text}
}

// reveal returns the text; its callers are few and easy to find.
func (s secret) reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

func (s secret) isSet() bool { return s.text != nil }

// String implements fmt.Stringer without the text.
func (s secret) String() string {
	if s.text == nil {
		return ""
	}
	return redacted
}

// GoString implements fmt.GoStringer without the text.
func (s secret) GoString() string { return fmt.Sprintf("secret(%q)", s.String()) }

// Format implements fmt.Formatter: a wrong verb must not show the text either.
func (s secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = io.WriteString(f, text)
}

// MarshalJSON implements json.Marshaler without the text.
func (s secret) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", s.String()), nil } //nolint:unparam // The interface wants an error.

// MarshalText implements encoding.TextMarshaler without the text.
func (s secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil } //nolint:unparam // As above.

// LogValue implements slog.LogValuer without the text.
func (s secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// secretFlag is the flag of one secret. Set never fails: the flag package
// would quote the value in its error.
type secretFlag struct{ to *secret }

func (f secretFlag) Set(text string) error {
	*f.to = newSecret(text)
	return nil
}

func (f secretFlag) String() string {
	if f.to == nil {
		return ""
	}
	return f.to.String()
}

func (f secretFlag) Type() string { return "secret" }

// secretsFlag is a flag that adds a secret each time it is given. A secret may
// hold commas, so it is not split.
type secretsFlag struct{ to *[]secret }

func (f secretsFlag) Set(text string) error {
	*f.to = append(*f.to, newSecret(text))
	return nil
}

func (f secretsFlag) String() string {
	if f.to == nil || len(*f.to) == 0 {
		return ""
	}
	return redacted
}

func (f secretsFlag) Type() string { return "secret" }

// readSecret reads a secret from a file, without the line end that editors
// leave behind it.
func readSecret(path string) (secret, error) {
	file, err := os.Open(path) //nolint:gosec // The operator names the file.
	if err != nil {
		return secret{}, fmt.Errorf("secret file: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return secret{}, fmt.Errorf("secret file: %w", err)
	}
	if len(text) > maxSecretFile {
		return secret{}, fmt.Errorf("secret file %s is larger than %d bytes", path, maxSecretFile)
	}
	s := newSecret(strings.TrimRight(string(text), "\r\n"))
	if !s.isSet() {
		return secret{}, fmt.Errorf("secret file %s is empty", path)
	}
	return s, nil
}

// pickSecret returns a secret given directly or by file; zero when neither is
// given. name is the flag of the first.
func pickSecret(name string, direct secret, path string) (secret, error) {
	switch {
	case direct.isSet() && path != "":
		return secret{}, fmt.Errorf("give --%s or --%s-file, not both", name, name)
	case path != "":
		return readSecret(path)
	default:
		return direct, nil
	}
}
