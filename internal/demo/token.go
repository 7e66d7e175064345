package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/aegisx/pushd/internal/address"
)

// Bounds of a token request.
const (
	maxTokenRequest = 4 << 10 // bytes
	maxRoles        = 8
	maxRole         = 64 // bytes
)

// tokenRequest is the body of POST /demo/token, once it is valid.
type tokenRequest struct {
	tenant address.TenantID
	user   address.UserID
	roles  []string
}

// serveToken gives a token to the page, and to local programs that are no
// browser. Other sites are kept off three times: by the Origin that browsers
// send with every POST, by Sec-Fetch-Site, and by the content type, which no
// plain form can send.
func serveToken(w http.ResponseWriter, r *http.Request, o Options) {
	if !sameOrigin(r) {
		writeError(w, http.StatusForbidden, "not from this origin")
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		writeError(w, http.StatusUnsupportedMediaType, "the body must be application/json")
		return
	}
	req, err := parseTokenRequest(http.MaxBytesReader(w, r.Body, maxTokenRequest))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		writeError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body must not be larger than %d bytes", maxTokenRequest))
		return
	case err != nil:
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	token, err := o.Sign(req.tenant, req.user, req.roles)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "the token could not be signed")
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"token": token})
}

// sameOrigin reports whether no header says that another site asks.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return false
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	return err == nil && len(origins) == 1 && (u.Scheme == "http" || u.Scheme == "https") && u.Host == r.Host
}

func parseTokenRequest(body io.Reader) (tokenRequest, error) {
	var in struct {
		Tenant string   `json:"tenant"`
		User   string   `json:"user"`
		Roles  []string `json:"roles"`
	}
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return tokenRequest{}, fmt.Errorf("parse body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("more than one value")
		}
		return tokenRequest{}, fmt.Errorf("parse body: %w", err)
	}
	tenant, err := address.ParseTenantID(in.Tenant)
	if err != nil {
		return tokenRequest{}, err
	}
	user, err := address.ParseUserID(in.User)
	if err != nil {
		return tokenRequest{}, err
	}
	if len(in.Roles) > maxRoles {
		return tokenRequest{}, fmt.Errorf("at most %d roles", maxRoles)
	}
	for _, role := range in.Roles {
		if role == "" || len(role) > maxRole {
			return tokenRequest{}, fmt.Errorf("a role must be 1 to %d bytes", maxRole)
		}
	}
	return tokenRequest{tenant, user, in.Roles}, nil
}
