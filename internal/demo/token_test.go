package demo_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func askToken(t testing.TB, text string, header map[string]string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/demo/token", strings.NewReader(text))
	r.Host = host
	r.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		if v == "" {
			r.Header.Del(k)
			continue
		}
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	newHandler().ServeHTTP(w, r)
	return w
}

func TestToken(t *testing.T) {
	const good = `{"tenant":"acme","user":"ann"}`
	long := strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		body   string
		header map[string]string
		status int
		token  string
	}{
		"program":         {good, nil, 200, "acme/ann"},
		"page":            {good, map[string]string{"Origin": "http://" + host, "Sec-Fetch-Site": "same-origin"}, 200, "acme/ann"},
		"roles":           {`{"tenant":"acme","user":"ann","roles":["admin"]}`, nil, 200, "acme/ann/admin"},
		"charset":         {good, map[string]string{"Content-Type": "application/json; charset=utf-8"}, 200, "acme/ann"},
		"foreign origin":  {good, map[string]string{"Origin": "https://evil.example"}, 403, ""},
		"other port":      {good, map[string]string{"Origin": "http://127.0.0.1:8081"}, 403, ""},
		"null origin":     {good, map[string]string{"Origin": "null"}, 403, ""},
		"bad origin":      {good, map[string]string{"Origin": "http://[" + host}, 403, ""},
		"cross site":      {good, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403, ""},
		"same site":       {good, map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://" + host}, 403, ""},
		"form":            {good, map[string]string{"Content-Type": "text/plain"}, 415, ""},
		"no content type": {good, map[string]string{"Content-Type": ""}, 415, ""},
		"too large":       {`{"tenant":"` + long + `","user":"ann"}`, nil, 413, ""},
		"large tail":      {good + strings.Repeat(" ", 5000), nil, 413, ""},
		"empty":           {``, nil, 400, ""},
		"no JSON":         {`tenant=acme`, nil, 400, ""},
		"two values":      {good + good, nil, 400, ""},
		"unknown field":   {`{"tenant":"acme","user":"ann","sudo":true}`, nil, 400, ""},
		"wrong kind":      {`{"tenant":1,"user":"ann"}`, nil, 400, ""},
		"no tenant":       {`{"user":"ann"}`, nil, 400, ""},
		"no user":         {`{"tenant":"acme"}`, nil, 400, ""},
		"bad tenant":      {`{"tenant":"a:b","user":"ann"}`, nil, 400, ""},
		"bad user":        {`{"tenant":"acme","user":"a b"}`, nil, 400, ""},
		"empty role":      {`{"tenant":"acme","user":"ann","roles":[""]}`, nil, 400, ""},
		"many roles":      {`{"tenant":"acme","user":"ann","roles":["a","b","c","d","e","f","g","h","i"]}`, nil, 400, ""},
		"unlucky":         {`{"tenant":"acme","user":"unlucky"}`, nil, 500, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := askToken(t, c.body, c.header)
			if w.Code != c.status {
				t.Fatalf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			var answer struct{ Token, Error string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatal(err)
			}
			if answer.Token != c.token {
				t.Errorf("token %q, want %q", answer.Token, c.token)
			}
			if (c.status != http.StatusOK) != (answer.Error != "") {
				t.Errorf("error %q with status %d", answer.Error, c.status)
			}
			if strings.Contains(answer.Error, "sticky") {
				t.Error("the cause of a server fault is shown")
			}
		})
	}
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{`{"tenant":"acme","user":"ann"}`, `{}`, `[]`, `{"roles":[]}`, "\x00", `{"tenant":"é","user":"` + "\xff" + `"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w := askToken(t, text, nil)
		switch w.Code {
		case http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		case http.StatusInternalServerError:
			if !strings.Contains(text, "unlucky") && !strings.Contains(text, `\u`) {
				t.Errorf("status %d", w.Code)
			}
		default:
			t.Errorf("status %d", w.Code)
		}
	})
}
