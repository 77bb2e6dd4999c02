package artifact

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	godigest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"gnomon/devcloud/objects"
)

// signer signs as `openssl dgst -sha256 -sign` and `openssl pkeyutl -rawin` do, with a key of each kind.
type signer struct {
	ecdsa   *ecdsa.PrivateKey
	ed25519 ed25519.PrivateKey
	keys    []Key
}

func newSigner(t *testing.T) signer {
	t.Helper()
	a, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, b, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := signer{ecdsa: a, ed25519: b}
	for _, k := range []any{&a.PublicKey, public} {
		der, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		if err != nil {
			t.Fatal(err)
		}
		s.keys = append(s.keys, key)
	}
	return s
}

func (s signer) sign(t *testing.T, data []byte) string {
	t.Helper()
	sum := sha256.Sum256(data)
	raw, err := ecdsa.SignASN1(rand.Reader, s.ecdsa, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw) + "\n"
}

func (s signer) sign25519(data []byte) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(s.ed25519, data))
}

// TestSignaturesBesideFiles looks in each place where a signature may be.
func TestSignaturesBesideFiles(t *testing.T) {
	signer := newSigner(t)
	data := modelBytes(50_000)
	good, bad := signer.sign(t, data), signer.sign(t, data[1:])
	dir := t.TempDir()
	file := filepath.Join(dir, "m.onnx")
	service, s, options := cloud(t, objects.Options{}, nil)
	web := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		name, sig := strings.CutSuffix(r.URL.Path, ".sig")
		if sig && r.URL.RawQuery != "" {
			t.Errorf("the query went to %s", r.URL)
		}
		switch text, err := os.ReadFile(file + ".sig"); {
		case !sig:
			object(w, r, data, `"one"`)
		case err != nil && name == "/denied":
			w.WriteHeader(http.StatusForbidden)
		case err != nil:
			w.WriteHeader(http.StatusNotFound)
		default:
			w.Write(text) //nolint:errcheck // the client finds out
		}
	})
	options.RootCAs.AddCert(web.Certificate())
	options.Policy = Policy{Keys: signer.keys, Allow: []string{"file:///*", "s3://gnomon-models/*", web.URL + "/*"}}
	for name, c := range map[string]struct {
		request, beside string
		want            Code
	}{
		"in the request":                   {good, "", ""},
		"in the request, Ed25519":          {signer.sign25519(data), "", ""},
		"the request's counts, not beside": {bad, good, CodeSignatureInvalid},
		"beside":                           {"", good, ""},
		"beside, Ed25519":                  {" ", signer.sign25519(data), ""},
		"nowhere":                          {"", "", CodeSignatureMissing},
		"of other bytes":                   {"", bad, CodeSignatureInvalid},
		"a web page":                       {"", "<html>" + strings.Repeat("x", 3000), CodeSignatureInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.Map(func(c rune) rune {
				if c == ' ' || c == ',' || c == '\'' {
					return '-'
				}
				return c
			}, name)
			for path, text := range map[string]string{file: string(data), file + ".sig": c.beside} {
				if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				if text == "" {
					continue
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				put(t, service, key+strings.TrimPrefix(path, file), []byte(text))
			}
			f := newFetcher(t, options)
			for _, ref := range []string{"file://" + file, "s3://gnomon-models/" + key, web.URL + "/m?" + secret, web.URL + "/denied?" + secret} {
				_, err := f.Fetch(t.Context(), Request{Reference: reference(t, ref), SHA256: hexSum(data), Signature: c.request, Dir: t.TempDir()})
				assertCode(t, err, c.want)
			}
		})
	}
	if len(s.asked()) == 0 {
		t.Error("S3 was not asked")
	}
}

func TestSignaturesOfManifests(t *testing.T) {
	signer := newSigner(t)
	_, s, options := cloud(t, objects.Options{}, nil)
	weights, labels := modelBytes(5000), []byte("person\n")
	part := func(data []byte, signature string) ocispec.Descriptor {
		return ocispec.Descriptor{
			MediaType: "application/octet-stream", Digest: godigest.FromBytes(data), Size: int64(len(data)),
			Annotations: map[string]string{ocispec.AnnotationTitle: "m", signatureAnnotation: signature},
		}
	}
	one := func(signature string) []ocispec.Descriptor { return []ocispec.Descriptor{part(weights, signature)} }
	signed := func(manifest []byte) string { return signer.sign(t, manifest) }
	for name, c := range map[string]struct {
		layers  []ocispec.Descriptor
		request func(manifest []byte) string
		want    Code
	}{
		"manifest":                 {one(""), signed, ""},
		"manifest, Ed25519":        {one(""), signer.sign25519, ""},
		"manifest of two layers":   {[]ocispec.Descriptor{part(weights, ""), part(labels, "")}, signed, ""},
		"other manifest":           {one(""), func(m []byte) string { return signer.sign(t, m[1:]) }, CodeSignatureInvalid},
		"over the layer instead":   {one(""), func([]byte) string { return signer.sign(t, weights) }, CodeSignatureInvalid},
		"bad one and a good layer": {one(signer.sign(t, weights)), func([]byte) string { return signer.sign(t, labels) }, CodeSignatureInvalid},
		"the only layer":           {one(signer.sign(t, weights)), nil, ""},
		"the only layer, wrong":    {one(signer.sign(t, labels)), nil, CodeSignatureInvalid},
		"nowhere":                  {one(""), nil, CodeSignatureMissing},
		"recombined":               {[]ocispec.Descriptor{part(weights, signer.sign(t, weights)), part(labels, signer.sign(t, labels))}, nil, CodeSignatureMissing},
	} {
		t.Run(name, func(t *testing.T) {
			ref := pushManifest(t, newFetcher(t, options), s, ocispec.Manifest{Layers: c.layers}, weights, labels)
			plain, dir := newFetcher(t, options), t.TempDir()
			r := Request{Reference: ref, Dir: dir}
			if _, err := plain.Fetch(t.Context(), r); err != nil { // keys decide, not the presence of signatures
				t.Fatal(err)
			}
			if c.request != nil {
				manifest, err := os.ReadFile(filepath.Join(dir, "manifest-"+strings.TrimPrefix(ref.Digest, "sha256:")))
				if err != nil {
					t.Fatal(err)
				}
				r.Signature = c.request(manifest)
			}
			keyed := options
			keyed.Policy.Keys = signer.keys
			for _, r.Dir = range []string{dir, t.TempDir()} {
				_, err := newFetcher(t, keyed).Fetch(t.Context(), r)
				assertCode(t, err, c.want)
			}
		})
	}
}
