package interop

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/devcloud"
)

func TestAWSCLIShadows(t *testing.T) {
	required(t)
	c := startCloud(t)
	version, _, err := newCLI(t, c).run("--version")
	t.Logf("%s %v", strings.TrimSpace(version), err)
	t.Run("classic", func(t *testing.T) {
		t.Parallel()
		a := newCLI(t, c)
		which := []string{"--thing-name", "cam"}
		a.refused("No shadow exists with name: 'cam'", shadowCall("get", which, "answer")...)
		a.updateAndGet(which)
	})
	t.Run("named", func(t *testing.T) {
		t.Parallel()
		a := newCLI(t, c)
		which := []string{"--thing-name", "door", "--shadow-name", "model"}
		a.updateAndGet(which)
		a.refused("(ConflictException) when calling the UpdateThingShadow operation: Version conflict",
			shadowCall("update", which, "--payload", `{"state":{"desired":{"model":"b"}},"version":7}`, "answer")...)
		if d := a.shadow(shadowCall("delete", which)...); d.Version != 1 {
			t.Errorf("deleted %+v", d)
		}
		a.refused("(ResourceNotFoundException) when calling the GetThingShadow operation: No shadow exists with name: 'model'",
			shadowCall("get", which, "answer")...)
	})
	t.Run("list", func(t *testing.T) {
		t.Parallel()
		a := newCLI(t, c)
		for _, name := range []string{"b", "a"} {
			if _, err := c.Shadows().Update("hall", name, []byte(`{"state":{"desired":{"x":1}}}`)); err != nil {
				t.Fatal(err)
			}
		}
		list := []string{"iot-data", "list-named-shadows-for-thing", "--thing-name", "hall", "--page-size", "1"}
		for _, want := range []string{"a", "b"} {
			page := struct {
				Results   []string
				NextToken string
			}{}
			a.decode(&page, list...)
			if !slices.Equal(page.Results, []string{want}) {
				t.Errorf("page %+v, want %s", page, want)
			}
			list = append(list, "--next-token", page.NextToken)
		}
	})
}

func shadowCall(name string, which []string, more ...string) []string {
	return slices.Concat([]string{"iot-data", name + "-thing-shadow"}, which, more)
}

// updateAndGet makes a shadow and reads it.
func (a *cli) updateAndGet(which []string) {
	a.t.Helper()
	if d := a.shadow(shadowCall("update", which, "--payload", `{"state":{"desired":{"model":"a"}}}`)...); d.Version != 1 {
		a.t.Errorf("updated %+v", d)
	}
	d := a.shadow(shadowCall("get", which)...)
	if string(d.State) != `{"desired":{"model":"a"},"delta":{"model":"a"}}` || d.Version != 1 || d.Metadata["desired"] == nil {
		a.t.Errorf("got %s %+v", d.State, d)
	}
}

func TestAWSCLIObjects(t *testing.T) {
	required(t)
	t.Parallel()
	c := startCloud(t)
	a := newCLI(t, c)
	const bucket, odd = "s3://gnomon-models/", "a b/ü+c.onnx"
	big := bytes.Repeat([]byte("0123456789abcdef"), (9<<20)/16) // more than multipart_threshold
	big[len(big)-1] = 'x'
	a.file("small", []byte("weights"))
	a.file("big", big)
	a.ok("s3", "cp", "small", bucket+odd)
	a.ok("s3", "cp", "big", bucket+"big.onnx")
	if out := a.ok("s3", "ls", bucket, "--recursive"); !strings.Contains(out, " 7 "+odd) || !strings.Contains(out, " 9437184 big.onnx") {
		t.Errorf("objects: %s", out)
	}
	a.ok("s3", "cp", bucket+"big.onnx", "copy")
	if got, err := os.ReadFile(filepath.Join(a.dir, "copy")); err != nil || !bytes.Equal(got, big) {
		t.Errorf("the large object came back with %d bytes of %d, %v", len(got), len(big), err)
	}
	a.refused("(404) when calling the HeadObject operation", "s3", "cp", bucket+"none", "copy")

	url := strings.TrimSpace(a.ok("s3", "presign", bucket+odd))
	if code, body := fetch(t, c, url, ""); code != http.StatusOK || body != "weights" {
		t.Errorf("presigned: %d %s", code, body)
	}
	if code, _ := fetch(t, c, strings.Replace(url, "X-Amz-Expires=3600", "X-Amz-Expires=7200", 1), ""); code != http.StatusForbidden {
		t.Errorf("presigned, with a longer life than was signed: %d", code)
	}
}

// fetch is a GET by Go's client, with a registry token if there is one.
func fetch(t *testing.T, c *devcloud.Cloud, url, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Basic "+token)
	}
	answer, err := httpClient(t, c).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestAWSCLIRegistry(t *testing.T) {
	required(t)
	t.Parallel()
	c := startCloud(t)
	a := newCLI(t, c)
	token := struct {
		AuthorizationData []struct {
			AuthorizationToken, ProxyEndpoint string
			ExpiresAt                         time.Time
		}
	}{}
	a.decode(&token, "ecr", "get-authorization-token")
	if len(token.AuthorizationData) != 1 {
		t.Fatalf("authorisation data %+v", token)
	}
	data := token.AuthorizationData[0]
	plain, err := base64.StdEncoding.DecodeString(data.AuthorizationToken)
	life := time.Until(data.ExpiresAt)
	if err != nil || !strings.HasPrefix(string(plain), "AWS:") || data.ProxyEndpoint != c.HTTPSURL() || life < 11*time.Hour || life > 12*time.Hour {
		t.Errorf("a token for %s, good for %v, %v", data.ProxyEndpoint, life, err)
	}
	for token, want := range map[string]int{data.AuthorizationToken: http.StatusOK, "": http.StatusUnauthorized} {
		if code, body := fetch(t, c, c.HTTPSURL()+"/v2/", token); code != want {
			t.Errorf("the registry with a token of %d characters: %d %s, want %d", len(token), code, body, want)
		}
	}

	type repository struct{ RepositoryName, RepositoryURI string }
	made := struct{ Repository repository }{}
	create := []string{"ecr", "create-repository", "--repository-name", "models/person"}
	a.decode(&made, create...)
	want := repository{"models/person", strings.TrimPrefix(c.HTTPSURL(), "https://") + "/models/person"}
	if made.Repository != want {
		t.Errorf("made %+v", made)
	}
	a.refused("(RepositoryAlreadyExistsException) when calling the CreateRepository operation", create...)
	list := struct{ Repositories []repository }{}
	a.decode(&list, "ecr", "describe-repositories")
	if !slices.Equal(list.Repositories, []repository{want}) {
		t.Errorf("repositories %+v", list)
	}
}

func TestAWSCLIParameters(t *testing.T) {
	required(t)
	t.Parallel()
	a := newCLI(t, startCloud(t))
	put := func(name, kind, value string, more ...string) []string {
		return append([]string{"ssm", "put-parameter", "--name", name, "--type", kind, "--value", value}, more...)
	}
	a.ok(put("/gnomon/rate", "String", "5")...)
	a.refused("(ParameterAlreadyExists) when calling the PutParameter operation", put("/gnomon/rate", "String", "6")...)
	a.ok(put("/gnomon/rate", "String", "6", "--overwrite")...)
	a.ok(put("/gnomon/site/key", "SecureString", "secret")...)
	a.ok(put("/gnomon/site/zones", "StringList", "a,b")...)
	list := func(args ...string) (values []string) {
		out := struct {
			Parameters []struct{ Name, Value string }
		}{}
		a.decode(&out, append([]string{"ssm", "get-parameters-by-path", "--path", "/gnomon"}, args...)...)
		for _, p := range out.Parameters {
			values = append(values, p.Name+"="+p.Value)
		}
		return values
	}
	// A page has one parameter, and one page is empty: the CLI must get past it.
	want := []string{"/gnomon/rate=6", "/gnomon/site/key=secret", "/gnomon/site/zones=a,b"}
	if got := list("--recursive", "--with-decryption", "--page-size", "1"); !slices.Equal(got, want) {
		t.Errorf("all of them: %v", got)
	}
	if got := list("--recursive"); len(got) != 3 || got[1] == want[1] {
		t.Errorf("without decryption: %v", got)
	}
	if got := list(); !slices.Equal(got, want[:1]) {
		t.Errorf("one level: %v", got)
	}
}

// TestAWSCLIWrongSecret: who has the administrator's key id but not the secret gets nothing, and is told so.
func TestAWSCLIWrongSecret(t *testing.T) {
	required(t)
	t.Parallel()
	a := newCLI(t, startCloud(t))
	a.env = append(a.env, "AWS_SECRET_ACCESS_KEY=wrong")
	for want, args := range map[string][]string{
		"when calling the GetThingShadow operation: Forbidden":                     shadowCall("get", []string{"--thing-name", "cam"}, "answer"),
		"(AccessDenied) when calling the ListObjectsV2 operation":                  {"s3", "ls", "s3://gnomon-models"},
		"(AccessDeniedException) when calling the GetAuthorizationToken operation": {"ecr", "get-authorization-token"},
	} {
		a.refused(want, args...)
	}
}
