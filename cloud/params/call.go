package params

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	// pageSize is the most that the service gives at once.
	pageSize = 10
	// maxPages bounds the walk: a page may be empty and still lead to another one.
	maxPages = 200
	// maxParameters is twice as many as there are settings.
	maxParameters = 256
	// maxName and maxValue are the service's own limits, the value's that of the advanced tier, in bytes.
	maxName  = 2048
	maxValue = 8 << 10
	// maxAnswer is a full page of the longest values, in bytes, with every byte of them escaped.
	maxAnswer = 1 << 20
	// callTimeout bounds one call; the answer has a few KB.
	callTimeout = 30 * time.Second
	// attempts are made for each page while the trouble may be over in a moment.
	attempts = 4
)

// page is an answer of the service.
type page struct {
	Parameters []struct{ Name, Type, Value string }
	NextToken  string
}

// all follows the pages to the end. Something in between that cannot be right makes the whole of it worthless: half of
// the parameters would look as if the others had been deleted.
func (p *Poller) all(ctx context.Context) ([]Parameter, error) {
	found := map[string]Parameter{}
	for token, n := "", 0; ; n++ {
		if n == maxPages {
			return nil, fail(CodeTooLarge, "%s has no end after %d pages; remove parameters, or choose a path with fewer", p.o.Path, maxPages)
		}
		got, err := p.patiently(ctx, token)
		if err != nil {
			return nil, err
		}
		for _, v := range got.Parameters {
			one := Parameter{Name: v.Name, Type: v.Type, Value: v.Value}
			if err := one.check(p.o.Path); err != nil {
				return nil, err
			}
			found[one.Name] = one // twice where the list changed between two pages
		}
		if len(found) > maxParameters {
			return nil, fail(CodeTooLarge, "there are more than %d parameters below %s; remove some, or choose a path with fewer", maxParameters, p.o.Path)
		}
		if token = got.NextToken; token == "" {
			return slices.SortedFunc(maps.Values(found), func(a, b Parameter) int { return cmp.Compare(a.Name, b.Name) }), nil
		}
	}
}

// check refuses what the service would not send.
func (p Parameter) check(path string) error {
	rest, below := strings.CutPrefix(p.Name, path+"/")
	strange := func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("_.-/", c))
	}
	switch {
	case !below || rest == "" || len(p.Name) > maxName || strings.ContainsFunc(p.Name, strange):
		return fail(CodeBadAnswer, "the answer has a parameter %.80q, which is not below %s; check what answers in Parameter Store's place", p.Name, path)
	case len(p.Value) > maxValue:
		return fail(CodeTooLarge, "the parameter %.80s has %d bytes, more than the %d that are taken; shorten it", p.Name, len(p.Value), maxValue)
	}
	return nil
}

// patiently gets one page, again where the trouble may be over in a moment.
func (p *Poller) patiently(ctx context.Context, token string) (*page, error) {
	for n := 1; ; n++ {
		got, err := p.call(ctx, token)
		if err == nil || n == attempts || !soon(err) {
			return got, err
		}
		pause := p.o.pause / 10 << n
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		}
	}
}

// call is GetParametersByPath (AWS JSON 1.1). The SDK's client for this one call would make the binary megabytes larger,
// so the request is signed and sent here.
func (p *Poller) call(ctx context.Context, token string) (*page, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	credentials, err := p.o.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fail(CodeCredentials, "no credentials for Parameter Store: %w", err)
	}
	body, err := json.Marshal(struct {
		Path, NextToken           string `json:",omitempty"`
		Recursive, WithDecryption bool
		MaxResults                int
	}{p.o.Path, token, true, true, pageSize})
	if err != nil {
		return nil, fmt.Errorf("ask Parameter Store: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask Parameter Store: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonSSM.GetParametersByPath")
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, r, hex.EncodeToString(sum[:]), "ssm", p.o.Region, time.Now()); err != nil {
		return nil, fail(CodeCredentials, "sign the request to Parameter Store: %w", err)
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return nil, networkError(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, networkError(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, p.refused(resp, data)
	}
	got := &page{}
	if len(data) > maxAnswer || json.Unmarshal(data, got) != nil {
		return nil, fail(CodeBadAnswer, "the answer is not Parameter Store's; check that no proxy or login page answers in its place")
	}
	return got, nil
}
