package shadows

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

// maxPage is the most names in one page of ListNamedShadowsForThing, and how many come if the caller doesn't say.
const maxPage = 100

func (s *Service) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/things/{thing}/shadow", s.serveShadow)
	mux.HandleFunc("/api/things/shadow/ListNamedShadowsForThing/{thing}", s.serveList)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		respond(w, nil, refuse(http.StatusNotFound, "This look-alike does not know that path"))
	})
	return mux
}

// ServeHTTP answers the calls of the IoT data plane that are about shadows. The caller has checked who is asking.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Service) serveShadow(w http.ResponseWriter, r *http.Request) {
	op, ok := map[string]string{http.MethodGet: opGet, http.MethodPost: opUpdate, http.MethodDelete: opDelete}[r.Method]
	if !ok {
		respond(w, nil, methodNotAllowed())
		return
	}
	query := r.URL.Query()
	k := key{r.PathValue("thing"), query.Get("name")}
	if !k.valid() || query.Has("name") && k.name == "" {
		respond(w, nil, invalidName())
		return
	}
	var body []byte // of a get or a delete it doesn't matter
	if op == opUpdate {
		var err error
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		if err != nil {
			long := (*http.MaxBytesError)(nil)
			if errors.As(err, &long) {
				respond(w, nil, tooLarge())
			} else {
				respond(w, nil, badRequest("Invalid JSON"))
			}
			return
		}
	}
	s.mu.Lock()
	answer, failure := []byte(nil), closedError()
	if !s.closed {
		answer, _, failure = s.fromOutside(k, op, body)
	}
	s.mu.Unlock()
	respond(w, answer, failure)
}

func (s *Service) serveList(w http.ResponseWriter, r *http.Request) {
	thing, query := r.PathValue("thing"), r.URL.Query()
	size := maxPage
	if text := query.Get("pageSize"); text != "" {
		size, _ = strconv.Atoi(text) // what is no number is 0, which is refused below
	}
	token, err := base64.RawURLEncoding.DecodeString(query.Get("nextToken"))
	after := string(token)
	switch {
	case r.Method != http.MethodGet:
		respond(w, nil, methodNotAllowed())
	case !(key{thing: thing}).valid():
		respond(w, nil, invalidName())
	case size < 1 || size > maxPage:
		respond(w, nil, badRequest("Invalid pageSize: 1 to %d", maxPage))
	case err != nil || !nameForm(after, maxName):
		respond(w, nil, badRequest("Invalid nextToken"))
	default:
		answer, failure := s.list(thing, after, size)
		respond(w, answer, failure)
	}
}

// list returns a page of the names behind after, in their order.
func (s *Service) list(thing, after string, size int) ([]byte, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, closedError()
	}
	if !s.limits.allow(thing, s.now()) {
		return nil, rateExceeded()
	}
	page := struct {
		Results   []string `json:"results"`
		NextToken string   `json:"nextToken,omitempty"`
		Timestamp int64    `json:"timestamp"`
	}{Results: []string{}, Timestamp: s.now().Unix()}
	for k, r := range s.shadows {
		if k.thing == thing && k.name > after && r.exists() {
			page.Results = append(page.Results, k.name)
		}
	}
	slices.Sort(page.Results)
	if len(page.Results) > size {
		page.Results = page.Results[:size]
		page.NextToken = base64.RawURLEncoding.EncodeToString([]byte(page.Results[size-1]))
	}
	return encode(page), nil
}

func methodNotAllowed() *Error {
	return refuse(http.StatusMethodNotAllowed, "The specified combination of HTTP verb and URI is not supported")
}

func rateExceeded() *Error { return refuse(http.StatusTooManyRequests, "Rate exceeded") }

func closedError() *Error {
	return refuse(http.StatusServiceUnavailable, "The shadow service is closed")
}

// respond writes an answer, or a failure in the form that AWS's clients read: its type is in a header.
func respond(w http.ResponseWriter, answer []byte, failure *Error) {
	request := uuid.NewString()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("x-amzn-RequestId", request)
	if failure != nil {
		w.Header().Set("x-amzn-ErrorType", exception(failure.Code))
		w.WriteHeader(failure.Code)
		answer = encode(struct {
			Message string `json:"message"`
			TraceID string `json:"traceId"`
		}{failure.Message, request})
	}
	_, _ = w.Write(answer) // fails only when the client has gone
}

// exception is the name of an error in the API of the IoT data plane.
func exception(code int) string {
	switch code {
	case http.StatusBadRequest:
		return "InvalidRequestException"
	case http.StatusNotFound:
		return "ResourceNotFoundException"
	case http.StatusMethodNotAllowed:
		return "MethodNotAllowedException"
	case http.StatusConflict:
		return "ConflictException"
	case http.StatusRequestEntityTooLarge:
		return "RequestEntityTooLargeException"
	case http.StatusUnsupportedMediaType:
		return "UnsupportedDocumentEncodingException"
	case http.StatusTooManyRequests:
		return "ThrottlingException"
	case http.StatusServiceUnavailable:
		return "ServiceUnavailableException"
	}
	return "InternalFailureException"
}
