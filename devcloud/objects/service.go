// Package objects is the object side of AWS on one machine, for development: S3, ECR with its OCI registry, and
// Parameter Store, behind one HTTP handler and kept in one directory. It is no place for data that matters.
package objects

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"gnomon/devcloud/internal/statefile"
	"gnomon/devcloud/ssm"
)

const (
	// ModelBucket is made when it does not exist yet.
	ModelBucket = "gnomon-models"

	ecrTarget = "AmazonEC2ContainerRegistry_V20150921."
	maxPath   = 2048 // bytes: bucket and key or repository and digest, each with room to spare
	keyBytes  = 32   // of the key that signs registry tokens: as many as SHA-256 gives out
	dirMode   = 0o700
)

// ErrClosed is what a closed Service answers to the methods that change something.
var ErrClosed = errors.New("the object service is closed; make a new one")

// Options says where a Service keeps its state and whom it serves.
type Options struct {
	Dir             string                      // state, owned by the service; survives restarts
	Region, Account string                      // such as eu-central-1 and 000000000000; these are the defaults
	Authorize       func(r *http.Request) error // checks the signature of AWS calls; nil lets everybody in
	ReadOnly        func(r *http.Request) bool  // whether a call's registry token lets one only pull; nil: none does
	RegistryHost    func() string               // host:port for proxyEndpoint; nil: the Host of the request
}

// Service is an http.Handler for all of it. Its methods may be called concurrently.
type Service struct {
	options   Options
	store     *backend
	s3        http.Handler
	registry  http.Handler
	ssm       *ssm.Store
	tokenKey  []byte
	manifests string // directory
	closed    atomic.Bool

	mu    sync.Mutex         // for what follows and the manifest files
	repos map[string]float64 // name → seconds since 1970 of its making
}

// New opens or makes the state in Options.Dir. It starts no goroutine and keeps no file open.
func New(options Options) (*Service, error) {
	if options.Dir == "" {
		return nil, errors.New("the object service needs a directory for its state; give one")
	}
	if options.Region == "" {
		options.Region = "eu-central-1"
	}
	if options.Account == "" {
		options.Account = "000000000000"
	}
	s := &Service{options: options, repos: map[string]float64{}, manifests: filepath.Join(options.Dir, "manifests")}
	for _, dir := range []string{"s3", "blobs", "manifests", "ssm"} {
		if err := os.MkdirAll(filepath.Join(options.Dir, dir), dirMode); err != nil {
			return nil, fmt.Errorf("make the state directory; check its permissions: %w", err)
		}
	}
	for _, step := range []func() error{s.openKey, s.openS3, s.openRepos, s.openRegistry} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	var err error
	s.ssm, err = ssm.New(ssm.Options{
		Dir: filepath.Join(options.Dir, "ssm"), Region: options.Region, Account: options.Account,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Parameters is the Parameter Store behind the service, for seeding and for tests.
func (s *Service) Parameters() *ssm.Store { return s.ssm }

// Close makes the service refuse further requests. Everything is on disk already. It may be called more than once.
func (s *Service) Close() error {
	s.closed.Store(true)
	return nil
}

// ServeHTTP tells the services apart as their clients do: AWS JSON calls by X-Amz-Target, the registry by /v2/, and
// everything else is S3.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := r.Header.Get("X-Amz-Target")
	registry := r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/")
	switch {
	case s.closed.Load():
		http.Error(w, ErrClosed.Error(), http.StatusServiceUnavailable)
	case len(r.URL.Path) > maxPath:
		http.Error(w, "the path is too long", http.StatusRequestURITooLong)
	case registry && target == "":
		s.serveRegistry(w, r)
	case s.options.Authorize != nil && s.options.Authorize(r) != nil:
		s.refuse(w, target != "")
	case r.Method == http.MethodPost && strings.HasPrefix(target, ecrTarget):
		s.serveECR(w, r)
	case r.Method == http.MethodPost && strings.HasPrefix(target, ssm.Target):
		s.ssm.ServeHTTP(w, r)
	case target != "":
		jsonError(w, http.StatusBadRequest, "UnknownOperationException", "This look-alike has no such service")
	default:
		s.serveS3(w, r)
	}
}

func (s *Service) refuse(w http.ResponseWriter, isJSON bool) {
	if isJSON {
		jsonError(w, http.StatusForbidden, "AccessDeniedException", "The signature of the request was not accepted")
		return
	}
	xmlError(w, http.StatusForbidden, "AccessDenied", "The signature of the request was not accepted")
}

func jsonError(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": kind, "message": message}) // the client may have gone
}

// openKey reads or makes the key that signs registry tokens; kept, so that tokens outlive a restart.
func (s *Service) openKey() error {
	path := filepath.Join(s.options.Dir, "token.key")
	key, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key = make([]byte, keyBytes)
		if _, err := rand.Read(key); err != nil {
			return err
		}
		err = statefile.Write(path, key)
	}
	if err != nil {
		return fmt.Errorf("open the key for registry tokens; check the permissions of the state directory: %w", err)
	}
	if len(key) != keyBytes {
		return fmt.Errorf("%s is damaged; delete it, a new one is made", path)
	}
	s.tokenKey = key
	return nil
}
