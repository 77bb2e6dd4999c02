package params

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func credentials() aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: "PLANTED", SessionToken: "PLANTED"}, nil
	})
}

// scripted is a service that answers the n-th call, from 1, as the test says.
func scripted(t *testing.T, answer func(n int32, body string) (status int, text string)) (Options, *atomic.Int32) {
	t.Helper()
	var calls atomic.Int32
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		status, text := answer(calls.Add(1), string(body))
		w.Header().Set("Location", "https://127.0.0.1:1/")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(s.Close)
	return Options{
		Path: "/p", Every: minEvery, Region: "eu-central-1", Endpoint: s.URL, Client: s.Client(), Credentials: credentials(),
		OnChange: func([]Parameter) {}, pause: time.Millisecond,
	}, &calls
}

func poller(t *testing.T, o Options) *Poller {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each answer that is an error becomes a sentence that says what to do; those that pass are tried again at once.
func TestRefusals(t *testing.T) {
	refusal := func(kind, message string) string { return fmt.Sprintf(`{"__type":%q,"message":%q}`, kind, message) }
	for _, test := range []struct {
		name   string
		status int
		text   string
		code   Code
		calls  int32
		want   string
	}{
		{"policy", 400, refusal("AccessDeniedException", "User: arn:x is not authorized to perform: ssm:GetParametersByPath on resource: y"), CodeAccessDenied, 1, "allow the device's role ssm:GetParametersByPath on the path /p"},
		{"key", 400, refusal("AccessDeniedException", "User: arn:x is not authorized to perform: kms:Decrypt"), CodeAccessDenied, 1, "allow the device's role kms:Decrypt"},
		{"key is gone", 400, refusal("InvalidKeyId", "no such key"), CodeAccessDenied, 1, "kms:Decrypt"},
		{"throttled", 400, refusal("com.amazonaws.ssm#ThrottlingException", "Rate exceeded"), CodeThrottled, attempts, "less often"},
		{"429", 429, "", CodeThrottled, attempts, "429"},
		{"500", 500, refusal("InternalServerError", ""), CodeServerError, attempts, "later"},
		{"clock", 400, refusal("InvalidSignatureException", "Signature expired: 1 is now earlier than 2"), CodeCredentials, 1, "clock"},
		{"token", 400, refusal("ExpiredTokenException", "expired"), CodeCredentials, 1, "role alias"},
		{"page", 400, refusal("InvalidNextToken", ""), CodeServerError, attempts, "later"},
		{"path", 400, refusal("ValidationException", "no"), CodeBadAnswer, 1, "aws.parameters.path"},
		{"redirect", 307, "", CodeBadAnswer, 1, "proxy"},
		{"login page", 200, "<html>", CodeBadAnswer, 1, "login page"},
		{"not below", 200, `{"Parameters":[{"Name":"/px/a"}]}`, CodeBadAnswer, 1, "not below /p"},
		{"no name", 200, `{"Parameters":[{"Name":"/p/a\nb"}]}`, CodeBadAnswer, 1, "not below /p"},
		{"long value", 200, `{"Parameters":[{"Name":"/p/a","Value":"` + strings.Repeat("x", maxValue+1) + `"}]}`, CodeTooLarge, 1, "shorten"},
		{"long answer", 200, `{"Parameters":[],"x":"` + strings.Repeat("x", maxAnswer) + `"}`, CodeBadAnswer, 1, "proxy"},
		{"no end", 200, `{"Parameters":[],"NextToken":"t"}`, CodeTooLarge, maxPages, "pages"},
		{"long", 400, refusal("ValidationException", strings.Repeat("x", 5000)), CodeBadAnswer, 1, "…"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, calls := scripted(t, func(int32, string) (int, string) { return test.status, test.text })
			p := poller(t, o)
			err := p.poll(t.Context())
			if codeOf(err) != test.code || !strings.Contains(err.Error(), test.want) || calls.Load() != test.calls {
				t.Errorf("%d calls, code %q: %.500v", calls.Load(), codeOf(err), err)
			}
			if len(err.Error()) > 700 || strings.Contains(err.Error(), "PLANTED") {
				t.Errorf("the error: %v", err)
			}
			if s := p.Stats(); s.Failures != 1 || s.LastError != err.Error() {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// A failure in the middle of the pages changes nothing, and the pages go on from where they were when it passes.
func TestPages(t *testing.T) {
	broken := true
	o, _ := scripted(t, func(n int32, body string) (int, string) {
		switch {
		case !strings.Contains(body, "NextToken"):
			return 200, `{"Parameters":[{"Name":"/p/b","Value":"1"}],"NextToken":"two"}`
		case broken:
			return 400, `{"__type":"AccessDeniedException"}`
		case n%2 == 0:
			return 503, ""
		}
		return 200, `{"Parameters":[{"Name":"/p/a","Value":"2"},{"Name":"/p/b","Value":"3"}]}`
	})
	var got [][]Parameter
	o.OnChange = func(p []Parameter) { got = append(got, p) }
	p := poller(t, o)
	if err := p.poll(t.Context()); err == nil || len(got) > 0 {
		t.Errorf("with a broken page: %v, %v", got, err)
	}
	broken = false
	for range 2 { // the second time nothing is new
		if err := p.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 1 || len(got[0]) != 2 || got[0][0].Value != "2" || got[0][1].Value != "3" {
		t.Errorf("got %v", got)
	}
	if s := p.Stats(); s.LastError != "" || s.Polls != 3 || s.Changes != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestNetwork(t *testing.T) {
	o, _ := scripted(t, func(int32, string) (int, string) { return 200, "{}" })
	o.Client = nil // does not trust the server
	if err := poller(t, o).poll(t.Context()); codeOf(err) != CodeNetwork || !strings.Contains(err.Error(), "aws.ca_file") {
		t.Errorf("certificate: %v", err)
	}
	o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New("the role alias does not exist")
	})
	if err := poller(t, o).poll(t.Context()); codeOf(err) != CodeCredentials || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("credentials: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := poller(t, o)
	if err := p.poll(ctx); err != nil || p.Stats().Failures != 0 {
		t.Errorf("being stopped: %v", err)
	}
}

// The pauses: the interval more or less, doubling after failures, longer when throttled.
func TestPauses(t *testing.T) {
	o, _ := scripted(t, nil)
	o.Every, o.pause = 5*time.Minute, firstPause
	p := poller(t, o)
	for range 200 {
		if d := about(o.Every); d < 4*time.Minute || d > 6*time.Minute {
			t.Fatalf("an interval of %v", d)
		}
		for failures, most := range map[int]time.Duration{0: 5 * time.Second, 2: 20 * time.Second, 9: o.Every, 1000: o.Every} {
			if d := p.backoff(failures, errors.New("")); d < most/2 || d > most {
				t.Fatalf("after %d failures a pause of %v", failures, d)
			}
		}
		if d := p.backoff(1000, &Error{Code: CodeThrottled}); d < 10*time.Minute || d > 20*time.Minute {
			t.Fatalf("throttled: %v", d)
		}
	}
}

func TestOptions(t *testing.T) {
	good := Options{Path: "/gnomon/fleet", Every: minEvery, Region: "eu-central-1", Credentials: credentials(), OnChange: func([]Parameter) {}}
	for name, test := range map[string]struct {
		change func(*Options)
		want   string // of the error, or the address
	}{
		"AWS":        {func(*Options) {}, "https://ssm.eu-central-1.amazonaws.com/"},
		"China":      {func(o *Options) { o.Region = "cn-north-1" }, "https://ssm.cn-north-1.amazonaws.com.cn/"},
		"Europe":     {func(o *Options) { o.Region = "eusc-de-east-1" }, "https://ssm.eusc-de-east-1.amazonaws.eu/"},
		"devcloud":   {func(o *Options) { o.Endpoint = "https://127.0.0.1:8443" }, "https://127.0.0.1:8443/"},
		"plain HTTP": {func(o *Options) { o.Endpoint = "http://127.0.0.1" }, "endpoint"},
		"no region":  {func(o *Options) { o.Region = "" }, "region"},
		"a host":     {func(o *Options) { o.Region = "eu-central-1.evil.example/" }, "region"},
		"no path":    {func(o *Options) { o.Path = "gnomon" }, "path"},
		"slash":      {func(o *Options) { o.Path = "/gnomon/" }, "path"},
		"often":      {func(o *Options) { o.Every = time.Second }, "30s"},
		"nobody":     {func(o *Options) { o.Credentials = nil }, "credentials"},
		"no ear":     {func(o *Options) { o.OnChange = nil }, "OnChange"},
	} {
		o := good
		test.change(&o)
		p, err := New(o)
		got := fmt.Sprint(err)
		if err == nil {
			got = p.url
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
	o, _ := scripted(t, func(int32, string) (int, string) { return 200, "{}" })
	p, end := run(t, o)
	end()
	if p.Run(t.Context()) == nil {
		t.Error("Run twice")
	}
}
