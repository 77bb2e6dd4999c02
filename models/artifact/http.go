package artifact

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxErrorBody is how much of the body of an error is read, in bytes: S3's have some 300.
const maxErrorBody = 4 << 10

// doer is an http.Client, or one that logs in.
type doer interface {
	Do(r *http.Request) (*http.Response, error)
}

// httpSource reads an object by GET with ranges (RFC 9110, section 14). Whether it is still the same object is decided
// by If-Range, so that a server that has another one sends all of that at once.
type httpSource struct {
	client doer
	url    string
	what   string // url without what is secret
	fixed  bool   // url says what is in it, as a digest does: no If-Range
	size   int64  // if fixed: some registries want to be told the end of a range
}

func (s *httpSource) open(ctx context.Context, m mark) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, fail(CodeBadReference, "%s is no URL", s.what)
	}
	r.Header.Set("Accept-Encoding", "identity") // the digest is that of the object as it was uploaded
	if m.Offset > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", m.Offset))
		if s.fixed {
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", m.Offset, s.size-1))
		} else {
			r.Header.Set("If-Range", m.ETag)
		}
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, netError(s.what, err)
	}
	a, err := s.answer(resp, m)
	if err != nil {
		resp.Body.Close() //nolint:errcheck // it was only read
		return nil, err
	}
	return a, nil
}

func (s *httpSource) answer(resp *http.Response, m mark) (*answer, error) {
	a := &answer{body: resp.Body, total: resp.ContentLength, etag: strongETag(resp.Header.Get("ETag")), encoding: resp.Header.Get("Content-Encoding")}
	switch {
	case resp.StatusCode == http.StatusOK:
		return a, nil
	case resp.StatusCode == http.StatusPartialContent && m.Offset > 0:
		var err error
		a.offset = m.Offset
		a.total, err = contentRange(resp.Header.Get("Content-Range"), m.Offset)
		if err != nil {
			return nil, fail(CodeBadAnswer, "%s: %w", s.what, err)
		}
		if !s.fixed && a.etag != m.ETag {
			return nil, errChanged
		}
		return a, nil
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && m.Offset > 0:
		return nil, errChanged // it became shorter
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		body = nil // the status says enough
	}
	return nil, statusError(s.what, resp.StatusCode, string(body))
}

// statusError explains an HTTP status; body may be empty.
func statusError(what string, status int, body string) error {
	said := fmt.Sprintf("%s: the server answered %d %s", what, status, http.StatusText(status))
	switch {
	case status == http.StatusForbidden && (strings.Contains(body, "Request has expired") || strings.Contains(body, "<Code>ExpiredToken</Code>")):
		return fail(CodeURLExpired, "%s: the presigned URL has expired; announce a new one", said)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fail(CodeAccessDenied, "%s; correct the permissions, or announce a URL that this device may read", said)
	case status == http.StatusNotFound, status == http.StatusGone:
		return fail(CodeNotFound, "%s; correct the reference or upload the model", said)
	case status == http.StatusTooManyRequests:
		return fail(CodeThrottled, "%s; it is tried again later", said)
	case status == http.StatusRequestTimeout, status >= http.StatusInternalServerError:
		return fail(CodeServerError, "%s; it is tried again later", said)
	}
	return fail(CodeBadAnswer, "%s; check that the reference leads to a file", said)
}

// strongETag is the ETag if it promises the same bytes (RFC 9110, section 8.8.3), and nothing otherwise.
func strongETag(etag string) string {
	if len(etag) < 2 || len(etag) > maxETag || etag[0] != '"' || etag[len(etag)-1] != '"' {
		return ""
	}
	return etag
}

// contentRange reads "bytes first-last/length", where the length may be * for unknown. It has to go from byte want to
// the end of the object.
func contentRange(value string, want int64) (total int64, err error) {
	spec, ok := strings.CutPrefix(value, "bytes ")
	bounds, length, slash := strings.Cut(spec, "/")
	from, to, dash := strings.Cut(bounds, "-")
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	total = -1
	var err3 error
	if length != "*" {
		total, err3 = strconv.ParseInt(length, 10, 64)
	}
	if !ok || !slash || !dash || err1 != nil || err2 != nil || err3 != nil || first != want || last < first ||
		(length != "*" && last != total-1) {
		return 0, fmt.Errorf("the server sent the Content-Range %.80q when asked to go on at byte %d", withoutQueries(value), want)
	}
	return total, nil
}
