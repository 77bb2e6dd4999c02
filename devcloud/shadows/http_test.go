package shadows

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// web asks the service over HTTP.
type web struct {
	*bench
	server *httptest.Server
}

func newWeb(t *testing.T) *web {
	b := newBench(t)
	w := &web{b, httptest.NewServer(b.Service)}
	t.Cleanup(func() {
		w.server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return w
}

// do returns "status body", or for an error "status type message". Every request comes a second after the last.
func (w *web) do(method, path, body string) string {
	w.t.Helper()
	w.mu.Lock()
	w.at, w.sent = w.at.Add(1e9), nil
	w.mu.Unlock()
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	equal(w.t, "content type", response.Header.Get("Content-Type"), "application/json")
	if response.StatusCode == http.StatusOK {
		return fmt.Sprint(response.StatusCode, " ", string(data))
	}
	var failure struct{ Message, TraceID string }
	if err := json.Unmarshal(data, &failure); err != nil || failure.TraceID == "" || !bytes.Contains(data, []byte(`"message":`)) {
		w.t.Errorf("%s: %v", data, err)
	}
	return fmt.Sprint(response.StatusCode, " ", response.Header.Get("x-amzn-ErrorType"), " ", failure.Message)
}

func TestDataPlane(t *testing.T) {
	w := newWeb(t)
	const path = "/things/camera-7/shadow"
	for _, step := range []struct {
		method, path, body, want string
		sent                     int // messages to the subscribers
	}{
		{"GET", path, "", "404 ResourceNotFoundException No shadow exists with name: 'camera-7'", 0},
		{"POST", path, `{"state":{"desired":{"a":1}},"clientToken":"t"}`, `200 {"state":{"desired":{"a":1}},"metadata":{"desired":{"a":{"timestamp":1700000002}}},"version":1,"timestamp":1700000002,"clientToken":"t"}`, 3},
		{"GET", path, "", `200 {"state":{"desired":{"a":1},"delta":{"a":1}},"metadata":{"desired":{"a":{"timestamp":1700000002}}},"version":1,"timestamp":1700000003}`, 0},
		{"POST", path, `{"state":{},"version":9}`, "409 ConflictException Version conflict", 0},
		{"POST", path, `{`, "400 InvalidRequestException Invalid JSON", 0},
		{"POST", path, "{\"\xff\":1}", "415 UnsupportedDocumentEncodingException Unsupported documented encoding; supported encoding is UTF-8", 0},
		{"POST", path, spaces(maxMessage + 1), "413 RequestEntityTooLargeException The payload exceeds the maximum size allowed", 0},
		{"POST", path + "?name=night", `{"state":{}}`, `200 {"state":{},"metadata":{},"version":1,"timestamp":1700000008}`, 2},
		{"GET", path + "?name=day", "", "404 ResourceNotFoundException No shadow exists with name: 'day'", 0},
		{"DELETE", path + "?name=night", "", `200 {"version":1,"timestamp":1700000010}`, 1},
		{"DELETE", path + "?name=night", "", "404 ResourceNotFoundException No shadow exists with name: 'night'", 0},
		{"GET", path + "?name=", "", "400 InvalidRequestException " + invalidName().Message, 0},
		{"GET", "/things/a%2Fb/shadow", "", "400 InvalidRequestException " + invalidName().Message, 0},
		{"PUT", path, "{}", "405 MethodNotAllowedException " + methodNotAllowed().Message, 0},
		{"GET", "/things", "", "404 ResourceNotFoundException This look-alike does not know that path", 0},
	} {
		equal(t, step.method+" "+step.path, w.do(step.method, step.path, step.body), step.want)
		equal(t, "messages after "+step.method+" "+step.path, len(w.sent), step.sent)
	}
	for range perSecond { // of the same moment
		w.Request(classic+"get", nil)
	}
	w.at = w.at.Add(-1e9) // do adds it again
	equal(t, "throttled", w.do("GET", path, ""), "429 ThrottlingException Rate exceeded")
	_ = w.Close()
	equal(t, "closed", w.do("GET", path, ""), "503 ServiceUnavailableException The shadow service is closed")
}

func TestListNamedShadows(t *testing.T) {
	w := newWeb(t)
	for _, name := range []string{"", "c", "a", "b", "gone"} {
		if _, err := w.Update(thing, name, []byte(`{"state":{}}`)); err != nil {
			t.Fatal(err)
		}
	}
	w.Request(classic+"name/gone/delete", nil)
	const path = "/api/things/shadow/ListNamedShadowsForThing/"
	for _, step := range []struct{ query, want string }{
		{thing, `200 {"results":["a","b","c"],"timestamp":1700000001}`},
		{thing + "?pageSize=2", `200 {"results":["a","b"],"nextToken":"Yg","timestamp":1700000002}`},
		{thing + "?pageSize=2&nextToken=Yg", `200 {"results":["c"],"timestamp":1700000003}`},
		{thing + "?pageSize=3", `200 {"results":["a","b","c"],"timestamp":1700000004}`},
		{"nobody", `200 {"results":[],"timestamp":1700000005}`},
		{thing + "?pageSize=101", "400 InvalidRequestException Invalid pageSize: 1 to 100"},
		{thing + "?pageSize=x", "400 InvalidRequestException Invalid pageSize: 1 to 100"},
		{thing + "?nextToken=%21", "400 InvalidRequestException Invalid nextToken"},
	} {
		equal(t, step.query, w.do("GET", path+step.query, ""), step.want)
	}
	equal(t, "another verb", w.do("POST", path+thing, ""), "405 MethodNotAllowedException "+methodNotAllowed().Message)
}
