package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path"
	"strings"

	"oras.land/oras-go/v2/registry/remote"
)

// fetchOCI fetches the layers of a model. The version is identified by the manifest that the reference names, which has
// the digests of all that follows from it, also where it is an index.
func (f *Fetcher) fetchOCI(ctx context.Context, root *os.Root, r Request, report *progress) (Result, error) {
	ref := r.Reference
	switch {
	case ref.Digest == "" && r.SHA256 != "":
		ref.Tag, ref.Digest = "", "sha256:"+r.SHA256
	case ref.Digest == "":
		var err error
		if ref, err = f.resolveTag(ctx, ref); err != nil {
			return Result{}, err
		}
	}
	repository, err := f.repository(ref)
	if err != nil {
		return Result{}, err
	}
	m, file, err := f.modelManifest(ctx, root, repository, ref)
	if err != nil {
		return Result{}, err
	}
	layers, err := m.usable()
	if err != nil {
		return Result{}, err
	}
	if err := f.verifyManifest(root, r, file, ref, layers); err != nil {
		return Result{}, err
	}
	result := Result{SHA256: strings.TrimPrefix(ref.Digest, "sha256:"), Reference: ref}
	result.Blobs, err = f.fetchLayers(ctx, root, repository, ref, layers, report)
	if err != nil {
		return Result{}, err
	}
	return result, f.verifyLayer(root, r, layers)
}

// modelManifest gets the manifest with the layers, through an index if need be, and the name of the file with the one
// that ref names.
func (f *Fetcher) modelManifest(ctx context.Context, root *os.Root, repository *remote.Repository, ref Reference) (manifest, string, error) {
	m, file, err := f.manifest(ctx, root, repository, ref)
	if err != nil || !m.index() {
		return m, file, err
	}
	chosen, err := m.only()
	if err != nil {
		return m, "", err
	}
	child := ref
	child.Digest = chosen.Digest.String()
	if m, _, err = f.manifest(ctx, root, repository, child); err == nil && m.index() {
		err = fail(CodeManifestUnsupported, "%s is an index of indexes; announce one manifest by its digest", ref.Public())
	}
	return m, file, err
}

// manifest gets a manifest, from an earlier Fetch or from the registry, and leaves it in root under the name it returns.
func (f *Fetcher) manifest(ctx context.Context, root *os.Root, repository *remote.Repository, ref Reference) (manifest, string, error) {
	want := strings.TrimPrefix(ref.Digest, "sha256:")
	name := "manifest-" + want
	if mediaType, data, ok := savedManifest(root, name, want); ok {
		m, err := parseManifest(data, mediaType)
		return m, name, err
	}
	data, mediaType, err := f.fetchManifest(ctx, repository, ref)
	if err != nil {
		return manifest{}, "", err
	}
	m, err := parseManifest(data, mediaType)
	if err != nil {
		return manifest{}, "", err
	}
	if err := space(root, int64(len(data)), f.opts.Limits.KeepFree); err != nil {
		return manifest{}, "", err
	}
	for file, text := range map[string][]byte{name: data, name + ".type": []byte(mediaType)} {
		if err := writeFile(root, file, text); err != nil {
			return manifest{}, "", diskError("write "+file, err)
		}
	}
	return m, name, nil
}

// savedManifest is what an earlier Fetch left, if it is whole: then a download goes on without asking for it again.
func savedManifest(root *os.Root, name, want string) (mediaType string, data []byte, ok bool) {
	read := func(name string) []byte {
		file, err := openRegular(root, name, os.O_RDONLY)
		if err != nil {
			return nil
		}
		defer file.Close()
		data, err := io.ReadAll(io.LimitReader(file, maxManifest+1))
		if err != nil {
			return nil
		}
		return data
	}
	data = read(name)
	sum := sha256.Sum256(data)
	kind := read(name + ".type")
	return string(kind), data, len(kind) > 0 && hex.EncodeToString(sum[:]) == want
}

// fetchLayers fetches one layer after the other: the network of a device is not faster with several.
func (f *Fetcher) fetchLayers(ctx context.Context, root *os.Root, repository *remote.Repository, ref Reference,
	layers []layer, report *progress,
) ([]Blob, error) {
	var total int64
	for _, l := range layers {
		if total += l.Size; total > f.opts.Limits.MaxBytes || total < 0 {
			return nil, fail(CodeTooLarge, "%s has more than the %d bytes that this device takes; raise the limit or make it smaller",
				ref.Public(), f.opts.Limits.MaxBytes)
		}
	}
	report.whole, report.fixed = total, true
	if missing := total - present(root, layers); missing > 0 {
		if err := space(root, missing, f.opts.Limits.KeepFree); err != nil {
			return nil, err
		}
	}
	var blobs []Blob
	for _, l := range layers {
		want := strings.TrimPrefix(l.Digest.String(), "sha256:")
		d := f.newDownload(root, "a layer of "+ref.Public(), blobSource(repository, ref, l), want, report)
		d.size, d.fixed = l.Size, true
		if err := d.run(ctx); err != nil {
			return nil, err
		}
		blobs = append(blobs, Blob{
			Name: l.name, Path: path.Join(root.Name(), d.name), MediaType: l.MediaType, Size: d.have, SHA256: want,
		})
	}
	return blobs, nil
}

// present counts bytes of the layers that are on disk, whole or in part.
func present(root *os.Root, layers []layer) int64 {
	var n int64
	for _, l := range layers {
		name := "blob-" + strings.TrimPrefix(l.Digest.String(), "sha256:")
		for _, file := range []string{name, name + ".part"} {
			if info, err := root.Lstat(file); err == nil {
				n += min(info.Size(), l.Size)
				break
			}
		}
	}
	return n
}
