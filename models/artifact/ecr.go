package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	// tokenMargin is how long before its end a token is replaced: longer than it takes to begin a download with it.
	tokenMargin = 5 * time.Minute
	maxTokens   = 16       // regions; a device uses one or two
	maxECRBody  = 64 << 10 // bytes; a token has some 2500
)

// ecrEndpoint says where the token for a registry comes from.
type ecrEndpoint struct{ region, url string }

// ecrEndpoint is for the hosts in Options.ECRHosts and for those of ECR itself, and for no other: whoever gets the
// token can read every repository that the device's role can. Hosts are {account}.dkr.ecr[-fips].{region}.{suffix} or,
// with IPv6, {account}.dkr-ecr[-fips].{region}.on.aws; the endpoints are those of the AWS SDK's rules.
func (f *Fetcher) ecrEndpoint(host string) (ecrEndpoint, bool) {
	for _, own := range f.opts.ECRHosts {
		if host == own {
			return f.ecrEndpointOf(f.opts.AWS.Region, "api.ecr", "amazonaws.com"), true
		}
	}
	form := regexp.MustCompile(`^[0-9]{12}\.dkr([.-])ecr(-fips)?\.([a-z]{2,5}(?:-[a-z]+)+-[0-9]{1,2})\.` +
		`(amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn|on\.amazonwebservices\.eu)$`)
	m := form.FindStringSubmatch(host)
	if m == nil {
		return ecrEndpoint{}, false
	}
	kind, fips, region, suffix := m[1], m[2], m[3], m[4]
	rest, dualStack := strings.CutPrefix(suffix, "on.")
	switch {
	case dualStack != (kind == "-"):
		return ecrEndpoint{}, false
	case dualStack:
		return f.ecrEndpointOf(region, "ecr"+fips, "api."+rest), true
	}
	return f.ecrEndpointOf(region, "api.ecr"+fips, suffix), true
}

func (f *Fetcher) ecrEndpointOf(region, service, suffix string) ecrEndpoint {
	if base := f.opts.AWS.BaseEndpoint; base != nil {
		return ecrEndpoint{region, strings.TrimSuffix(*base, "/") + "/"}
	}
	return ecrEndpoint{region, fmt.Sprintf("https://%s.%s.%s/", service, region, suffix)}
}

// ecrToken is the password of the user AWS.
type ecrToken struct {
	password string
	end      time.Time
}

// ecrTokens gets and keeps tokens. One is asked for at a time; who waits may stop waiting.
type ecrTokens struct {
	aws  aws.Config
	turn chan struct{} // holds one value; guards have
	have map[ecrEndpoint]ecrToken
}

func newECRTokens(config aws.Config) *ecrTokens {
	t := &ecrTokens{aws: config, turn: make(chan struct{}, 1), have: map[ecrEndpoint]ecrToken{}}
	t.turn <- struct{}{}
	return t
}

// get returns a password that is not refused, which is the one that the registry has just not taken, or empty.
func (t *ecrTokens) get(ctx context.Context, from ecrEndpoint, refused string) (string, error) {
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-t.turn:
	}
	defer func() { t.turn <- struct{}{} }()
	if have := t.have[from]; have.password != "" && have.password != refused && time.Now().Before(have.end.Add(-tokenMargin)) {
		return have.password, nil
	}
	token, err := t.ask(ctx, from)
	if err != nil {
		return "", err
	}
	if len(t.have) >= maxTokens {
		clear(t.have)
	}
	t.have[from] = token
	return token.password, nil
}

// ask calls GetAuthorizationToken. The SDK's client for this one call would make the binary a megabyte larger, so the
// request is signed and sent here (AWS JSON 1.1; the permission is ecr:GetAuthorizationToken).
func (t *ecrTokens) ask(ctx context.Context, from ecrEndpoint) (ecrToken, error) {
	credentials, err := t.aws.Credentials.Retrieve(ctx)
	if err != nil {
		return ecrToken{}, credentialsError(ctx, err)
	}
	const body = "{}"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, from.url, strings.NewReader(body))
	if err != nil {
		return ecrToken{}, fail(CodeNotConfigured, "the AWS endpoint of this device is no URL; correct it")
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken")
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(ctx, credentials, r, hex.EncodeToString(sum[:]), "ecr", from.region, time.Now()); err != nil {
		return ecrToken{}, credentialsError(ctx, err)
	}
	var client aws.HTTPClient = http.DefaultClient
	if t.aws.HTTPClient != nil {
		client = t.aws.HTTPClient
	}
	resp, err := client.Do(r)
	if err != nil {
		return ecrToken{}, netError("a login for ECR", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxECRBody))
	if err != nil {
		return ecrToken{}, netError("a login for ECR", err)
	}
	return parseECRToken(resp.StatusCode, data)
}

func parseECRToken(status int, data []byte) (ecrToken, error) {
	var out struct {
		AuthorizationData []struct {
			AuthorizationToken string  `json:"authorizationToken"`
			ExpiresAt          float64 `json:"expiresAt"` // seconds since 1970
		} `json:"authorizationData"`
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	err := json.Unmarshal(data, &out)
	switch {
	case status == http.StatusTooManyRequests || strings.HasSuffix(out.Type, "ThrottlingException"):
		return ecrToken{}, fail(CodeThrottled, "ECR asks for fewer requests for a login; it is tried again later")
	case status >= http.StatusInternalServerError:
		return ecrToken{}, statusError("a login for ECR", status, "")
	case status != http.StatusOK:
		return ecrToken{}, fail(CodeCredentials, "ECR gives no login (%d %s: %s); allow the device's role ecr:GetAuthorizationToken, "+
			"and check the clock of this device", status, withoutQueries(out.Type), withoutQueries(out.Message))
	}
	if err == nil && len(out.AuthorizationData) > 0 {
		plain, err := base64.StdEncoding.DecodeString(out.AuthorizationData[0].AuthorizationToken)
		if _, password, ok := strings.Cut(string(plain), ":"); err == nil && ok && password != "" {
			return ecrToken{password, time.Unix(int64(out.AuthorizationData[0].ExpiresAt), 0)}, nil
		}
	}
	return ecrToken{}, fail(CodeBadAnswer, "ECR's answer has no login in it; check that no proxy or login page answers in its place")
}
