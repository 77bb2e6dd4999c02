package artifact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	godigest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"gnomon/devcloud/objects"
)

func push(t *testing.T, s *objects.Service, files ...objects.File) string {
	t.Helper()
	d, err := s.PushArtifact("team/yolo", "v1", files...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pushManifest pushes files and a manifest of them with the fetcher's own client.
func pushManifest(t *testing.T, f *Fetcher, s *server, m ocispec.Manifest, files ...[]byte) Reference {
	t.Helper()
	ref := reference(t, "oci://"+s.Listener.Addr().String()+"/team/yolo:pushed")
	repository, err := f.repository(ref)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ecr.get(t.Context(), f.mustEndpoint(t, ref), ""); err != nil { // or a refused body could not be sent again
		t.Fatal(err)
	}
	for _, data := range append(files, ocispec.DescriptorEmptyJSON.Data) {
		d := ocispec.Descriptor{Digest: godigest.FromBytes(data), Size: int64(len(data)), MediaType: "application/octet-stream"}
		if err := repository.Push(t.Context(), d, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	m.Versioned, m.MediaType, m.Config = specs.Versioned{SchemaVersion: 2}, ocispec.MediaTypeImageManifest, ocispec.DescriptorEmptyJSON
	return pushJSON(t, f, ref, m.MediaType, m)
}

// pushJSON pushes a manifest of any kind and returns a reference to it.
func pushJSON(t *testing.T, f *Fetcher, ref Reference, mediaType string, m any) Reference {
	t.Helper()
	repository, err := f.repository(ref)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{Digest: godigest.FromBytes(data), Size: int64(len(data)), MediaType: mediaType}
	if err := repository.Manifests().Push(t.Context(), d, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	ref.Tag, ref.Digest = "", d.Digest.String()
	return ref
}

// TestIndex fetches through an index, by several at once: they share a login.
func TestIndex(t *testing.T) {
	_, s, options := cloud(t, objects.Options{}, nil)
	f, data := newFetcher(t, options), modelBytes(modelSize)
	child := pushManifest(t, f, s, ocispec.Manifest{Layers: []ocispec.Descriptor{{
		MediaType: "application/onnx", Digest: godigest.FromBytes(data), Size: modelSize,
	}}}, data)
	list := func(of Reference, mediaType string) ocispec.Index {
		return ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{
			{MediaType: mediaType, Digest: godigest.Digest(of.Digest), Size: 1}, // the size is not needed
		}}
	}
	ref := pushJSON(t, f, child, ocispec.MediaTypeImageIndex, list(child, ocispec.MediaTypeImageManifest))
	nested := pushJSON(t, f, child, ocispec.MediaTypeImageIndex, list(ref, ocispec.MediaTypeImageIndex))
	f = newFetcher(t, options)
	before := count(s, tokenCall)
	errs := make(chan error)
	const together = 4
	for range together {
		dir := t.TempDir()
		go func() {
			result, err := f.Fetch(t.Context(), Request{Reference: ref, SHA256: strings.TrimPrefix(ref.Digest, "sha256:"), Dir: dir})
			if err == nil && ("sha256:"+result.SHA256 != ref.Digest || len(result.Blobs) != 1 || result.Blobs[0].SHA256 != hexSum(data)) {
				err = fmt.Errorf("result %+v", result)
			}
			errs <- err
		}()
	}
	for range together {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := count(s, tokenCall) - before; n != 1 {
		t.Errorf("%d tokens, want 1", n)
	}
	_, err := f.Fetch(t.Context(), Request{Reference: nested, Dir: t.TempDir()})
	assertCode(t, err, CodeManifestUnsupported)
}

func (f *Fetcher) mustEndpoint(t *testing.T, r Reference) ecrEndpoint {
	t.Helper()
	endpoint, ok := f.ecrEndpoint(r.Registry)
	if !ok {
		t.Fatalf("%s is no registry of ECR", r.Registry)
	}
	return endpoint
}

func count(s *server, match func(r *http.Request) bool) int {
	n := 0
	for _, r := range s.asked() {
		if match(r) {
			n++
		}
	}
	return n
}

func tokenCall(r *http.Request) bool { return r.Header.Get("X-Amz-Target") != "" }
func blobCall(r *http.Request) bool  { return strings.Contains(r.URL.Path, "/blobs/") }

func TestOCI(t *testing.T) {
	service, s, options := cloud(t, objects.Options{}, nil)
	model, labels := modelBytes(modelSize), []byte("person\n")
	want := push(t, service, objects.File{Name: "../m x.onnx", MediaType: "application/vnd.onnx", Data: model}, objects.File{Name: "labels.txt", Data: labels})
	f, dir := newFetcher(t, options), t.TempDir()
	tag := reference(t, "oci://"+s.Listener.Addr().String()+"/team/yolo:v1")
	pinned, err := f.Resolve(t.Context(), tag)
	if err != nil || pinned.Digest != want || pinned.Tag != "" {
		t.Fatalf("resolved to %+v, %v", pinned, err)
	}
	var done, total int64
	request := Request{Reference: tag, Dir: dir, Progress: func(d, t int64) { done, total = d, t }}
	result, err := f.Fetch(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if "sha256:"+result.SHA256 != want || result.Reference != pinned || len(result.Blobs) != 2 {
		t.Fatalf("result %+v", result)
	}
	for i, expect := range []Blob{{Name: "m_x.onnx", MediaType: "application/vnd.onnx"}, {Name: "labels.txt", MediaType: "application/octet-stream"}} {
		data := [][]byte{model, labels}[i]
		b := result.Blobs[i]
		got, err := os.ReadFile(b.Path)
		if err != nil || !bytes.Equal(got, data) || b.Name != expect.Name || b.MediaType != expect.MediaType || b.SHA256 != hexSum(data) {
			t.Errorf("blob %+v, %v", b, err)
		}
	}
	if sum := int64(len(model) + len(labels)); done != sum || total != sum {
		t.Errorf("progress ended with %d of %d", done, total)
	}
	if n := count(s, tokenCall); n != 1 {
		t.Errorf("%d tokens, want 1", n)
	}

	before := len(s.asked())
	request.Reference = pinned
	if _, err := f.Fetch(t.Context(), request); err != nil || len(s.asked()) != before {
		t.Errorf("again: %v, after %d more requests", err, len(s.asked())-before)
	}
	for ref, code := range map[string]Code{
		"/team/yolo:v2": CodeNotFound, "/team/other:v1": CodeNotFound, "/team/yolo@sha256:" + strings.Repeat("0", 64): CodeNotFound,
	} {
		_, err := f.Fetch(t.Context(), Request{Reference: reference(t, "oci://"+s.Listener.Addr().String()+ref), Dir: t.TempDir()})
		assertCode(t, err, code)
	}
	options.Limits.MaxBytes = modelSize
	_, err = newFetcher(t, options).Fetch(t.Context(), Request{Reference: pinned, Dir: t.TempDir()})
	assertCode(t, err, CodeTooLarge)
}

// TestOCIFaults has a registry that does one thing wrong.
func TestOCIFaults(t *testing.T) {
	model := modelBytes(modelSize)
	type handler func(n int, w http.ResponseWriter, r *http.Request, s *objects.Service) bool
	refuse := func(status int) handler {
		return func(_ int, w http.ResponseWriter, r *http.Request, _ *objects.Service) bool {
			if blobCall(r) {
				w.WriteHeader(status)
			}
			return blobCall(r)
		}
	}
	for name, c := range map[string]struct {
		handle handler
		want   Code
		ranges []string // of requests for the blob; nil: not compared
	}{
		"dropped every 120000 bytes": {func(_ int, w http.ResponseWriter, r *http.Request, s *objects.Service) bool {
			if blobCall(r) {
				s.ServeHTTP(dropAfter(w, 120_000), r)
			}
			return blobCall(r)
		}, "", []string{"", "bytes=120000-299999", "bytes=240000-299999"}},
		"blob denied":  {refuse(403), CodeAccessDenied, []string{""}},
		"blob missing": {refuse(404), CodeNotFound, []string{""}},
		"blob broken":  {refuse(500), CodeServerError, nil},
		"other blob": {func(_ int, w http.ResponseWriter, r *http.Request, _ *objects.Service) bool {
			if blobCall(r) {
				w.Write(make([]byte, modelSize)) //nolint:errcheck // the client finds out
			}
			return blobCall(r)
		}, CodeDigestMismatch, []string{""}},
		"longer blob": {func(_ int, w http.ResponseWriter, r *http.Request, _ *objects.Service) bool {
			if blobCall(r) {
				w.Write(make([]byte, modelSize+1)) //nolint:errcheck // the client stops
			}
			return blobCall(r)
		}, CodeLengthMismatch, []string{""}},
		"other manifest": {func(_ int, w http.ResponseWriter, r *http.Request, _ *objects.Service) bool {
			if strings.Contains(r.URL.Path, "/manifests/") && r.Method == http.MethodGet {
				w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
				_, _ = fmt.Fprint(w, `{"schemaVersion":2,"layers":[]}`)
				return true
			}
			return false
		}, CodeBadAnswer, nil},
		"a web page": {func(_ int, w http.ResponseWriter, r *http.Request, _ *objects.Service) bool {
			if strings.Contains(r.URL.Path, "/manifests/") {
				_, _ = fmt.Fprint(w, "<html>Please log in</html>")
				return true
			}
			return false
		}, CodeBadAnswer, nil},
		"first token refused": {refuseFirstToken(), "", []string{""}},
		"every token refused": {func(_ int, w http.ResponseWriter, r *http.Request, _ *objects.Service) bool {
			if r.Header.Get("Authorization") != "" && !tokenCall(r) {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			return false
		}, CodeAccessDenied, nil},
		"no token": {func(_ int, w http.ResponseWriter, r *http.Request, _ *objects.Service) bool {
			if tokenCall(r) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = fmt.Fprint(w, `{"__type":"AccessDeniedException","message":"not authorized to perform ecr:GetAuthorizationToken"}`)
			}
			return tokenCall(r)
		}, CodeCredentials, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var service *objects.Service
			service, s, options := cloud(t, objects.Options{}, func(n int, w http.ResponseWriter, r *http.Request) bool {
				return c.handle(n, w, r, service)
			})
			push(t, service, objects.File{Name: "m.onnx", Data: model})
			f, dir := newFetcher(t, options), t.TempDir()
			result, err := f.Fetch(t.Context(), Request{Reference: reference(t, "oci://"+s.Listener.Addr().String()+"/team/yolo:v1"), Dir: dir})
			assertCode(t, err, c.want)
			if err == nil {
				assertBlob(t, result, dir, model)
			}
			var ranges []string
			for _, r := range s.asked() {
				if blobCall(r) {
					ranges = append(ranges, r.Header.Get("Range"))
				}
			}
			if c.ranges != nil && fmt.Sprintf("%q", ranges) != fmt.Sprintf("%q", c.ranges) {
				t.Errorf("ranges %q, want %q", ranges, c.ranges)
			}
			if n := count(s, tokenCall); n > 2 {
				t.Errorf("%d tokens", n)
			}
		})
	}
}

// refuseFirstToken makes the second call for a token give another one, and the registry take only that.
func refuseFirstToken() func(int, http.ResponseWriter, *http.Request, *objects.Service) bool {
	var calls atomic.Int32
	return func(_ int, w http.ResponseWriter, r *http.Request, _ *objects.Service) bool {
		_, password, _ := r.BasicAuth()
		switch {
		case tokenCall(r) && calls.Add(1) == 1:
			_, _ = fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"expiresAt":4e9}]}`, base64.StdEncoding.EncodeToString([]byte("AWS:stale")))
			return true
		case password == "stale":
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}
}

// TestLoginStaysHome: a registry sends blobs from elsewhere, which must not see the login. The resumed part as well.
func TestLoginStaysHome(t *testing.T) {
	model := modelBytes(modelSize)
	elsewhere := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			w = dropAfter(w, 100_000)
		}
		object(w, r, model, `"one"`)
	})
	bearer := false
	var host, ecrAuth string
	var service *objects.Service
	service, s, options := cloud(t, objects.Options{}, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		_, password, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/token" && password != "":
			_, _ = fmt.Fprint(w, `{"token":"PLANTEDTOKEN"}`)
			return true
		case bearer && !tokenCall(r) && r.Header.Get("Authorization") != "Bearer PLANTEDTOKEN":
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+host+`/token",service="r"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		case bearer && !tokenCall(r):
			token, err := base64.StdEncoding.DecodeString(ecrAuth)
			if err == nil {
				user, password, _ := strings.Cut(string(token), ":")
				r.SetBasicAuth(user, password)
			}
		}
		if blobCall(r) && r.Header.Get("Authorization") != "" {
			http.Redirect(w, r, elsewhere.URL+"/layer?"+secret, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	host = s.Listener.Addr().String()
	push(t, service, objects.File{Name: "m.onnx", Data: model})
	options.RootCAs.AddCert(elsewhere.Certificate())
	f := newFetcher(t, options)
	ref := reference(t, "oci://"+host+"/team/yolo:v1")
	password, err := f.ecr.get(t.Context(), f.mustEndpoint(t, ref), "")
	if err != nil {
		t.Fatal(err)
	}
	ecrAuth = base64.StdEncoding.EncodeToString([]byte("AWS:" + password))
	docker := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(docker, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, ecrAuth), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{"ecr", "basic", "bearer"} {
		t.Run(login, func(t *testing.T) {
			elsewhere.mu.Lock()
			elsewhere.requests = nil
			elsewhere.mu.Unlock()
			options := options
			bearer = login == "bearer"
			if login != "ecr" {
				options.ECRHosts, options.DockerConfig = nil, docker
			}
			dir := t.TempDir()
			result, err := newFetcher(t, options).Fetch(t.Context(), Request{Reference: ref, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			assertBlob(t, result, dir, model)
			asked := elsewhere.asked()
			if len(asked) != 2 || asked[1].Header.Get("Range") != "bytes=100000-299999" {
				t.Fatalf("%d requests elsewhere", len(asked))
			}
			for _, r := range asked {
				if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" {
					t.Errorf("the login went elsewhere: %v", r.Header)
				}
			}
		})
	}
}

func TestLoginFiles(t *testing.T) {
	service, s, options := cloud(t, objects.Options{}, nil)
	push(t, service, objects.File{Name: "m.onnx", Data: []byte("x")})
	host := s.Listener.Addr().String()
	options.ECRHosts = nil
	for name, c := range map[string]struct {
		text string
		want Code
	}{
		"none":           {"", CodeCredentials},
		"missing":        {"-", CodeCredentials},
		"no JSON":        {"PLANTED", CodeCredentials},
		"no base64":      {`{"auths":{"` + host + `":{"auth":"PLANTED%"}}}`, CodeCredentials},
		"other host":     {`{"auths":{"r.example":{"auth":"QVdTOlBMQU5URUQ="}}}`, CodeCredentials},
		"wrong password": {`{"auths":{"` + host + `":{"auth":"QVdTOlBMQU5URUQ="}}}`, CodeAccessDenied},
	} {
		t.Run(name, func(t *testing.T) {
			if c.text != "" {
				options.DockerConfig = filepath.Join(t.TempDir(), "config.json")
			}
			if len(c.text) > 1 {
				if err := os.WriteFile(options.DockerConfig, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := newFetcher(t, options).Resolve(t.Context(), reference(t, "oci://"+host+"/team/yolo:v1"))
			assertCode(t, err, c.want)
			options.DockerConfig = ""
		})
	}
}
