package artifact

import (
	"encoding/json"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxLayers is what container engines take.
	maxLayers = 127

	// signatureAnnotation on a layer is a signature over that layer's bytes.
	signatureAnnotation = "dev.gnomon.signature"

	// The kinds of manifest beside those of ocispec: Docker's (image manifest version 2, schema 2) and the OCI
	// artefact manifest, which 1.1 dropped in the end but registries hold.
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	artifactManifest   = "application/vnd.oci.artifact.manifest.v1+json"
)

// manifest is an image manifest, an artefact manifest or an index; which one, kind says.
type manifest struct {
	MediaType string               `json:"mediaType"`
	Layers    []ocispec.Descriptor `json:"layers"`    // image
	Blobs     []ocispec.Descriptor `json:"blobs"`     // artefact
	Manifests []ocispec.Descriptor `json:"manifests"` // index
}

// parseManifest reads a manifest that was served as mediaType. One that could be read as two kinds is refused, because
// signature and digest would then not say what is installed.
func parseManifest(data []byte, mediaType string) (manifest, error) {
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fail(CodeManifestUnsupported, "the manifest is not JSON of the expected kind: %w", err)
	}
	if m.MediaType == "" {
		m.MediaType = mediaType
	}
	kinds := 0
	for _, list := range [][]ocispec.Descriptor{m.Layers, m.Blobs, m.Manifests} {
		if len(list) > maxLayers {
			return m, fail(CodeManifestUnsupported, "the manifest lists %d parts; at most %d are taken", len(list), maxLayers)
		}
		if len(list) > 0 {
			kinds++
		}
		for _, d := range list {
			if !newGrammar().digest.MatchString(d.Digest.String()) || d.Size < 0 {
				return m, fail(CodeManifestUnsupported, "the manifest has a part without a SHA-256 digest and size; push it again")
			}
		}
	}
	if m.MediaType != mediaType || kinds > 1 {
		return m, fail(CodeManifestUnsupported, "the manifest calls itself %.100q, was served as %.100q and has %d kinds of lists; push it again",
			m.MediaType, mediaType, kinds)
	}
	switch m.MediaType {
	case ocispec.MediaTypeImageManifest, dockerManifest:
		m.Blobs, m.Manifests = nil, nil
	case artifactManifest:
		m.Layers, m.Manifests = m.Blobs, nil
	case ocispec.MediaTypeImageIndex, dockerManifestList:
		m.Layers = nil
	default:
		return m, fail(CodeManifestUnsupported, "a manifest of type %.100q is not taken; push an OCI artefact or an image", m.MediaType)
	}
	return m, nil
}

func (m manifest) index() bool {
	return m.MediaType == ocispec.MediaTypeImageIndex || m.MediaType == dockerManifestList
}

// only chooses from an index: a model is for no platform in particular, so it is the one manifest that names none, or
// the only one. Attestations that build tools add are left out.
func (m manifest) only() (ocispec.Descriptor, error) {
	var all, free []ocispec.Descriptor
	for _, d := range m.Manifests {
		if d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" {
			continue
		}
		all = append(all, d)
		if d.Platform == nil || d.Platform.OS == "" && d.Platform.Architecture == "" {
			free = append(free, d)
		}
	}
	switch {
	case len(free) == 1:
		return free[0], nil
	case len(all) == 1:
		return all[0], nil
	}
	return ocispec.Descriptor{}, fail(CodeManifestUnsupported,
		"the reference is an index of %d manifests, %d of them for no platform; announce one manifest by its digest", len(all), len(free))
}

// layer is one part of a model.
type layer struct {
	ocispec.Descriptor
	name string
}

// usable returns the layers that make up a model: those with a title, because whoever pushed them meant files, those
// whose media type says ONNX, YAML, labels or a tar archive, and with that the layers of an ordinary image.
func (m manifest) usable() ([]layer, error) {
	var layers []layer
	for i, d := range m.Layers {
		otherwise, ok := nameByType(d.MediaType, i)
		title := d.Annotations[ocispec.AnnotationTitle]
		if title == "" && !ok {
			continue
		}
		layers = append(layers, layer{d, safeName(title, otherwise)})
	}
	if len(layers) == 0 {
		return nil, fail(CodeManifestUnsupported, "none of the %d layers is a model; push the file with its name, for example with `oras push`", len(m.Layers))
	}
	return layers, nil
}

// nameByType names a layer without a title.
func nameByType(mediaType string, i int) (string, bool) {
	t, _, _ := strings.Cut(strings.ToLower(mediaType), ";")
	switch {
	case strings.Contains(t, "onnx"):
		return "model.onnx", true
	case strings.Contains(t, "yaml"):
		return "manifest.yaml", true
	case strings.Contains(t, "labels"):
		return "labels.txt", true
	case !strings.Contains(t, "tar"):
		return fmt.Sprintf("layer-%d", i+1), false
	case strings.HasSuffix(t, "gzip"), strings.HasSuffix(t, ".gz"):
		return fmt.Sprintf("layer-%d.tar.gz", i+1), true
	case strings.HasSuffix(t, "zstd"), strings.HasSuffix(t, ".zst"):
		return fmt.Sprintf("layer-%d.tar.zst", i+1), true
	}
	return fmt.Sprintf("layer-%d.tar", i+1), strings.HasSuffix(t, "tar")
}
