package objects

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"gnomon/devcloud/internal/statefile"
)

const (
	maxManifest  = 4 << 20 // bytes, what the OCI distribution specification asks registries to accept
	artifactType = "application/vnd.gnomon.model.v1"
	defaultMedia = "application/octet-stream"
)

var referenceForm = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._-]{0,127}|sha256:[0-9a-f]{64})$`)

// savedManifest is one manifest under one reference, as it lies on disk.
type savedManifest struct {
	Repo, Reference, ContentType string
	Manifest                     []byte
}

// openRegistry makes the registry of go-containerregistry and pushes the manifests that were kept: it holds them in
// memory only. The distribution project's registry would persist them itself, but adds 10 MB to a binary that must
// stay below 60 MB.
func (s *Service) openRegistry() error {
	s.registry = registry.New(
		registry.WithBlobHandler(registry.NewDiskBlobHandler(filepath.Join(s.options.Dir, "blobs"))),
		registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	files, err := filepath.Glob(filepath.Join(s.manifests, "*.json"))
	if err != nil {
		return err
	}
	// An index is taken only after what it lists: go round until a round brings nothing more.
	for len(files) > 0 {
		left := []string{}
		for _, file := range files {
			saved := savedManifest{}
			data, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(data, &saved)
			}
			if err != nil {
				return fmt.Errorf("%s is damaged; delete it and push that artefact again: %w", file, err)
			}
			if s.pushManifest(saved).status != http.StatusCreated {
				left = append(left, file)
			}
		}
		if len(left) == len(files) {
			return fmt.Errorf("%s lists manifests that are gone; delete it and push again", left[0])
		}
		files = left
	}
	return nil
}

// recorder keeps an answer of the registry, headers and status and a small body.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) { r.status = status }

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

func (s *Service) internal(method, path, contentType string, body []byte) *recorder {
	r := &http.Request{
		Method: method, URL: &url.URL{Path: path}, Header: http.Header{"Content-Type": {contentType}},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	if base, query, ok := strings.Cut(path, "?"); ok {
		r.URL.Path, r.URL.RawQuery = base, query
	}
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	s.registry.ServeHTTP(w, r)
	return w
}

func (s *Service) pushManifest(m savedManifest) *recorder {
	return s.internal(http.MethodPut, "/v2/"+m.Repo+"/manifests/"+m.Reference, m.ContentType, m.Manifest)
}

func (s *Service) manifestPath(repo, reference string) string {
	sum := sha256.Sum256([]byte(repo + "\n" + reference)) // a name never becomes a path
	return filepath.Join(s.manifests, hex.EncodeToString(sum[:])+".json")
}

// storeManifest hands a manifest to the registry and, if it is taken, keeps it under its digest and its tag.
func (s *Service) storeManifest(m savedManifest) (*recorder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.pushManifest(m)
	if w.status != http.StatusCreated {
		return w, nil
	}
	_, err := s.addRepo(m.Repo)
	for _, reference := range []string{digest.FromBytes(m.Manifest).String(), m.Reference} {
		saved := m
		saved.Reference = reference
		data, marshalErr := json.Marshal(saved)
		err = errors.Join(err, marshalErr, statefile.Write(s.manifestPath(m.Repo, reference), data))
	}
	return w, err
}

// registryError answers in the form of the OCI distribution specification.
func registryError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client may have gone
		"errors": []any{map[string]string{"code": code, "message": message}},
	})
}

// serveRegistry checks token and names, and keeps manifests; the rest is the registry's.
func (s *Service) serveRegistry(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	may, ok := s.readToken(password, time.Now())
	if user != "AWS" || !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="https://`+s.host(r)+`/",service="ecr.amazonaws.com"`)
		registryError(w, http.StatusUnauthorized, "UNAUTHORIZED",
			"get a token with GetAuthorizationToken; it is valid for 12 hours")
		return
	}
	if may != mayPush && r.Method != http.MethodGet && r.Method != http.MethodHead {
		registryError(w, http.StatusForbidden, "DENIED", "a device's token lets it pull only; push with the administrator's")
		return
	}
	rest := strings.Trim(strings.TrimPrefix(r.URL.Path, "/v2"), "/")
	repo, reference := "", ""
	for _, kind := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if i := strings.LastIndex(rest, kind); i >= 0 && repo == "" {
			repo = rest[:i]
			if kind == "/manifests/" {
				reference = rest[i+len(kind):]
			}
		}
	}
	if rest != "" && rest != "_catalog" && !validRepo(repo) {
		registryError(w, http.StatusBadRequest, "NAME_INVALID", "repository names are lower case, digits, . _ - and /")
		return
	}
	if reference != "" && !referenceForm.MatchString(reference) {
		registryError(w, http.StatusBadRequest, "TAG_INVALID", "the reference is neither a tag nor a sha256 digest")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxObject)
	switch {
	case reference != "" && r.Method == http.MethodPut:
		s.putManifest(w, r, repo, reference)
	case reference != "" && r.Method == http.MethodDelete:
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := os.Remove(s.manifestPath(repo, reference)); err != nil && !errors.Is(err, os.ErrNotExist) {
			registryError(w, http.StatusInternalServerError, "UNKNOWN", "the state directory could not be written")
			return
		}
		s.registry.ServeHTTP(w, r)
	default:
		s.registry.ServeHTTP(w, r)
	}
}

func (s *Service) putManifest(w http.ResponseWriter, r *http.Request, repo, reference string) {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxManifest+1))
	if err != nil || len(data) > maxManifest || !json.Valid(data) {
		registryError(w, http.StatusBadRequest, "MANIFEST_INVALID", "a manifest is JSON of at most 4 MiB")
		return
	}
	if strings.HasPrefix(reference, "sha256:") && reference != digest.FromBytes(data).String() {
		registryError(w, http.StatusBadRequest, "DIGEST_INVALID", "the manifest does not have the digest it is put under")
		return
	}
	answer, err := s.storeManifest(savedManifest{repo, reference, r.Header.Get("Content-Type"), data})
	if err != nil {
		registryError(w, http.StatusInternalServerError, "UNKNOWN", "the state directory could not be written")
		return
	}
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body.Bytes()) // the client may have gone
}

// File is one layer of an artefact. Name becomes its title annotation; an empty MediaType is octet-stream.
type File struct {
	Name, MediaType string
	Data            []byte
}

// PushArtifact stores files as an OCI 1.1 artefact, as a client's push would, and returns the manifest's digest.
func (s *Service) PushArtifact(repo, tag string, files ...File) (string, error) {
	switch {
	case s.closed.Load():
		return "", ErrClosed
	case !validRepo(repo) || !referenceForm.MatchString(tag) || len(files) == 0:
		return "", fmt.Errorf("push %q:%q: write a lower-case repository, a tag, and give at least one file", repo, tag)
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: artifactType, Config: ocispec.DescriptorEmptyJSON,
	}
	for i, file := range append([]File{{Data: ocispec.DescriptorEmptyJSON.Data}}, files...) {
		d := digest.FromBytes(file.Data)
		path := "/v2/" + repo + "/blobs/uploads/?digest=" + d.String()
		if w := s.internal(http.MethodPost, path, defaultMedia, file.Data); w.status != http.StatusCreated {
			return "", fmt.Errorf("store %q; check the state directory: the registry says %d %s", file.Name, w.status, &w.body)
		}
		if i == 0 {
			continue // the empty config, in the manifest already
		}
		if file.MediaType == "" {
			file.MediaType = defaultMedia
		}
		m.Layers = append(m.Layers, ocispec.Descriptor{
			MediaType: file.MediaType, Digest: d, Size: int64(len(file.Data)),
			Annotations: map[string]string{ocispec.AnnotationTitle: file.Name},
		})
	}
	data, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	w, err := s.storeManifest(savedManifest{repo, tag, m.MediaType, data})
	if err == nil && w.status != http.StatusCreated {
		err = fmt.Errorf("the registry refused the manifest with %d %s", w.status, &w.body)
	}
	return digest.FromBytes(data).String(), err
}
