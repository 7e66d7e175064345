package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"
)

const canary = "canary-in-the-mine"

// fill sets every field of v, however deep, to something, and every secret to
// the canary. It reports how many secrets it found.
func fill(t *testing.T, v reflect.Value) int {
	t.Helper()
	if v.Type() == reflect.TypeFor[secret]() {
		v.Set(reflect.ValueOf(newSecret(canary)))
		return 1
	}
	found := 0
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				t.Errorf("%s.%s is not exported: printing would go around the methods of what it holds",
					v.Type(), v.Type().Field(i).Name)
				continue
			}
			found += fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		found += fill(t, v.Index(0))
	case reflect.String:
		v.SetString("text")
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(time.Second))
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Errorf("a config holds a %s", v.Type())
	}
	return found
}

func TestConfigShowsNoSecret(t *testing.T) {
	var c config
	if n := fill(t, reflect.ValueOf(&c).Elem()); n != 3 {
		t.Errorf("%d kinds of secrets, 3 are known", n)
	}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("config", "config", c, "secret", c.Cluster.Secret, "list", c.Auth.Secrets)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{log.String(), string(text)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p"} {
		shown = append(shown, fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c), fmt.Sprintf(verb, c.Cluster.Secret))
	}
	// Within a type that ignores methods.
	shown = append(shown, fmt.Sprintf("%+v %#v", struct{ s secret }{newSecret(canary)}, struct{ s secret }{newSecret(canary)}))
	for _, text := range shown {
		if strings.Contains(text, canary) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", canary)) {
			t.Errorf("a secret shows: %s", text)
		}
	}
	if c.Cluster.Secret.reveal() != canary {
		t.Error("the secret is lost")
	}
	if got := fmt.Sprintf("%v|%#v|%s", newSecret(canary), newSecret(canary), secret{}); got != `[redacted]|secret("[redacted]")|` {
		t.Errorf("got %s", got)
	}
}

func TestFlagsShowNoSecret(t *testing.T) {
	for name, args := range map[string][]string{
		"refused config": {"serve", "--jwt-secret", canary, "--cluster-secret", canary, "--nats-url", "ftp://u:" + canary + "@h", "--log-level", "x"},
		"unknown flag":   {"serve", "--jwt-secret", canary, "--nothing"},
		"bad flag":       {"serve", "--jwt-secret", canary, "--inbound-burst", "x"},
		"help":           {"serve", "--jwt-secret", canary, "--help"},
		"tail":           {"tail", "--token", canary, "--url", "http://x"},
		"token":          {"token", "new", "--secret", canary},
		"token twice":    {"token", "new", "--secret", canary, "--secret-file", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			env := variables{"PUSHD_JWT_SECRET": canary, "PUSHD_TOKEN": canary, "PUSHD_CLUSTER_SECRET": canary, "PUSHD_NATS_URL": canary}
			r := runCommand(t, "", env, args...)
			if strings.Contains(r.out+r.err, canary) {
				t.Errorf("a secret shows: %s%s", r.out, r.err)
			}
			if name != "help" && r.code != exitUsage {
				t.Errorf("code %d: %s", r.code, r.err)
			}
		})
	}
}
