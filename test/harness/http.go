package harness

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// maxBody bounds what is read of an HTTP answer.
const maxBody = 16 << 20

// Fetch does a GET and returns the status and the body. The connection is not
// kept.
func Fetch(ctx context.Context, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", fmt.Errorf("fetch %s: %w", url, err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", fmt.Errorf("fetch %s: %w", url, err)
	}
	text, err := readAll(answer.Body, maxBody)
	if closeErr := answer.Body.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err != nil {
		return 0, "", fmt.Errorf("fetch %s: %w", url, err)
	}
	return answer.StatusCode, string(text), nil
}

// Metric returns the sum over the samples of a metric whose labels contain
// label; an empty label matches all. A metric without samples is 0.
func (n *Node) Metric(ctx context.Context, name, label string) (float64, error) {
	status, body, err := Fetch(ctx, "http://"+n.Metrics+"/metrics")
	if err != nil {
		return 0, err
	}
	if status != http.StatusOK {
		return 0, fmt.Errorf("metrics of %s: status %d", n.Name, status)
	}
	var sum float64
	lines := bufio.NewScanner(strings.NewReader(body))
	for lines.Scan() {
		series, value, ok := strings.Cut(lines.Text(), " ")
		base, labels, _ := strings.Cut(series, "{")
		if !ok || base != name || !strings.Contains(labels, label) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metrics of %s: %w", n.Name, err)
		}
		sum += v
	}
	return sum, nil
}
