package artifact

import (
	"net/url"
	"path"
	"regexp"
	"strings"
)

// The schemes of a [Reference].
const (
	SchemeS3    = "s3"
	SchemeOCI   = "oci"
	SchemeHTTPS = "https"
	SchemeFile  = "file"
)

// maxReference bounds a reference in bytes: a presigned URL with a session token has about 2000, a shadow holds 8 KB.
const maxReference = 4096

// maxS3Key is Amazon S3's limit for an object key, in bytes.
const maxS3Key = 1024

// Reference is a parsed model reference. Which fields are set depends on Scheme; the others are empty.
type Reference struct {
	Scheme string

	Bucket, Key, VersionID string // s3

	Registry, Repository, Tag string // oci; Registry is host[:port]
	Digest                    string // oci: "sha256:" and 64 hexadecimal digits, or empty

	URL string // https: the whole URL, with a query that may be secret (a presigned URL)

	Path string // file: absolute and clean
}

// bucketName, registryHost, repositoryName and tagName follow S3's naming rules and the OCI distribution
// specification 1.1; hexDigest is SHA-256.
type grammar struct {
	bucket, registry, repository, tag, digest *regexp.Regexp
}

func newGrammar() grammar {
	return grammar{
		bucket:     regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`),
		registry:   regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$`),
		repository: regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`),
		tag:        regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`),
		digest:     regexp.MustCompile(`^sha256:[0-9a-f]{64}$`),
	}
}

// ParseReference parses a reference. The error has [CodeBadReference] and says what to write instead; it never repeats
// the query of a URL, which may be a secret.
func ParseReference(s string) (Reference, error) {
	if len(s) > maxReference {
		return Reference{}, fail(CodeBadReference, "the model reference has %d bytes; write at most %d", len(s), maxReference)
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r == '\\' || r == '\uFFFD' {
			return Reference{}, fail(CodeBadReference,
				"the model reference has a space, control character, backslash or broken UTF-8 in it; write it percent-encoded")
		}
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return Reference{}, fail(CodeBadReference,
			"the model reference has no scheme; write s3://bucket/key, oci://registry/repository@sha256:…, https://… or file:///…")
	}
	switch scheme {
	case SchemeS3:
		return parseS3(rest)
	case SchemeOCI:
		return parseOCI(rest)
	case SchemeHTTPS:
		return parseHTTPS(s)
	case SchemeFile:
		return parseFile(rest)
	}
	return Reference{}, fail(CodeBadReference, "the model reference begins with %.16q; write s3, oci, https or file", scheme)
}

func parseS3(rest string) (Reference, error) {
	rest, query, hasQuery := strings.Cut(rest, "?")
	bucket, key, _ := strings.Cut(rest, "/")
	r := Reference{Scheme: SchemeS3, Bucket: bucket, Key: key}
	if hasQuery {
		id, ok := strings.CutPrefix(query, "versionId=")
		version, err := url.QueryUnescape(id)
		if !ok || err != nil || version == "" || strings.ContainsAny(id, "&;") || hasControl(version) {
			return Reference{}, fail(CodeBadReference, "after the ? of an s3 reference write versionId= and the version")
		}
		r.VersionID = version
	}
	if !newGrammar().bucket.MatchString(bucket) {
		return Reference{}, fail(CodeBadReference, "%.70q is not the name of an S3 bucket; write s3://bucket/key", bucket)
	}
	if key == "" || strings.HasSuffix(key, "/") || len(key) > maxS3Key || strings.Contains(key, "#") {
		return Reference{}, fail(CodeBadReference, "the s3 reference names no object; write s3://%s/path/of/the/object", bucket)
	}
	if badSegments(key) {
		return Reference{}, fail(CodeBadReference, "the s3 key has an empty, . or .. part; rename the object")
	}
	return r, nil
}

func parseOCI(rest string) (Reference, error) {
	g := newGrammar()
	registry, name, _ := strings.Cut(rest, "/")
	r := Reference{Scheme: SchemeOCI, Registry: registry}
	if strings.Contains(registry, "@") {
		return Reference{}, fail(CodeBadReference, "the oci reference has a user name in it; use models.registry_credentials instead")
	}
	if !g.registry.MatchString(registry) {
		return Reference{}, fail(CodeBadReference, "%.70q is not a registry; write oci://host[:port]/repository@sha256:…", registry)
	}
	var ok bool
	if name, r.Digest, ok = strings.Cut(name, "@"); ok && !g.digest.MatchString(r.Digest) {
		return Reference{}, fail(CodeBadReference, "after the @ of an oci reference write sha256: and 64 lower-case hexadecimal digits")
	}
	if name, r.Tag, ok = strings.Cut(name, ":"); ok && !g.tag.MatchString(r.Tag) {
		return Reference{}, fail(CodeBadReference, "%.140q is not a tag of an oci reference", r.Tag)
	}
	r.Repository = name
	if len(name) > 255 || !g.repository.MatchString(name) {
		return Reference{}, fail(CodeBadReference, "%.70q is not a repository; write it in lower case", name)
	}
	if r.Tag == "" && r.Digest == "" {
		return Reference{}, fail(CodeBadReference, "the oci reference names no version; write @sha256:… or :tag at its end")
	}
	if r.Digest != "" {
		r.Tag = "" // the digest decides, as everywhere in OCI; a tag beside it would only look as if it mattered
	}
	return r, nil
}

func parseHTTPS(s string) (Reference, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return Reference{}, fail(CodeBadReference, "the https reference is not a URL")
	case u.User != nil:
		return Reference{}, fail(CodeBadReference, "the https reference has a user name in it; use a presigned URL instead")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return Reference{}, fail(CodeBadReference, "the https reference has a # in it; leave it and what follows out")
	case u.Hostname() == "" || u.Opaque != "" || u.Path == "" || strings.HasSuffix(u.Path, "/"):
		return Reference{}, fail(CodeBadReference, "the https reference names no file; write https://host/path/of/the/file")
	case badSegments(strings.TrimPrefix(u.Path, "/")):
		return Reference{}, fail(CodeBadReference, "the path of the https reference has an empty, . or .. part; write it without")
	}
	u.Host = strings.ToLower(u.Host)
	return Reference{Scheme: SchemeHTTPS, URL: u.String()}, nil
}

func parseFile(rest string) (Reference, error) {
	p, err := url.PathUnescape(rest)
	if err != nil || !strings.HasPrefix(p, "/") || strings.ContainsAny(rest, "?#") || hasControl(p) {
		return Reference{}, fail(CodeBadReference, "write a file reference as file:///absolute/path, with percent-encoding")
	}
	if p == "/" || path.Clean(p) != p {
		return Reference{}, fail(CodeBadReference, "the path of the file reference is not clean; leave out //, . and .. and a / at its end")
	}
	return Reference{Scheme: SchemeFile, Path: p}, nil
}

// String returns the reference in the form that ParseReference takes. It may hold the secret query of a presigned URL:
// log [Reference.Public] instead.
func (r Reference) String() string {
	switch r.Scheme {
	case SchemeS3:
		s := "s3://" + r.Bucket + "/" + r.Key
		if r.VersionID != "" {
			s += "?versionId=" + url.QueryEscape(r.VersionID)
		}
		return s
	case SchemeOCI:
		s := "oci://" + r.Registry + "/" + r.Repository
		if r.Digest != "" {
			return s + "@" + r.Digest
		}
		return s + ":" + r.Tag
	case SchemeHTTPS:
		return r.URL
	case SchemeFile:
		return (&url.URL{Scheme: SchemeFile, Path: r.Path}).String()
	}
	return ""
}

// Public returns the reference without anything secret: an https URL loses its query.
func (r Reference) Public() string {
	if r.Scheme != SchemeHTTPS {
		return r.String()
	}
	public, _, _ := strings.Cut(r.URL, "?")
	return public
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' || c == '\uFFFD' })
}

// badSegments reports whether a part between slashes is empty, . or ..: servers disagree about what such a path means,
// and an allow-list must not be got round with one.
func badSegments(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." {
			return true
		}
	}
	return false
}
