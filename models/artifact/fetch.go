package artifact

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// progressEvery is the least time between two calls of Request.Progress: quick enough for a person who watches.
const progressEvery = 200 * time.Millisecond

// Request says what to fetch, and where to.
type Request struct {
	Reference Reference

	// SHA256, in hexadecimal, is of the file's bytes, and needed for s3, https and file. For oci it is that of the
	// manifest, and may be empty; then whatever the tag names now is taken.
	SHA256 string

	// Signature is the detached base64 signature that came with the reference, over the file's bytes, for oci over
	// the manifest's. May be empty; then it is looked for beside the file. Unused while the policy has no keys.
	Signature string

	// Dir is an existing private directory. Partial files and a small journal live in it and survive restarts. No
	// other Fetch may use it at the same time.
	Dir string

	// Progress may be nil. It is called on the goroutine of Fetch, at most about every 200 ms and at the end, with
	// bytes of all files together, those of an earlier attempt included; total is -1 while unknown. done
	// becomes less when a file has to be fetched from its beginning.
	Progress func(done, total int64)
}

// Blob is one verified file.
type Blob struct {
	Name      string // a safe file name, from the title in the manifest or the end of the reference; may repeat
	Path      string // absolute, in Request.Dir; two blobs with the same bytes share it
	MediaType string // of the layer; empty for other references
	Size      int64
	SHA256    string // hexadecimal
}

// Result is what Fetch brought.
type Result struct {
	SHA256    string    // identifies the version: of the file, or of the oci manifest
	Reference Reference // pinned: an oci tag became a digest; s3 has its version where the service gave one
	Blobs     []Blob    // one, except for oci: those layers that make up a model
}

// Fetch brings what a reference names to r.Dir and verifies digests and signature. Temporary trouble is tried again, up
// to 5 times without a new byte. After an error, a kill or a crash the next call with the same digest and directory goes
// on where this one ended; what turned out to be wrong is deleted. Every error has an [*Error] in
// its chain.
func (f *Fetcher) Fetch(ctx context.Context, r Request) (Result, error) {
	var none Result
	if err := f.opts.Policy.Allows(r.Reference); err != nil {
		return none, err
	}
	r.SHA256 = strings.ToLower(r.SHA256)
	if err := r.check(); err != nil {
		return none, err
	}
	root, err := openDir(r.Dir)
	if err != nil {
		return none, wrap(CodeDiskError, "open the directory for the download", err)
	}
	defer root.Close()
	ctx, cancel := context.WithTimeout(ctx, f.opts.Limits.Timeout)
	defer cancel()
	report := newProgress(r.Progress)
	var result Result
	if r.Reference.Scheme == SchemeOCI {
		result, err = f.fetchOCI(ctx, root, r, report)
	} else {
		result, err = f.fetchFile(ctx, root, r, report)
	}
	if err != nil {
		return none, ended(ctx, err)
	}
	report.last()
	return result, nil
}

// Resolve pins the tag of an oci reference to the digest it has now; other references come back as they are. It asks
// for headers only.
func (f *Fetcher) Resolve(ctx context.Context, r Reference) (Reference, error) {
	if err := f.opts.Policy.Allows(r); err != nil {
		return Reference{}, err
	}
	if r.Scheme != SchemeOCI || r.Digest != "" {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.opts.Limits.Timeout)
	defer cancel()
	pinned, err := f.resolveTag(ctx, r)
	if err != nil {
		return Reference{}, ended(ctx, err)
	}
	return pinned, nil
}

// openDir makes the path absolute, for Blob.Path.
func openDir(dir string) (*os.Root, error) {
	if dir == "" {
		return nil, errors.New("none was given")
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return os.OpenRoot(absolute)
}

func (r Request) check() error {
	digest := "sha256:" + r.SHA256
	known := newGrammar().digest.MatchString(digest)
	switch {
	case r.SHA256 != "" && !known:
		return fail(CodeBadReference, "the sha256 of the model is not 64 hexadecimal digits; write what sha256sum prints")
	case r.SHA256 == "" && r.Reference.Scheme != SchemeOCI:
		return fail(CodeBadReference, "a model from %s needs its sha256 beside the reference; write what sha256sum prints", r.Reference.Scheme)
	case r.SHA256 != "" && r.Reference.Digest != "" && r.Reference.Digest != digest:
		return fail(CodeBadReference, "the digest in the oci reference and the sha256 beside it differ; leave one of them out")
	}
	return nil
}

// fetchFile fetches the one file of a reference that is not oci.
func (f *Fetcher) fetchFile(ctx context.Context, root *os.Root, r Request, report *progress) (Result, error) {
	src, err := f.source(r.Reference)
	if err != nil {
		return Result{}, err
	}
	d := f.newDownload(root, r.Reference.Public(), src, r.SHA256, report)
	if err := d.run(ctx); err != nil {
		return Result{}, err
	}
	if err := f.verifyFile(ctx, root, r, src, d); err != nil {
		return Result{}, err
	}
	result := Result{SHA256: r.SHA256, Reference: r.Reference, Blobs: []Blob{{
		Name: safeName(path.Base(r.Reference.location()), "model"), Path: path.Join(root.Name(), d.name),
		Size: d.have, SHA256: r.SHA256,
	}}}
	if r.Reference.Scheme == SchemeS3 && r.Reference.VersionID == "" {
		result.Reference.VersionID = d.journal.Version
	}
	return result, nil
}

// source is what reads the reference.
func (f *Fetcher) source(r Reference) (source, error) {
	switch r.Scheme {
	case SchemeS3:
		return f.newS3Source(r)
	case SchemeHTTPS:
		return &httpSource{client: f.guarded, url: r.URL, what: r.Public()}, nil
	case SchemeFile:
		return fileSource{r.Path}, nil
	}
	return nil, fail(CodeBadReference, "the model reference is empty; make it with ParseReference")
}

// location is the path that the reference ends in.
func (r Reference) location() string {
	switch r.Scheme {
	case SchemeS3:
		return r.Key
	case SchemeFile:
		return r.Path
	}
	if u, err := url.Parse(r.URL); err == nil {
		return u.Path
	}
	return ""
}

// maxName bounds the names of blobs in bytes; file systems take 255, and somebody may add to them.
const maxName = 128

// safeName makes a file name of what came from outside: its last path element, with everything but letters, digits and
// . _ + - replaced, and no dot at the beginning.
func safeName(name, otherwise string) string {
	name = path.Base(strings.ReplaceAll(name, "\\", "/"))
	name = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._+-", c) {
			return c
		}
		return '_'
	}, name)
	name = strings.TrimLeft(name, ".")
	if len(name) > maxName { // the end says what kind it is
		name = name[len(name)-maxName:]
	}
	if strings.Trim(name, "_") == "" {
		return otherwise
	}
	return name
}

// ended gives an error that came from the end of ctx its right code: what the network said then is beside the point.
func ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || !again(err) {
		return err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return wrap(CodeTimeout, "the download took too long; what arrived is kept, and it goes on from there next time", ctx.Err())
	}
	return wrap(CodeCancelled, "the download was stopped; what arrived is kept", ctx.Err())
}
