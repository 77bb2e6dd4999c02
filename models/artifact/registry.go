package artifact

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"

	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// maxManifest bounds a manifest in bytes: what the OCI distribution specification asks registries to take.
const maxManifest = 4 << 20

// repository is the client for one repository. The manifests are the library's business, the blobs are not: it cannot go
// on in the middle of one.
func (f *Fetcher) repository(r Reference) (*remote.Repository, error) {
	client := &auth.Client{Client: f.guarded, Cache: f.logins, Credential: f.login}
	if f.opts.AllowPrivate {
		client.BlockedRealmPrefixes = []netip.Prefix{}
	}
	repository := &remote.Repository{
		Client: client, MaxMetadataBytes: maxManifest,
		Reference: registry.Reference{Registry: r.Registry, Repository: r.Repository},
	}
	if endpoint, ok := f.ecrEndpoint(r.Registry); ok {
		if err := f.configured("ECR"); err != nil {
			return nil, err
		}
		repository.Client = &ecrClient{client: client, tokens: f.ecr, endpoint: endpoint}
	}
	return repository, nil
}

// login finds the login for a registry in the Docker credential file.
func (f *Fetcher) login(ctx context.Context, host string) (auth.Credential, error) {
	name := f.opts.DockerConfig
	if name == "" {
		return auth.EmptyCredential, nil
	}
	if _, err := os.Stat(name); err != nil { // the library takes a missing file for an empty one
		return auth.EmptyCredential, wrap(CodeCredentials, "read the Docker credential file", err)
	}
	store, err := credentials.NewFileStore(name)
	if err != nil { // without the text, which may quote the file
		return auth.EmptyCredential, fail(CodeCredentials, "%s is no Docker credential file; make it with `docker login`", name)
	}
	found, err := store.Get(ctx, credentials.ServerAddressFromHostname(host))
	if err != nil {
		return auth.EmptyCredential, fail(CodeCredentials, "%s has a login for %s that cannot be read; run `docker login` again", name, host)
	}
	return found, nil
}

// ecrClient logs in with a token of ECR. The Authorization header does not follow a redirect to another origin; the
// library's client sees to that whoever set it.
type ecrClient struct {
	client   *auth.Client
	tokens   *ecrTokens
	endpoint ecrEndpoint
}

// Do implements remote.Client for requests without a body. A token that is refused is replaced once.
func (c *ecrClient) Do(r *http.Request) (*http.Response, error) {
	refused := ""
	for {
		password, err := c.tokens.get(r.Context(), c.endpoint, refused)
		if err != nil {
			return nil, err
		}
		try := r.Clone(r.Context())
		try.SetBasicAuth("AWS", password)
		resp, err := c.client.Do(try)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || refused != "" {
			return resp, err
		}
		resp.Body.Close() //nolint:errcheck // it was only read
		refused = password
	}
}

// resolveTag asks what a tag names now.
func (f *Fetcher) resolveTag(ctx context.Context, r Reference) (Reference, error) {
	repository, err := f.repository(r)
	if err != nil {
		return Reference{}, err
	}
	err = f.retry(ctx, r.Public(), func(ctx context.Context, _ *watchdog) (bool, error) {
		found, err := repository.Resolve(ctx, r.Tag)
		if err != nil {
			return false, registryError(r.Public(), err)
		}
		if !newGrammar().digest.MatchString(found.Digest.String()) {
			return false, fail(CodeManifestUnsupported, "%s has the digest %.80q; push it with a SHA-256 digest", r.Public(), found.Digest)
		}
		r.Tag, r.Digest = "", found.Digest.String()
		return false, nil
	})
	return r, err
}

// fetchManifest gets the manifest with the digest of r; its bytes have that digest.
func (f *Fetcher) fetchManifest(ctx context.Context, repository *remote.Repository, r Reference) (data []byte, mediaType string, err error) {
	err = f.retry(ctx, r.Public(), func(ctx context.Context, _ *watchdog) (bool, error) {
		descriptor, body, err := repository.FetchReference(ctx, r.Digest)
		if err != nil {
			return false, registryError(r.Public(), err)
		}
		defer body.Close()
		if descriptor.Size > maxManifest {
			return false, fail(CodeManifestUnsupported, "the manifest of %s has %d bytes; at most %d are taken", r.Public(), descriptor.Size, maxManifest)
		}
		data, err = content.ReadAll(body, descriptor)
		mediaType = descriptor.MediaType
		if errors.Is(err, content.ErrMismatchedDigest) {
			return false, fail(CodeDigestMismatch, "the manifest of %s does not have the digest that it was asked for by", r.Public())
		}
		if err != nil {
			return false, registryError(r.Public(), err)
		}
		return false, nil
	})
	return data, mediaType, err
}

// registryError gives an error of the library its code. Its text may hold the URL of a redirect.
func registryError(what string, err error) error {
	var own *Error
	var answered *errcode.ErrorResponse
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, errdef.ErrNotFound):
		return statusError(what, http.StatusNotFound, "")
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return fail(CodeCredentials, "%s: the registry wants a login and this device has none for it; add one to its Docker credential file", what)
	case errors.As(err, &answered):
		said := what
		if len(answered.Errors) > 0 {
			said += " (" + withoutQueries(answered.Errors.Error()) + ")"
		}
		return statusError(said, answered.StatusCode, "")
	}
	var exchange *url.Error
	var network net.Error
	if errors.As(err, &exchange) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) {
		return netError(what, err)
	}
	return fail(CodeBadAnswer, "%s: %s; check that this is a registry", what, withoutQueries(err.Error()))
}

// blobSource reads a layer. Its digest is in the URL, so going on in the middle needs no ETag.
func blobSource(repository *remote.Repository, r Reference, l layer) source {
	return &loginScope{repository.Reference, &httpSource{
		client: repository.Client, fixed: true, size: l.Size, what: "a layer of " + r.Public(),
		url: "https://" + r.Registry + "/v2/" + r.Repository + "/blobs/" + l.Digest.String(),
	}}
}

// loginScope tells the login what the request will want to do, which saves it one that is refused.
type loginScope struct {
	repository registry.Reference
	source     *httpSource
}

func (s *loginScope) open(ctx context.Context, m mark) (*answer, error) {
	return s.source.open(auth.AppendRepositoryScope(ctx, s.repository, auth.ActionPull), m)
}
