package devcloud_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"gnomon/cloud"
	"gnomon/devcloud"
)

// TestCredentialProvider has a line for each answer in AWS's table.
func TestCredentialProvider(t *testing.T) {
	a := startCloud(t, devcloud.CloudOptions{})
	cam := a.thing("cam")
	got, err := a.credentials(cam, devcloud.DefaultRoleAlias).Retrieve(t.Context())
	if err != nil || !strings.HasPrefix(got.AccessKeyID, "ASIA") || time.Until(got.Expires) > time.Hour || time.Until(got.Expires) < 50*time.Minute {
		t.Errorf("credentials until %v, %v", got.Expires, err)
	}
	misnamed := cam
	misnamed.Name = "other"
	gone := a.thing("gone")
	removed := a.credentials(gone, devcloud.DefaultRoleAlias)
	if err := a.RemoveThing("gone"); err != nil {
		t.Fatal(err)
	}
	strict := startCloud(t, devcloud.CloudOptions{
		Policy: []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}}`),
	})
	eternal := startCloud(t, devcloud.CloudOptions{CredentialLife: 24 * time.Hour})
	admin, err := a.AdminFiles()
	if err != nil {
		t.Fatal(err)
	}
	admin.Name = "devcloud-admin"
	for _, test := range []struct {
		name    string
		c       *cloud.Credentials
		status  int
		message string
	}{
		{"thing", a.credentials(misnamed, devcloud.DefaultRoleAlias), 403, "Invalid thing name passed"},
		{"policy", strict.credentials(strict.thing("cam"), devcloud.DefaultRoleAlias), 403, "Access Denied"},
		{"certificate", removed, 403, "Certificate is invalid on this endpoint"},
		{"administrator's", a.credentials(admin, devcloud.DefaultRoleAlias), 403, "Certificate is invalid on this endpoint"},
		{"alias", a.credentials(cam, "other"), 404, "Role alias does not exist"},
		{"duration", eternal.credentials(eternal.thing("cam"), devcloud.DefaultRoleAlias), 400, "MaxSessionDuration"},
	} {
		_, err := test.c.Retrieve(t.Context())
		ce, ok := errors.AsType[*cloud.CredentialsError](err)
		if !ok || ce.Status != test.status || !strings.Contains(ce.Message, test.message) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	a.FailCredentials(http.StatusServiceUnavailable, "busy")
	_, err = a.credentials(cam, devcloud.DefaultRoleAlias).Retrieve(t.Context())
	if ce, ok := errors.AsType[*cloud.CredentialsError](err); !ok || ce.Status != 503 || ce.Message != "busy" || !ce.Temporary() {
		t.Errorf("made to fail: %v", err)
	}
	a.FailCredentials(0, "")
	if _, err := a.credentials(cam, devcloud.DefaultRoleAlias).Retrieve(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if code, body := a.call(a.client("", ""), nil, http.MethodGet, "/role-aliases/gnomon-device/credentials", ""); code != 403 || !strings.Contains(body, `"message":`) {
		t.Errorf("without a certificate: %d %s", code, body)
	}
}

func (a *account) config(c aws.CredentialsProvider) aws.Config {
	return aws.Config{
		Region: "eu-central-1", BaseEndpoint: aws.String(a.HTTPSURL()), HTTPClient: a.client("", ""), Credentials: c,
		RetryMaxAttempts: 1,
	}
}

func pathStyle(o *s3.Options) { o.UsePathStyle = true }

// TestAccess: the administrator may do everything, a device read.
func TestAccess(t *testing.T) {
	a := startCloud(t, devcloud.CloudOptions{})
	admin := a.config(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return a.admin(), nil }))
	device := a.config(a.credentials(a.thing("cam"), devcloud.DefaultRoleAlias))
	bucket, key := aws.String("gnomon-models"), aws.String("a b/ü+c.onnx")
	put := func(c aws.Config) error {
		_, err := s3.NewFromConfig(c, pathStyle).PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: bucket, Key: key, Body: strings.NewReader("weights"),
		})
		return err
	}
	setting := func(c aws.Config, name string) error {
		_, err := ssm.NewFromConfig(c).PutParameter(t.Context(), &ssm.PutParameterInput{
			Name: aws.String(name), Value: aws.String("v"), Type: ssmtypes.ParameterTypeString, Overwrite: aws.Bool(true),
		})
		return err
	}
	for what, err := range map[string]error{"PutObject": put(admin), "/gnomon": setting(admin, "/gnomon/a"), "/other": setting(admin, "/other/a")} {
		if err != nil {
			t.Errorf("the administrator's %s: %v", what, err)
		}
	}
	for what, err := range map[string]error{"PutObject": put(device), "PutParameter": setting(device, "/gnomon/a")} {
		if err == nil || !strings.Contains(err.Error(), "AccessDenied") {
			t.Errorf("a device's %s: %v", what, err)
		}
	}
	get, err := s3.NewFromConfig(device, pathStyle).GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=2-")})
	if err != nil {
		t.Fatal(err)
	}
	defer get.Body.Close()
	if data, err := io.ReadAll(get.Body); err != nil || string(data) != "ights" {
		t.Errorf("object %q, %v", data, err)
	}
	for name, ok := range map[string]bool{"/gnomon/a": true, "/other/a": false} {
		if _, err := ssm.NewFromConfig(device).GetParameter(t.Context(), &ssm.GetParameterInput{Name: &name}); (err == nil) != ok {
			t.Errorf("a device reads %s: %v", name, err)
		}
	}
	presigned, err := s3.NewPresignClient(s3.NewFromConfig(device, pathStyle)).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(presigned.URL, a.HTTPSURL())
	if code, body := a.call(a.client("", ""), nil, http.MethodGet, path, ""); code != 200 || body != "weights" {
		t.Errorf("presigned: %d %s", code, body)
	}
	if code, _ := a.call(a.client("", ""), nil, http.MethodGet, strings.Replace(path, "Signature=", "Signature=0", 1), ""); code != 403 {
		t.Errorf("presigned and damaged: %d", code)
	}
	a.forgedUpload()
	a.registryToken(admin, 202)
	a.registryToken(device, 403)
}

// forgedUpload sends another body than the one that was signed: no object may come of it.
func (a *account) forgedUpload() {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), http.MethodPut, a.HTTPSURL()+"/gnomon-models/forged", strings.NewReader("evil"))
	if err != nil {
		a.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("good"))
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	if err := v4.NewSigner().SignHTTP(a.t.Context(), a.admin(), r, hash, "s3", "eu-central-1", time.Now()); err != nil {
		a.t.Fatal(err)
	}
	answer, err := a.client("", "").Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	if _ = answer.Body.Close(); answer.StatusCode < 400 {
		a.t.Errorf("a forged upload: %s", answer.Status)
	}
	config := a.config(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return a.admin(), nil }))
	if out, err := s3.NewFromConfig(config, pathStyle).GetObject(a.t.Context(), &s3.GetObjectInput{
		Bucket: aws.String("gnomon-models"), Key: aws.String("forged"),
	}); err == nil {
		_ = out.Body.Close()
		a.t.Error("there is an object of a forged upload")
	}
}

// registryToken gets a token and begins an upload with it.
func (a *account) registryToken(c aws.Config, want int) {
	a.t.Helper()
	out, err := ecr.NewFromConfig(c).GetAuthorizationToken(a.t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		a.t.Fatal(err)
	}
	for method, want := range map[string]int{http.MethodPost: want, http.MethodGet: 200} {
		path := map[string]string{http.MethodPost: "/v2/models/a/blobs/uploads/", http.MethodGet: "/v2/"}[method]
		r, err := http.NewRequestWithContext(a.t.Context(), method, a.HTTPSURL()+path, nil)
		if err != nil {
			a.t.Fatal(err)
		}
		r.Header.Set("Authorization", "Basic "+*out.AuthorizationData[0].AuthorizationToken)
		answer, err := a.client("", "").Do(r)
		if err != nil {
			a.t.Fatal(err)
		}
		if _ = answer.Body.Close(); answer.StatusCode != want {
			a.t.Errorf("%s: %s, want %d", method, answer.Status, want)
		}
	}
}

// TestShadowsOverHTTPS: by signature or by certificate; a device gets its own only.
func TestShadowsOverHTTPS(t *testing.T) {
	a := startCloud(t, devcloud.CloudOptions{})
	cam := a.thing("cam")
	issued, err := a.credentials(cam, devcloud.DefaultRoleAlias).Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admin, plain, own := a.admin(), a.client("", ""), a.client(cam.CertFile, cam.KeyFile)
	wrong := aws.Credentials{AccessKeyID: admin.AccessKeyID, SecretAccessKey: "x"}
	if _, err := a.Shadows().Update("cam", "n", []byte(`{"state":{"desired":{"a":1}}}`)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		client *http.Client
		signed *aws.Credentials
		path   string
		want   int
	}{
		{"admin", plain, &admin, "/things/cam/shadow?name=n", 200},
		{"admin, another", plain, &admin, "/things/other/shadow", 404},
		{"issued", plain, &issued, "/things/cam/shadow?name=n", 200},
		{"issued, another", plain, &issued, "/things/other/shadow", 403},
		{"certificate", own, nil, "/things/cam/shadow?name=n", 200},
		{"certificate, another", own, nil, "/things/other/shadow", 403},
		{"certificate, list", own, nil, "/api/things/shadow/ListNamedShadowsForThing/cam", 200},
		{"certificate, another's list", own, nil, "/api/things/shadow/ListNamedShadowsForThing/other", 403},
		{"wrong signature", own, &wrong, "/things/cam/shadow?name=n", 403},
		{"nobody", plain, nil, "/things/cam/shadow?name=n", 403},
	} {
		if code, body := a.call(test.client, test.signed, http.MethodGet, test.path, ""); code != test.want {
			t.Errorf("%s: %d %s, want %d", test.name, code, body, test.want)
		}
	}
}
