package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"gnomon/devcloud/objects"
)

// Media types of what push-model --registry makes.
const (
	artifactMedia = "application/vnd.gnomon.model"
	archiveMedia  = "application/vnd.gnomon.model.v1.tar"
)

func pushCommand(f *cloudFlags) *cobra.Command {
	var o packOptions
	var registry bool
	c := &cobra.Command{
		Use:   "push-model MODEL",
		Short: "Pack a model and put it into devcloud's bucket or registry",
		Long: "Pack a model as gnomon models pack does, upload it under its digest, and print the reference that deploy takes.\n" +
			"\"default\" is the model inside the binary.",
		Example: "  gnomon devcloud push-model yolo11n.onnx --release 2\n  gnomon devcloud push-model default --registry",
		Args:    exactly(1, "one model file, or default"),
		RunE: func(c *cobra.Command, args []string) error {
			o.model = args[0]
			p, err := packModel(o)
			if err != nil {
				return err
			}
			a, err := newCloudAdmin(f)
			if err != nil {
				return err
			}
			push := a.pushObject
			if registry {
				push = a.pushArtifact
			}
			ref, err := push(c.Context(), p)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), ref)
			return err
		},
	}
	o.register(c)
	c.Flags().BoolVar(&registry, "registry", false, "into the registry instead of the bucket")
	return c
}

// pushObject uploads a pack to the bucket. The key holds the digest, so that a reference says all that deploy needs.
func (a *cloudAdmin) pushObject(ctx context.Context, p *pack) (string, error) {
	key := fmt.Sprintf("%s/%s.tar", safeName(p.Name), p.SHA256)
	if _, err := a.call(ctx, "s3", http.MethodPut, "/"+objects.ModelBucket+"/"+key, "", p.Tar); err != nil {
		return "", fmt.Errorf("upload the model: %w", err)
	}
	return "s3://" + objects.ModelBucket + "/" + key, nil
}

// pushArtifact uploads a pack to the registry as an OCI 1.1 artefact of one layer.
func (a *cloudAdmin) pushArtifact(ctx context.Context, p *pack) (string, error) {
	user, password, err := a.registryLogin(ctx)
	if err != nil {
		return "", err
	}
	host := strings.TrimPrefix(a.at.HTTPS, "https://")
	name := "models/" + safeName(p.Name)
	body, err := json.Marshal(map[string]string{"repositoryName": name})
	if err != nil {
		return "", err
	}
	_, err = a.call(ctx, "ecr", http.MethodPost, "/", "AmazonEC2ContainerRegistry_V20150921.CreateRepository", body)
	var refused *adminError
	if err != nil && !(errors.As(err, &refused) && strings.Contains(refused.text, "RepositoryAlreadyExists")) {
		return "", err
	}
	repo, err := remote.NewRepository(host + "/" + name)
	if err != nil {
		return "", fmt.Errorf("open the repository: %w", err)
	}
	repo.Client = &auth.Client{Client: a.client, Credential: auth.StaticCredential(host, auth.Credential{Username: user, Password: password})}
	layer := ocispec.Descriptor{
		MediaType: archiveMedia, Digest: digest.FromBytes(p.Tar), Size: int64(len(p.Tar)),
		Annotations: map[string]string{ocispec.AnnotationTitle: p.Name + ".tar"},
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactMedia,
		Config: ocispec.DescriptorEmptyJSON, Layers: []ocispec.Descriptor{layer},
	}
	data, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	manifest := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	for _, blob := range []struct {
		d    ocispec.Descriptor
		data []byte
	}{{layer, p.Tar}, {ocispec.DescriptorEmptyJSON, ocispec.DescriptorEmptyJSON.Data}, {manifest, data}} {
		if err := repo.Push(ctx, blob.d, bytes.NewReader(blob.data)); err != nil {
			return "", fmt.Errorf("push to the registry: %w", err)
		}
	}
	return fmt.Sprintf("oci://%s/%s@%s", host, name, manifest.Digest), nil
}

// safeName is a model's name as buckets and registries take it.
func safeName(name string) string {
	out := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name), "-")
	for strings.Contains(out, "--") {
		out = strings.ReplaceAll(out, "--", "-")
	}
	if out == "" {
		return "model"
	}
	return out
}
