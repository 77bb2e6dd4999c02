package objects

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, dir string) (*Service, *httptest.Server, aws.Config) {
	t.Helper()
	s, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(s)
	t.Cleanup(func() { server.Close(); _ = s.Close() })
	return s, server, aws.Config{
		Region: "eu-central-1", BaseEndpoint: aws.String(server.URL), HTTPClient: server.Client(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
		}),
	}
}

func newS3(config aws.Config) *s3.Client {
	return s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true })
}

func code(err error) string {
	var known smithy.APIError
	if errors.As(err, &known) {
		return known.ErrorCode()
	}
	return ""
}

func TestS3ClientAndRestart(t *testing.T) {
	dir := t.TempDir()
	_, first, config := serve(t, dir)
	want := bytes.Repeat([]byte("0123456789"), 10000)
	bucket, key := aws.String(ModelBucket), aws.String("detectors/a.onnx")
	put, err := newS3(config).PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: bucket, Key: key,
		// Not seekable and over TLS: the client sends aws-chunked with a trailer.
		Body: io.MultiReader(bytes.NewReader(want)), ContentLength: aws.Int64(int64(len(want))),
	})
	if err != nil {
		t.Fatal(err)
	}
	first.Close()

	_, _, config = serve(t, dir)
	client := newS3(config)
	tests := []struct {
		name, rng, match string
		want             []byte
		code             string
	}{
		{"whole", "", "", want, ""},
		{"range", "bytes=99995-", *put.ETag, want[99995:], ""},
		{"other etag", "bytes=5-9", `"00000000000000000000000000000000"`, nil, "PreconditionFailed"},
		{"beyond the end", "bytes=200000-", "", nil, "InvalidRange"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := &s3.GetObjectInput{Bucket: bucket, Key: key}
			if test.rng != "" {
				in.Range = &test.rng
			}
			if test.match != "" {
				in.IfMatch = &test.match
			}
			out, err := client.GetObject(t.Context(), in)
			if code(err) != test.code || (err != nil) != (test.code != "") {
				t.Fatalf("error %v, want code %q", err, test.code)
			}
			if err != nil {
				return
			}
			defer out.Body.Close()
			got, err := io.ReadAll(out.Body)
			if err != nil || !bytes.Equal(got, test.want) || *out.ETag != *put.ETag {
				t.Errorf("%d bytes, ETag %s, %v; want %d, %s", len(got), *out.ETag, err, len(test.want), *put.ETag)
			}
		})
	}
	list, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: bucket})
	if err != nil || len(list.Contents) != 1 || *list.Contents[0].Key != *key {
		t.Errorf("list: %+v, %v", list, err)
	}
}

func TestRegistryClientAndRestart(t *testing.T) {
	dir := t.TempDir()
	s, first, _ := serve(t, dir)
	digest, err := s.PushArtifact("models/person", "v1", File{Name: "m.onnx", Data: []byte("weights")})
	if err != nil {
		t.Fatal(err)
	}
	first.Close()

	_, server, config := serve(t, dir)
	client := ecr.NewFromConfig(config)
	out, err := client.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	if got := *out.AuthorizationData[0].ProxyEndpoint; got != server.URL {
		t.Errorf("proxyEndpoint %q, want %q", got, server.URL)
	}
	plain, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		t.Fatal(err)
	}
	user, password, _ := strings.Cut(string(plain), ":")
	host := strings.TrimPrefix(server.URL, "https://")
	for _, test := range []struct {
		password string
		ok       bool
	}{{password, true}, {"x" + password, false}, {"", false}} {
		repo, err := remote.NewRepository(host + "/models/person")
		if err != nil {
			t.Fatal(err)
		}
		repo.Client = &auth.Client{Client: server.Client(), Credential: auth.StaticCredential(host, auth.Credential{
			Username: user, Password: test.password,
		})}
		d, err := repo.Resolve(t.Context(), "v1")
		if (err == nil) != test.ok {
			t.Fatalf("resolve with password %q: %v", test.password, err)
		}
		if !test.ok {
			continue
		}
		data, err := content.FetchAll(t.Context(), repo, d)
		if err != nil || d.Digest.String() != digest || !bytes.Contains(data, []byte("m.onnx")) {
			t.Errorf("got %s %s, %v; want %s", d.Digest, data, err, digest)
		}
	}
	repos, err := client.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil || len(repos.Repositories) != 1 || *repos.Repositories[0].RepositoryName != "models/person" {
		t.Errorf("repositories: %+v, %v", repos, err)
	}
	in := &ecr.CreateRepositoryInput{RepositoryName: aws.String("models/person")}
	if _, err := client.CreateRepository(t.Context(), in); code(err) != "RepositoryAlreadyExistsException" {
		t.Errorf("second creation: %v", err)
	}
}

func TestSSMClientAndRestart(t *testing.T) {
	dir := t.TempDir()
	_, first, config := serve(t, dir)
	client := ssm.NewFromConfig(config)
	for _, name := range []string{"a", "b", "c", "d/e"} {
		if _, err := client.PutParameter(t.Context(), &ssm.PutParameterInput{
			Name: aws.String("/gnomon/" + name), Value: aws.String("v" + name), Type: ssmtypes.ParameterTypeSecureString,
		}); err != nil {
			t.Fatal(err)
		}
	}
	first.Close()

	s, _, config := serve(t, dir)
	client = ssm.NewFromConfig(config, func(o *ssm.Options) { o.RetryMaxAttempts = 1 })
	in := &ssm.GetParametersByPathInput{
		Path: aws.String("/gnomon"), MaxResults: aws.Int32(2), Recursive: aws.Bool(true), WithDecryption: aws.Bool(true),
	}
	got, empty := "", 0
	for {
		out, err := client.GetParametersByPath(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Parameters) == 0 && out.NextToken != nil {
			empty++
		}
		for _, p := range out.Parameters {
			got += *p.Value + " "
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if got != "va vb vc vd/e " || empty != 1 {
		t.Errorf("values %q with %d empty pages; want all four and one", got, empty)
	}
	out, err := client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/gnomon/a")})
	if err != nil || strings.Contains(*out.Parameter.Value, "va") {
		t.Errorf("without decryption: %+v, %v", out, err)
	}
	s.Parameters().Throttle(1)
	if _, err := client.GetParameters(t.Context(), &ssm.GetParametersInput{Names: []string{"/gnomon/a"}}); code(err) != "ThrottlingException" {
		t.Errorf("throttled: %v", err)
	}
	bad := &ssm.PutParameterInput{Name: aws.String("/a//b"), Value: aws.String("v"), Type: ssmtypes.ParameterTypeString}
	if _, err := client.PutParameter(t.Context(), bad); code(err) != "ValidationException" {
		t.Errorf("bad name: %v", err)
	}
}

func TestHostileRequests(t *testing.T) {
	s, server, _ := serve(t, t.TempDir())
	token, _ := s.newToken(time.Now(), mayPush)
	tests := []struct {
		name, method, path, target, body string
		streaming                        bool
		status                           int
	}{
		{"ecr bad json", "POST", "/", ecrTarget + "CreateRepository", "{", false, 400},
		{"ecr bad name", "POST", "/", ecrTarget + "CreateRepository", `{"repositoryName":"../x"}`, false, 400},
		{"ssm bad json", "POST", "/", "AmazonSSM.PutParameter", "[1", false, 400},
		{"key traversal", "PUT", "/gnomon-models/a/%2e%2e/%2e%2e/x", "", "x", false, 400},
		{"bucket traversal", "GET", "/%2e%2e/blobs", "", "", false, 404},
		{"repo traversal", "PUT", "/v2/../../x/manifests/v1", "", "{}", false, 400},
		{"reference traversal", "PUT", "/v2/x/manifests/..%2f..%2fx", "", "{}", false, 400},
		{"manifest of another digest", "PUT", "/v2/x/manifests/sha256:" + strings.Repeat("0", 64), "", "{}", false, 400},
		{"chunk longer than announced", "PUT", "/gnomon-models/a", "", "ff\r\nx", true, 400},
		{"long path", "GET", "/gnomon-models/" + strings.Repeat("a", 4096), "", "", false, 414},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if test.target != "" {
				r.Header.Set("X-Amz-Target", test.target)
			}
			if test.streaming {
				r.Header.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
				r.Header.Set("X-Amz-Decoded-Content-Length", "1")
			}
			r.SetBasicAuth("AWS", token)
			answer, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != test.status {
				t.Errorf("status %d (%s), want %d", answer.StatusCode, body, test.status)
			}
		})
	}
}
