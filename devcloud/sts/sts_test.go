package sts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

func keys(t *testing.T) *Keys {
	t.Helper()
	k, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func admin(k *Keys) aws.Credentials {
	id, secret := k.Admin()
	return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}
}

func device(t *testing.T, k *Keys) aws.Credentials {
	t.Helper()
	c, err := k.Issue("cam", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.AccessKeyID) != idLength || len(c.SecretAccessKey) != 40 {
		t.Errorf("credentials in another form than AWS's: %d and %d characters", len(c.AccessKeyID), len(c.SecretAccessKey))
	}
	return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
}

// sign makes a signed request as the SDK does, as a server gets it.
func sign(t *testing.T, c aws.Credentials, service, body string, at time.Time) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://localhost:8443/a%20b/c?x=1&y=a%2Fb", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", ssmTarget+"GetParameter")
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	if service == s3 {
		r.Header.Set(hashHeader, hash)
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == s3 })
	if err := signer.SignHTTP(t.Context(), c, r, hash, service, "eu-central-1", at); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestVerify(t *testing.T) {
	k := keys(t)
	other := keys(t)
	for _, test := range []struct {
		name        string
		credentials aws.Credentials
		service     string
		age         time.Duration
		change      func(*http.Request)
		want        string // in the error; empty: accepted
	}{
		{"admin", admin(k), "ssm", 0, nil, ""},
		{"admin, S3", admin(k), s3, 0, nil, ""},
		{"device", device(t, k), "ssm", 0, nil, ""},
		{"unsigned header", admin(k), "ssm", 0, func(r *http.Request) { r.Header.Set("X-Other", "1") }, ""},
		{"14 minutes old", admin(k), "ssm", 14 * time.Minute, nil, ""},
		{"16 minutes old", admin(k), "ssm", 16 * time.Minute, nil, "expired"},
		{"of the future", admin(k), "ssm", -16 * time.Minute, nil, "a clock is wrong"},
		{"another cloud's admin", admin(other), "ssm", 0, nil, "unknown"},
		{"another cloud's device", device(t, other), "ssm", 0, nil, "not one of ours"},
		{"wrong secret", aws.Credentials{AccessKeyID: admin(k).AccessKeyID, SecretAccessKey: "x"}, "ssm", 0, nil, "does not match"},
		{"token missing", aws.Credentials{AccessKeyID: device(t, k).AccessKeyID, SecretAccessKey: "x"}, "ssm", 0, nil, "session token is missing"},
		{"another's token", aws.Credentials{AccessKeyID: device(t, k).AccessKeyID, SecretAccessKey: "x", SessionToken: device(t, k).SessionToken}, "ssm", 0, nil, "of another access key"},
		{"not signed", admin(k), "ssm", 0, func(r *http.Request) { r.Header.Del("Authorization") }, "not signed"},
		{"another method", admin(k), "ssm", 0, func(r *http.Request) { r.Method = http.MethodPut }, "does not match"},
		{"another path", admin(k), "ssm", 0, func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/x", "" }, "does not match"},
		{"another query", admin(k), "ssm", 0, func(r *http.Request) { r.URL.RawQuery = "x=2" }, "does not match"},
		{"another host", admin(k), "ssm", 0, func(r *http.Request) { r.Host = "elsewhere" }, "does not match"},
		{"another target", admin(k), "ssm", 0, func(r *http.Request) { r.Header.Set("X-Amz-Target", "y") }, "does not match"},
		{"another body", admin(k), "ssm", 0, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("other")) }, "does not match"},
		{"another date", admin(k), "ssm", 0, func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }, "date"},
		{"huge body", admin(k), "ssm", 0, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", maxCall+1))) }, "too long"},
		{"short scope", admin(k), "ssm", 0, func(r *http.Request) {
			r.Header.Set("Authorization", algorithm+" Credential=a/b, SignedHeaders=host, Signature=c")
		}, "scope"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := sign(t, test.credentials, test.service, `{"Name":"/gnomon/a"}`, time.Now().Add(-test.age))
			if test.change != nil {
				test.change(r)
			}
			who, err := k.Verify(r)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%+v, %v; want %q", who, err, test.want)
				}
				return
			}
			if err != nil || who.Admin == (test.credentials.SessionToken != "") {
				t.Fatalf("%+v, %v", who, err)
			}
			if body, err := io.ReadAll(r.Body); err != nil || string(body) != `{"Name":"/gnomon/a"}` {
				t.Errorf("the body is %q, %v afterwards", body, err)
			}
		})
	}
}

func TestS3BodyOfAnotherHash(t *testing.T) {
	k := keys(t)
	r := sign(t, admin(k), s3, "good", time.Now())
	r.Body = io.NopCloser(strings.NewReader("evil"))
	if _, err := k.Verify(r); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r.Body); err == nil || !strings.Contains(err.Error(), "not the one that was signed") {
		t.Errorf("read: %v", err)
	}
}

func TestPresigned(t *testing.T) {
	k := keys(t)
	for _, c := range []aws.Credentials{admin(k), device(t, k)} {
		for _, test := range []struct {
			name, life string
			age        time.Duration
			change     func(string) string
			ok         bool
		}{
			{"good", "60", 0, nil, true},
			{"good for an hour", "3600", 30 * time.Minute, nil, true},
			{"expired", "60", 61 * time.Second, nil, false},
			{"too long a life", "604801", 0, nil, false},
			{"no life", "0", 0, nil, false},
			{"another key", "60", 0, func(u string) string { return strings.Replace(u, "/b/a%20b", "/b/c", 1) }, false},
			{"more life", "60", 2 * time.Minute, func(u string) string { return strings.Replace(u, "Expires=60", "Expires=600", 1) }, false},
		} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://localhost:8443/b/a%20b?X-Amz-Expires="+test.life, nil)
			if err != nil {
				t.Fatal(err)
			}
			signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
			url, _, err := signer.PresignHTTP(context.Background(), c, r, unsigned, s3, "eu-central-1", time.Now().Add(-test.age))
			if err != nil {
				t.Fatal(err)
			}
			if test.change != nil {
				url = test.change(url)
			}
			if _, err := k.Verify(httptest.NewRequest(http.MethodGet, url, nil)); (err == nil) != test.ok {
				t.Errorf("%s: %v", test.name, err)
			}
		}
	}
}

// TestLife: temporary credentials outlive a restart, and not their hour.
func TestLife(t *testing.T) {
	dir := t.TempDir()
	k, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := device(t, k)
	if info, err := os.Stat(k.AdminFile()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("admin.json: %v, %v", info.Mode(), err)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if admin(again) != admin(k) {
		t.Error("the administrator's key has changed")
	}
	if who, err := again.Verify(sign(t, c, "ssm", "{}", time.Now())); err != nil || who.Thing != "cam" {
		t.Errorf("%+v, %v", who, err)
	}
	again.now = func() time.Time { return time.Now().Add(time.Hour) }
	if _, err := again.Verify(sign(t, c, "ssm", "{}", again.now())); err == nil || !strings.Contains(err.Error(), "get new ones") {
		t.Errorf("after an hour: %v", err)
	}
	for _, name := range []string{adminFile, sessionFile} {
		if err := os.WriteFile(dir+"/"+name, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "is damaged; delete it") {
			t.Errorf("damaged %s: %v", name, err)
		}
		_ = os.Remove(dir + "/" + name)
	}
}

func TestAuthorize(t *testing.T) {
	cam := Principal{Thing: "cam"}
	for _, test := range []struct {
		method, target, body string
		ok                   bool
	}{
		{"GET", "", "", true},
		{"HEAD", "", "", true},
		{"PUT", "", "", false},
		{"POST", "", "", false},
		{"DELETE", "", "", false},
		{"POST", ecrTarget + "GetAuthorizationToken", "{}", true},
		{"POST", ecrTarget + "CreateRepository", "{}", false},
		{"POST", ssmTarget + "GetParameter", `{"Name":"/gnomon/a"}`, true},
		{"POST", ssmTarget + "GetParameter", `{"Name":"/other/a"}`, false},
		{"POST", ssmTarget + "GetParameter", `{"Name":"/gnomonx"}`, false},
		{"POST", ssmTarget + "GetParameters", `{"Names":["/gnomon/a","/other/a"]}`, false},
		{"POST", ssmTarget + "GetParametersByPath", `{"Path":"/gnomon"}`, true},
		{"POST", ssmTarget + "GetParametersByPath", `{"Path":"/gnomon/site/"}`, true},
		{"POST", ssmTarget + "GetParametersByPath", `{"Path":"/"}`, false},
		{"POST", ssmTarget + "PutParameter", `{"Name":"/gnomon/a"}`, false},
		{"POST", ssmTarget + "GetParameter", `{`, false},
		{"POST", "Other.Call", `{}`, false},
	} {
		request := func() *http.Request {
			r := httptest.NewRequest(test.method, "/", strings.NewReader(test.body))
			r.Header.Set("X-Amz-Target", test.target)
			return r
		}
		if err := Authorize(cam, request()); (err == nil) != test.ok {
			t.Errorf("%s %s %s: %v", test.method, test.target, test.body, err)
		}
		if err := Authorize(Principal{Admin: true}, request()); err != nil {
			t.Errorf("the administrator: %v", err)
		}
		if err := Authorize(Principal{}, request()); err == nil {
			t.Error("nobody is let in")
		}
	}
}
