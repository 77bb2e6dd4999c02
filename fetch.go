package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"gnomon/cloud"
	"gnomon/config"
	"gnomon/models"
	"gnomon/models/artifact"
	"gnomon/models/bundle"
	"gnomon/models/deploy"
	"gnomon/models/store"
)

// fetcher brings models from where the shadow says onto the disk: downloaded, verified, unpacked and understood
// (deploy.Source). Any goroutine may call its methods.
type fetcher struct {
	artifacts *artifact.Fetcher
	unpacked  int64 // bytes that a download may unpack to
}

const (
	// unpackFactor is how much larger than the largest download its files may be: weights shrink by a tenth, not to half.
	unpackFactor = 2
	// keepFree is what stays free on the disk, in bytes: a full one stops more than a deployment.
	keepFree = 256 << 20
)

// awsAccess is how all of the process reaches AWS: one client, and one instance of the device's credentials.
type awsAccess struct {
	client      *http.Client
	roots       *x509.CertPool
	credentials aws.CredentialsProvider // nil: none are configured
}

func newAWSAccess(cfg *config.Config, thing string, log *zap.Logger) (*awsAccess, error) {
	a := cfg.AWS
	var access awsAccess
	var err error
	if access.client, err = cloud.HTTPClient(a.CAFile); err != nil {
		return nil, usage("aws: %w", err)
	}
	if access.roots, err = cloud.Roots(a.CAFile); err != nil {
		return nil, usage("aws: %w", err)
	}
	if a.RoleAlias == "" {
		return &access, nil
	}
	access.credentials, err = cloud.NewCredentials(cloud.CredentialsOptions{
		Endpoint: a.CredentialsEndpoint, RoleAlias: a.RoleAlias, Thing: thing,
		CertFile: cfg.MQTT.CertFile, KeyFile: cfg.MQTT.KeyFile, CAFile: a.CAFile, Log: log,
	})
	if err != nil {
		return nil, usage("aws: %w", err)
	}
	return &access, nil
}

// config is for clients of AWS's services.
func (x *awsAccess) config(a config.AWS) aws.Config {
	c := aws.Config{Region: a.Region, HTTPClient: x.client, Credentials: x.credentials}
	if a.EndpointURL != "" {
		c.BaseEndpoint = aws.String(a.EndpointURL)
	}
	return c
}

// unpackDir is where the files of a version are unpacked to, inside the directory of its download.
const unpackDir = "files"

func newFetcher(cfg *config.Config, access *awsAccess, log *zap.Logger) (*fetcher, error) {
	m, a := cfg.Models, cfg.AWS
	o := artifact.Options{
		Policy: artifact.Policy{Allow: m.Allow}, DockerConfig: m.RegistryCredentials, ECRHosts: a.ECRRegistries,
		AllowPrivate: m.PrivateAddresses, Log: log,
		Limits: artifact.Limits{MaxBytes: int64(m.DownloadSize), Rate: int64(m.DownloadRate), Timeout: duration(m.DownloadTimeout)},
	}
	for _, path := range m.TrustedKeys {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, usage("models.trusted_keys: %w", err)
		}
		key, err := artifact.ParseKey(data)
		if err != nil {
			return nil, usage("models.trusted_keys: %s: %w", path, err)
		}
		o.Policy.Keys = append(o.Policy.Keys, key)
	}
	if err := o.Policy.Check(); err != nil {
		return nil, usage("models.allow: %w", err)
	}
	o.RootCAs, o.AWS = access.roots, access.config(a)
	f, err := artifact.New(o)
	if err != nil {
		return nil, usage("models: %w", err)
	}
	return &fetcher{f, unpackFactor * int64(m.DownloadSize)}, nil
}

// Resolve implements deploy.Source.
func (f *fetcher) Resolve(ctx context.Context, uri string) (string, error) {
	ref, err := artifact.ParseReference(uri)
	if err != nil {
		return "", err
	}
	pinned, err := f.artifacts.Resolve(ctx, ref)
	if err != nil {
		return "", err
	}
	return pinned.String(), nil
}

// Fetch implements deploy.Source.
func (f *fetcher) Fetch(ctx context.Context, r deploy.FetchRequest) (deploy.Fetched, error) {
	var none deploy.Fetched
	ref, err := artifact.ParseReference(r.URI)
	if err != nil {
		return none, err
	}
	got, err := f.artifacts.Fetch(ctx, artifact.Request{Reference: ref, SHA256: r.SHA256, Signature: r.Signature, Dir: r.Dir, Progress: r.Progress})
	if err != nil {
		return none, err
	}
	// A kill may have left half of it unpacked; unpacking again costs less than telling how far it came.
	dir := filepath.Join(r.Dir, unpackDir)
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return none, fmt.Errorf("make room to unpack the model: %w", err)
	}
	var sources []bundle.Source
	for _, b := range got.Blobs {
		sources = append(sources, bundle.Source{Name: b.Name, Path: b.Path})
	}
	c, err := bundle.Unpack(ctx, dir, sources, bundle.Limits{MaxBytes: f.unpacked, KeepFree: keepFree})
	if err != nil {
		return none, asCoded(err)
	}
	meta, err := describeVersion(dir, c)
	if err != nil {
		return none, &codedError{code: codeProbeInvalid, err: err}
	}
	return deploy.Fetched{SHA256: got.SHA256, URI: got.Reference.Public(), FilesDir: dir, Meta: meta}, nil
}

// describeVersion reads what a version says about itself, without running any of it.
func describeVersion(dir string, c bundle.Contents) (store.Meta, error) {
	manifest := ""
	if c.Manifest != "" {
		manifest = filepath.Join(dir, c.Manifest)
	}
	m, err := models.Load(filepath.Join(dir, c.Model), manifest)
	if err != nil {
		return store.Meta{}, err
	}
	meta := store.Meta{Name: m.Spec.Name, Release: m.Spec.Release}
	if m.Manifest != nil {
		meta.Version = m.Manifest.Version // and not the one that stands in for none
	}
	for _, f := range c.Files {
		meta.Files = append(meta.Files, store.File(f))
	}
	return meta, nil
}

// asCoded makes the errors of unpacking ones that deploy understands.
func asCoded(err error) error {
	var known *bundle.Error
	if errors.As(err, &known) {
		return &codedError{code: string(known.Code), err: err, temp: known.Temporary()}
	}
	return err
}

// duration is a duration of the configuration.
func duration(d config.Duration) time.Duration { return time.Duration(d) }
