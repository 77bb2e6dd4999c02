package artifact

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
)

// signatureSuffix is added to the name of a file for the name of its signature.
const signatureSuffix = ".sig"

// verifyFile checks the signature of a file: the one that came with the request, or else the one beside the file.
func (f *Fetcher) verifyFile(ctx context.Context, root *os.Root, r Request, src source, d *download) error {
	if len(f.opts.Policy.Keys) == 0 {
		return nil
	}
	signature := r.Signature
	if strings.TrimSpace(signature) == "" {
		var err error
		if signature, err = f.findSignature(ctx, r.Reference, src); err != nil {
			return err
		}
	}
	return f.verify(root, d.name, d.want, signature)
}

// findSignature looks beside the file; an empty result says that there is none. Who may not list a bucket is told
// "forbidden" instead of "not found", so that counts as none as well.
func (f *Fetcher) findSignature(ctx context.Context, r Reference, src source) (string, error) {
	what, beside := r.Public()+signatureSuffix, f.besideSource(r, src)
	var found []byte
	err := f.retry(ctx, what, func(ctx context.Context, _ *watchdog) (bool, error) {
		var err error
		found, err = readAll(ctx, what, beside, maxSignature+1)
		return false, err
	})
	var e *Error
	if errors.As(err, &e) && (e.Code == CodeNotFound || e.Code == CodeAccessDenied || e.Code == CodeURLExpired) {
		return "", nil
	}
	return string(found), err
}

// besideSource reads the signature beside a file. The query of an https reference is dropped: a presigned URL is for one
// object only. The signature of an S3 version is the newest one, because versions of two objects have nothing in common.
func (f *Fetcher) besideSource(r Reference, src source) source {
	switch src := src.(type) {
	case *s3Source:
		beside := *src
		beside.ref.Key += signatureSuffix
		beside.ref.VersionID = ""
		return &beside
	case fileSource:
		return fileSource{src.path + signatureSuffix}
	}
	beside := r.Public() + signatureSuffix
	return &httpSource{client: f.guarded, url: beside, what: beside}
}

// verifyManifest checks what can be checked before the layers are fetched: the signature that came with the request,
// which is over the manifest's bytes, or else that a layer has one.
//
// A signature on a layer counts only when the model is exactly that layer. Otherwise somebody without a key could make
// a new model of layers that were each signed for another one: old weights with new labels, for example.
func (f *Fetcher) verifyManifest(root *os.Root, r Request, file string, ref Reference, layers []layer) error {
	if len(f.opts.Policy.Keys) == 0 {
		return nil
	}
	if strings.TrimSpace(r.Signature) != "" {
		return f.verify(root, file, strings.TrimPrefix(ref.Digest, "sha256:"), r.Signature)
	}
	if len(layers) != 1 {
		return fail(CodeSignatureMissing, "the model has %d layers, so the manifest has to be signed, and this device takes signed models "+
			"only; put the signature over the manifest's bytes beside the reference", len(layers))
	}
	if layers[0].Annotations[signatureAnnotation] == "" {
		return fail(CodeSignatureMissing, "the model has no signature, and this device takes signed models only; put one over the manifest's "+
			"bytes beside the reference, or one over the layer's bytes into its annotation %s", signatureAnnotation)
	}
	return nil
}

// verifyLayer checks the signature of the only layer, unless that of the manifest has been checked.
func (f *Fetcher) verifyLayer(root *os.Root, r Request, layers []layer) error {
	if len(f.opts.Policy.Keys) == 0 || strings.TrimSpace(r.Signature) != "" {
		return nil
	}
	want := strings.TrimPrefix(layers[0].Digest.String(), "sha256:")
	return f.verify(root, "blob-"+want, want, layers[0].Annotations[signatureAnnotation])
}

// verify checks a signature over a file whose SHA-256 was computed just now.
func (f *Fetcher) verify(root *os.Root, name, sum, signature string) error {
	raw, err := hex.DecodeString(sum)
	if err != nil {
		return fail(CodeBadReference, "the sha256 of the model is not hexadecimal")
	}
	return f.opts.Policy.Verify(root, name, [32]byte(raw), signature)
}

// readAll reads a small object.
func readAll(ctx context.Context, what string, src source, limit int64) ([]byte, error) {
	a, err := src.open(ctx, mark{})
	if err != nil {
		return nil, err
	}
	defer a.body.Close()
	data, err := io.ReadAll(io.LimitReader(a.body, limit))
	if err != nil {
		return nil, netError(what, err)
	}
	return data, nil
}
