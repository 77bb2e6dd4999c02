package sts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	timeForm   = "20060102T150405Z"
	dateForm   = "20060102"
	unsigned   = "UNSIGNED-PAYLOAD"
	streaming  = "STREAMING-"
	s3         = "s3"
	hashHeader = "X-Amz-Content-Sha256"
	// maxSkew is how far the time of a signature may be from ours (IAM user guide, "Elements of an AWS API request
	// signature").
	maxSkew = 15 * time.Minute
	// maxPresigned is the longest life of a presigned URL (S3 API reference, "Authenticating requests: using query
	// parameters").
	maxPresigned = 7 * 24 * time.Hour
	// maxCall is the most bytes of a call whose body is read here: those of the JSON services are far smaller.
	maxCall = 1 << 20
	// maxSigned is the most headers that a signature may cover.
	maxSigned = 64
)

// signed is what a request says about its signature.
type signed struct {
	id, token       string
	region, service string
	headers         []string
	signature       string
	at              time.Time
	presigned       bool
	life            time.Duration // of a presigned URL
}

// Verify checks the Signature Version 4 of a request, in its header or its query, by signing it again (IAM user guide,
// "AWS Signature Version 4 for API requests"), and says whose it is. The body of a JSON call is read and put back; that
// of an S3 upload whose hash was signed fails with an error at its end if it is another. The signatures of single
// chunks of a streamed upload are not checked.
func (k *Keys) Verify(r *http.Request) (Principal, error) {
	s, err := parse(r)
	if err != nil {
		return Principal{}, err
	}
	secret, who, err := k.lookUp(s.id, s.token)
	if err != nil {
		return Principal{}, err
	}
	if err := s.timely(k.now()); err != nil {
		return Principal{}, err
	}
	payload, err := payloadHash(r, s)
	if err != nil {
		return Principal{}, err
	}
	want, err := s.again(r, aws.Credentials{AccessKeyID: s.id, SecretAccessKey: secret, SessionToken: s.token}, payload)
	if err != nil {
		return Principal{}, err
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(s.signature)) != 1 {
		return Principal{}, errors.New("the signature does not match the request: check the secret access key and what changes requests on the way")
	}
	return who, nil
}

func parse(r *http.Request) (*signed, error) {
	s := &signed{}
	var credential, date, names string
	if query := r.URL.Query(); query.Has("X-Amz-Signature") {
		seconds, err := strconv.ParseInt(query.Get("X-Amz-Expires"), 10, 32)
		s.presigned, s.life = true, time.Duration(seconds)*time.Second
		if err != nil || s.life <= 0 || s.life > maxPresigned || query.Get("X-Amz-Algorithm") != algorithm {
			return nil, errors.New("the presigned URL has another algorithm, or a life that is not between 1 s and 7 days")
		}
		credential, date, names = query.Get("X-Amz-Credential"), query.Get("X-Amz-Date"), query.Get("X-Amz-SignedHeaders")
		s.signature, s.token = query.Get("X-Amz-Signature"), query.Get("X-Amz-Security-Token")
	} else {
		fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" ")
		if !ok {
			return nil, errors.New("the request is not signed with Signature Version 4")
		}
		for field := range strings.SplitSeq(fields, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			switch name {
			case "Credential":
				credential = value
			case "SignedHeaders":
				names = value
			case "Signature":
				s.signature = value
			}
		}
		date, s.token = r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Security-Token")
	}
	s.headers = strings.Split(names, ";")
	scope := strings.Split(credential, "/")
	at, err := time.Parse(timeForm, date)
	s.at = at
	if err != nil || len(scope) != 5 || scope[1] != at.Format(dateForm) || scope[4] != "aws4_request" ||
		!slices.Contains(s.headers, "host") || len(s.headers) > maxSigned {
		return nil, errors.New("the signature's scope, date or list of headers is not what it should be")
	}
	s.id, s.region, s.service = scope[0], scope[2], scope[3]
	return s, nil
}

func (s *signed) timely(now time.Time) error {
	late := s.at.Add(maxSkew)
	if s.presigned {
		late = s.at.Add(s.life)
	}
	if now.After(late) || now.Before(s.at.Add(-maxSkew)) {
		return fmt.Errorf("the signature is of %s and now it is %s: it has expired, or a clock is wrong",
			s.at.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// again signs what was signed, as its owner would, and returns the signature.
func (s *signed) again(r *http.Request, credentials aws.Credentials, payload string) (string, error) {
	url := *r.URL
	c := &http.Request{Method: r.Method, URL: &url, Host: r.Host, Header: http.Header{}}
	for _, name := range s.headers {
		if values := r.Header.Values(name); len(values) > 0 {
			c.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
		}
		if name == "content-length" {
			c.ContentLength = r.ContentLength
		}
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = s.service == s3 // S3's keys are escaped once, the paths of others twice
		o.DisableHeaderHoisting = true
	})
	if !s.presigned {
		err := signer.SignHTTP(context.Background(), credentials, c, payload, s.service, s.region, s.at)
		_, signature, _ := strings.Cut(c.Header.Get("Authorization"), "Signature=")
		return signature, err
	}
	query := url.Query()
	query.Del("X-Amz-Signature")
	url.RawQuery = query.Encode()
	again, _, err := signer.PresignHTTP(context.Background(), credentials, c, payload, s.service, s.region, s.at)
	_, signature, _ := strings.Cut(again, "&X-Amz-Signature=")
	return signature, err
}

// payloadHash is what the signature covers of the body.
func payloadHash(r *http.Request, s *signed) (string, error) {
	announced := r.Header.Get(hashHeader)
	switch {
	case s.presigned:
		return unsigned, nil
	case announced == unsigned, strings.HasPrefix(announced, streaming):
		return announced, nil
	case announced != "" && s.service == s3:
		sum, err := hex.DecodeString(announced)
		if err != nil || len(sum) != sha256.Size {
			return "", errors.New(hashHeader + " is no SHA-256")
		}
		if r.Body != nil {
			r.Body = &checkedBody{ReadCloser: r.Body, hash: sha256.New(), want: sum}
		}
		return announced, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxCall+1))
	if err != nil || len(body) > maxCall {
		return "", errors.New("the call is too long, or was cut off")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}

// checkedBody is a body whose end is an error if its hash is not the one that was signed.
type checkedBody struct {
	io.ReadCloser
	hash hash.Hash
	want []byte
}

func (b *checkedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.hash.Write(p[:n])
	if errors.Is(err, io.EOF) && !bytes.Equal(b.hash.Sum(nil), b.want) {
		return n, errors.New("the body is not the one that was signed")
	}
	return n, err
}
