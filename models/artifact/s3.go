package artifact

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// s3Source reads an object of S3. Permission s3:GetObject is needed, and s3:GetObjectVersion for a reference with a
// version.
type s3Source struct {
	client      *s3.Client
	credentials aws.CredentialsProvider
	ref         Reference
}

func (f *Fetcher) newS3Source(r Reference) (*s3Source, error) {
	if err := f.configured("S3"); err != nil {
		return nil, err
	}
	client := s3.NewFromConfig(f.opts.AWS, func(o *s3.Options) {
		o.Retryer = aws.NopRetryer{} // a retry goes on where the last attempt ended, which the SDK cannot
		o.UsePathStyle = f.opts.AWS.BaseEndpoint != nil
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired // the SHA-256 is known
	})
	return &s3Source{client: client, credentials: f.opts.AWS.Credentials, ref: r}, nil
}

// configured says what is missing for S3 or ECR.
func (f *Fetcher) configured(service string) error {
	switch {
	case f.opts.AWS.Region == "":
		return fail(CodeNotConfigured, "models from %s need an AWS region; set it in the configuration of this device", service)
	case f.opts.AWS.Credentials == nil:
		return fail(CodeNotConfigured, "models from %s need AWS credentials; configure the credential provider of this device", service)
	}
	return nil
}

func (s *s3Source) open(ctx context.Context, m mark) (*answer, error) {
	return s.get(ctx, s.ref, m)
}

func (s *s3Source) get(ctx context.Context, ref Reference, m mark) (*answer, error) {
	// Asked for beforehand, because the SDK's error would not tell this from trouble with the network.
	if _, err := s.credentials.Retrieve(ctx); err != nil {
		return nil, credentialsError(ctx, err)
	}
	in := &s3.GetObjectInput{Bucket: &ref.Bucket, Key: &ref.Key}
	if ref.VersionID != "" {
		in.VersionId = &ref.VersionID
	}
	if m.Offset > 0 {
		in.Range, in.IfMatch = aws.String(fmt.Sprintf("bytes=%d-", m.Offset)), &m.ETag
	}
	out, err := s.client.GetObject(ctx, in)
	if err != nil {
		return nil, s3Error(ref.Public(), err, m)
	}
	a := &answer{
		body: out.Body, total: aws.ToInt64(out.ContentLength), etag: strongETag(aws.ToString(out.ETag)),
		encoding: aws.ToString(out.ContentEncoding),
	}
	if v := aws.ToString(out.VersionId); v != "null" { // what S3 calls the version of an object without one
		a.version = v
	}
	if out.ContentLength == nil {
		a.total = -1
	}
	if out.ContentRange != nil && m.Offset > 0 {
		a.offset = m.Offset
		if a.total, err = contentRange(*out.ContentRange, m.Offset); err != nil {
			out.Body.Close() //nolint:errcheck // it was only read
			return nil, fail(CodeBadAnswer, "%s: %w", ref.Public(), err)
		}
	}
	return a, nil
}

// credentialsError is trouble with credentials, unless it was only stopped.
func credentialsError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fail(CodeCredentials, "get credentials for the download: %s", withoutQueries(err.Error()))
}

// s3Error gives an error of the SDK its code. The codes of S3 are in "Error responses" of its API reference.
func s3Error(what string, err error, m mark) error {
	var api smithy.APIError
	var answered *awshttp.ResponseError
	if !errors.As(err, &answered) || answered.HTTPStatusCode() == 0 { // 0: the SDK had no answer
		return netError(what, err)
	}
	status, code, said := answered.HTTPStatusCode(), "", ""
	if errors.As(err, &api) {
		code, said = api.ErrorCode(), withoutQueries(api.ErrorMessage())
	}
	switch {
	case m.Offset > 0 && (status == http.StatusPreconditionFailed || status == http.StatusRequestedRangeNotSatisfiable):
		return errChanged
	case code == "SlowDown" || code == "Throttling" || code == "RequestLimitExceeded":
		return fail(CodeThrottled, "%s: S3 asks for fewer requests (%s); it is tried again later", what, code)
	}
	switch code {
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed":
		return fail(CodeCredentials, "%s: S3 does not accept the credentials (%s: %s); check the role and the clock of this device", what, code, said)
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return fail(CodeNotConfigured, "%s: the bucket is in another region (%s: %s); set that region, or copy the model", what, code, said)
	case "AccessDenied", "AllAccessDisabled", "AccountProblem", "InvalidObjectState":
		return fail(CodeAccessDenied, "%s: S3 refuses (%s: %s); allow the device's role s3:GetObject on it, and "+
			"s3:ListBucket to be told when there is no such object", what, code, said)
	}
	return statusError(what, status, "")
}
