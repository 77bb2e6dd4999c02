package objects

import (
	"bytes"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3afero"
	"github.com/spf13/afero"
)

// maxObject bounds one PUT: gofakes3 holds the parts of an upload in memory, and models are far smaller.
const maxObject = 512 << 20

// backend refuses names that would mean another place on disk, before the file backend sees them: whichever request
// they come in, be it a path, a header or the XML of a bulk delete.
type backend struct{ *s3afero.MultiBucketBackend }

func checkKey(key string) error {
	for part := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "\\\x00") {
			return gofakes3.ErrorMessage(gofakes3.ErrInvalidArgument,
				"the key must not have empty parts, . or .. between slashes, backslashes or NUL")
		}
	}
	return nil
}

func checkObject(bucket, key string) error {
	return errors.Join(gofakes3.ValidateBucketName(bucket), checkKey(key))
}

// BucketExists says no for names that no bucket can have.
func (b *backend) BucketExists(name string) (bool, error) {
	if gofakes3.ValidateBucketName(name) != nil {
		return false, nil //nolint:nilerr // the question was whether there is one
	}
	return b.MultiBucketBackend.BucketExists(name)
}

// HeadObject is the backend's, with the names checked.
func (b *backend) HeadObject(bucket, key string) (*gofakes3.Object, error) {
	if checkObject(bucket, key) != nil {
		return nil, gofakes3.KeyNotFound(key)
	}
	return b.MultiBucketBackend.HeadObject(bucket, key)
}

// GetObject is the backend's, with the names checked.
func (b *backend) GetObject(bucket, key string, r *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	if checkObject(bucket, key) != nil {
		return nil, gofakes3.KeyNotFound(key)
	}
	return b.MultiBucketBackend.GetObject(bucket, key, r)
}

// PutObject is the backend's, with the names checked.
func (b *backend) PutObject(bucket, key string, meta map[string]string, in io.Reader, size int64,
	conditions *gofakes3.PutConditions,
) (gofakes3.PutObjectResult, error) {
	if checkObject(bucket, key) != nil {
		return gofakes3.PutObjectResult{}, gofakes3.ErrInvalidArgument
	}
	return b.MultiBucketBackend.PutObject(bucket, key, meta, in, size, conditions)
}

// CopyObject is the backend's, with the names checked.
func (b *backend) CopyObject(fromBucket, fromKey, bucket, key string, meta map[string]string,
) (gofakes3.CopyObjectResult, error) {
	if errors.Join(checkObject(fromBucket, fromKey), checkObject(bucket, key)) != nil {
		return gofakes3.CopyObjectResult{}, gofakes3.ErrInvalidArgument
	}
	return b.MultiBucketBackend.CopyObject(fromBucket, fromKey, bucket, key, meta)
}

// DeleteObject is the backend's, with the names checked.
func (b *backend) DeleteObject(bucket, key string) (gofakes3.ObjectDeleteResult, error) {
	if checkObject(bucket, key) != nil {
		return gofakes3.ObjectDeleteResult{}, gofakes3.ErrInvalidArgument
	}
	return b.MultiBucketBackend.DeleteObject(bucket, key)
}

// DeleteMulti is the backend's, with the names checked.
func (b *backend) DeleteMulti(bucket string, keys ...string) (gofakes3.MultiDeleteResult, error) {
	for _, key := range keys {
		if checkObject(bucket, key) != nil {
			return gofakes3.MultiDeleteResult{}, gofakes3.ErrInvalidArgument
		}
	}
	return b.MultiBucketBackend.DeleteMulti(bucket, keys...)
}

func (s *Service) openS3() error {
	files, err := s3afero.MultiBucket(afero.NewBasePathFs(afero.NewOsFs(), filepath.Join(s.options.Dir, "s3")))
	if err != nil {
		return fmt.Errorf("open the buckets; check the permissions of the state directory: %w", err)
	}
	s.store = &backend{files}
	// No limit on the clock's difference: a board without a clock is what this is used to try out, and whether the
	// signature is still valid is Authorize's business.
	s.s3 = gofakes3.New(s.store, gofakes3.WithTimeSkewLimit(0)).Server()
	return s.CreateBucket(ModelBucket)
}

// CreateBucket makes a bucket; one that exists is left alone.
func (s *Service) CreateBucket(bucket string) error {
	if s.closed.Load() {
		return ErrClosed
	}
	if err := gofakes3.ValidateBucketName(bucket); err != nil {
		return fmt.Errorf("bucket %q: %w", bucket, err)
	}
	if exists, err := s.store.BucketExists(bucket); err != nil || exists {
		return err
	}
	return s.store.CreateBucket(bucket)
}

// PutObject stores an object as an upload would. The body goes through a file, as its length must be known.
func (s *Service) PutObject(bucket, key string, body io.Reader) error {
	if s.closed.Load() {
		return ErrClosed
	}
	if err := checkObject(bucket, key); err != nil {
		return fmt.Errorf("object %q in bucket %q: %w", key, bucket, err)
	}
	f, err := os.CreateTemp(s.options.Dir, ".put-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a leftover is only a file too many
	defer f.Close()
	size, err := io.Copy(f, io.LimitReader(body, maxObject+1))
	if err != nil {
		return err
	}
	if size > maxObject {
		return fmt.Errorf("object %q is larger than %d bytes; split it", key, maxObject)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = s.store.PutObject(bucket, key, map[string]string{}, f, size, nil)
	return err
}

// serveS3 adds to gofakes3 what it lacks: If-Match on reads, and bodies in aws-chunked form with trailers.
func (s *Service) serveS3(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxObject)
	if want := r.Header.Get("If-Match"); want != "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		object, err := s.store.HeadObject(bucket, key)
		if err == nil && want != "*" && want != `"`+hex.EncodeToString(object.Hash)+`"` {
			xmlError(w, http.StatusPreconditionFailed, "PreconditionFailed",
				"At least one of the pre-conditions you specified did not hold")
			return
		}
	}
	if strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		size, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
		if err != nil || size < 0 || size > maxObject {
			xmlError(w, http.StatusBadRequest, "InvalidRequest", "X-Amz-Decoded-Content-Length is missing or not sensible")
			return
		}
		// All of it is decoded first: a damaged body must not become an object.
		data, err := decodeChunks(r.Body, size)
		if err != nil {
			xmlError(w, http.StatusBadRequest, "IncompleteBody", err.Error())
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), size
		r.Header.Set("Content-Length", strconv.FormatInt(size, 10))
		r.Header.Del("X-Amz-Content-Sha256")
		if r.Header.Get("Content-Encoding") == "aws-chunked" {
			r.Header.Del("Content-Encoding")
		}
	}
	s.s3.ServeHTTP(w, r)
}

func xmlError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct { // the client may have gone
		XMLName       xml.Name `xml:"Error"`
		Code, Message string
	}{Code: code, Message: message})
}
