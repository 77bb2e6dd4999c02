package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"gnomon/cloud"
	"gnomon/devcloud"
)

// maxAdminAnswer bounds what devcloud answers: the largest are shadows, of 8 KB and their metadata.
const maxAdminAnswer = 1 << 20

// cloudAdmin calls a running devcloud as its administrator. It speaks the same protocols as AWS's own tools.
type cloudAdmin struct {
	at     devcloud.Endpoints
	keys   aws.Credentials
	client *http.Client
}

func newCloudAdmin(f *cloudFlags) (*cloudAdmin, error) {
	dir, err := f.path()
	if err != nil {
		return nil, err
	}
	at, err := devcloud.Discover(dir)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(at.AdminFile)
	if err != nil {
		return nil, fmt.Errorf("read devcloud's key: %w", err)
	}
	a := &cloudAdmin{at: at}
	if err := json.Unmarshal(data, &a.keys); err != nil {
		return nil, fmt.Errorf("read devcloud's key %s: %w", at.AdminFile, err)
	}
	if a.client, err = cloud.HTTPClient(at.CAFile); err != nil {
		return nil, err
	}
	return a, nil
}

// call sends a signed request of an AWS service and returns the answer.
func (a *cloudAdmin) call(ctx context.Context, service, method, path, target string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, a.at.HTTPS+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if target != "" {
		r.Header.Set("X-Amz-Target", target)
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	}
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", digest)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
	if err := signer.SignHTTP(ctx, a.keys, r, digest, service, a.at.Region, time.Now()); err != nil {
		return nil, fmt.Errorf("sign a request to devcloud: %w", err)
	}
	answer, err := a.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("call devcloud: %w; is gnomon devcloud running?", err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAdminAnswer))
	if err != nil {
		return nil, fmt.Errorf("read devcloud's answer: %w", err)
	}
	if answer.StatusCode/100 != 2 {
		return nil, &adminError{answer.StatusCode, strings.TrimSpace(string(data))}
	}
	return data, nil
}

// adminError is a refusal of devcloud.
type adminError struct {
	status int
	text   string
}

func (e *adminError) Error() string {
	return fmt.Sprintf("devcloud answers %d: %.300s", e.status, e.text)
}

// registryLogin gets a user and password of the registry, as docker login with ECR's token does.
func (a *cloudAdmin) registryLogin(ctx context.Context) (user, password string, err error) {
	data, err := a.call(ctx, "ecr", http.MethodPost, "/", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", []byte("{}"))
	if err != nil {
		return "", "", err
	}
	var answer struct {
		AuthorizationData []struct {
			AuthorizationToken string `json:"authorizationToken"`
		} `json:"authorizationData"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return "", "", fmt.Errorf("read the registry's token: %w", err)
	}
	if len(answer.AuthorizationData) == 0 {
		return "", "", errors.New("devcloud's registry gives no token")
	}
	plain, err := base64.StdEncoding.DecodeString(answer.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		return "", "", fmt.Errorf("read the registry's token: %w", err)
	}
	user, password, _ = strings.Cut(string(plain), ":")
	return user, password, nil
}
