// Package ssm is a look-alike of AWS Systems Manager Parameter Store for development: enough of the AWS JSON 1.1
// protocol for a device that reads its configuration and for the command line that writes it. Values lie in one
// file, in the clear, SecureString included: it is for development only.
package ssm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gnomon/devcloud/internal/statefile"
)

const (
	// Target is the prefix of X-Amz-Target for the calls that belong here.
	Target = "AmazonSSM."

	maxBody       = 256 << 10 // a request carries one value of at most 8 KiB or 10 names
	maxValue      = 4 << 10   // bytes of a standard-tier parameter
	maxParameters = 10000     // of the standard tier, for an account and region
	maxPage       = 10        // results of one GetParametersByPath and names of one GetParameters
	stateFile     = "parameters.json"
)

// Options says where the store keeps its state and whose it pretends to be.
type Options struct {
	Dir     string // existing directory, owned by the store; the values survive restarts
	Region  string // for ARNs, such as eu-central-1
	Account string // for ARNs, twelve digits
}

// Store is the parameters and the HTTP handler for them. All methods may be called concurrently.
type Store struct {
	options Options

	mu       sync.Mutex
	values   map[string]parameter
	throttle int
}

type parameter struct {
	Type     string  `json:"type"`
	Value    string  `json:"value"`
	Version  int64   `json:"version"`
	Modified float64 `json:"modified"` // seconds since 1970, as the protocol has them
}

// New reads what an earlier store left in Dir. It starts no goroutine and keeps no file open.
func New(options Options) (*Store, error) {
	s := &Store{options: options, values: map[string]parameter{}}
	data, err := os.ReadFile(s.path())
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the parameters; check the permissions of the state directory: %w", err)
	}
	if err := json.Unmarshal(data, &s.values); err != nil || s.values == nil {
		return nil, fmt.Errorf("%s is damaged; delete it to start without parameters: %w", s.path(), err)
	}
	return s, nil
}

// Throttle makes the next n calls fail with ThrottlingException, for tests of a client's patience.
func (s *Store) Throttle(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttle = n
}

func (s *Store) path() string { return filepath.Join(s.options.Dir, stateFile) }

// save writes the values down. Callers hold mu.
func (s *Store) save() error {
	data, err := json.Marshal(s.values)
	if err != nil {
		return err
	}
	return statefile.Write(s.path(), data)
}

// apiError is an error as the service reports it: its type by name, HTTP 400.
type apiError struct{ kind, message string }

func (e *apiError) Error() string { return e.kind + ": " + e.message }

func fail(kind, format string, args ...any) error {
	return &apiError{kind: kind, message: fmt.Sprintf(format, args...)}
}

// ServeHTTP answers one call. The caller has checked who is asking.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		reply(w, nil, fail("ValidationException", "The request is longer than %d bytes or was cut off", maxBody))
		return
	}
	result, err := s.call(r.Header.Get("X-Amz-Target"), body)
	reply(w, result, err)
}

func reply(w http.ResponseWriter, result any, err error) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if err != nil {
		known := &apiError{}
		status := http.StatusBadRequest
		if !errors.As(err, &known) {
			known = &apiError{"InternalServerError", "The parameters could not be written; check the state directory"}
			status = http.StatusInternalServerError
		}
		w.WriteHeader(status)
		result = map[string]string{"__type": known.kind, "message": known.message}
	}
	_ = json.NewEncoder(w).Encode(result) // fails only when the client has gone
}

func (s *Store) call(target string, body []byte) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.throttle > 0 {
		s.throttle--
		return nil, fail("ThrottlingException", "Rate exceeded")
	}
	in := request{}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fail("SerializationException", "The request is not the JSON object that this call takes")
	}
	switch target {
	case Target + "GetParametersByPath":
		return s.byPath(in)
	case Target + "GetParameter":
		return s.one(in)
	case Target + "GetParameters":
		return s.some(in)
	case Target + "PutParameter":
		return s.put(in, time.Now())
	case Target + "DeleteParameter":
		return s.remove(in)
	}
	return nil, fail("UnknownOperationException", "This look-alike does not know that call")
}
