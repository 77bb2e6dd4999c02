package artifact

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestReferences(t *testing.T) {
	for in, want := range map[string]string{
		"s3://models/a/b.tar":                       "",
		"s3://models/b.onnx?versionId=3%2FL":        "",
		"oci://r.example/yolo/x:1.2":                "",
		"oci://127.0.0.1:5000/x@" + digest:          "",
		"oci://r.example/x:tag@" + digest:           "oci://r.example/x@" + digest,
		"https://Models.Example/a.onnx?X-Amz-Sig=1": "https://models.example/a.onnx?X-Amz-Sig=1",
		"file:///var/m.onnx":                        "",
		"file:///with%20space.onnx":                 "",
	} {
		r, err := ParseReference(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if want == "" {
			want = in
		}
		if r.String() != want {
			t.Errorf("%s became %s, want %s", in, r, want)
		}
		if strings.Contains(r.Public(), "X-Amz") {
			t.Errorf("%s shows its secret", r.Public())
		}
	}
}

func TestBadReferences(t *testing.T) {
	for _, in := range []string{
		"", "model.onnx", "ftp://h/x", "http://h/x", "s3://", "s3://bucket", "s3://bucket/", "s3://b/k", "s3://UPPER/key", "s3://bucket/../k",
		"s3://bucket/a//b", "s3://bucket/k?versionId=", "s3://bucket/k?x=1", "s3://bucket/k#f", "s3://bucket/a b", "s3://bucket/a\\b",
		"oci://host/repo", "oci://host/Repo:1", "oci://host/repo@sha256:12", "oci://host/repo@md5:12", "oci:///repo:1", "oci://host/../x:1",
		"oci://u@host/x:1", "https://host", "https://host/", "https://u:p@host/x", "https://host/x#y", "https://host/a/../b", "https://host/%zz",
		"file://relative", "file://host/x", "file:///", "file:///a/../b", "file:///a/", "file:///a%00b", "file:///a?b",
		"https://host/" + strings.Repeat("x", maxReference), "s3://bucket/" + strings.Repeat("k", maxS3Key+1),
	} {
		r, err := ParseReference(in)
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeBadReference || e.Temporary() {
			t.Errorf("%.60q gave %+v, %v", in, r, err)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"s3://bucket/k?versionId=1", "oci://h:1/r@" + digest, "https://h/x?y", "file:///a%20b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(r.String())
		if err != nil || again != r {
			t.Errorf("%q became %q and then %+v, %v", s, r, again, err)
		}
	})
}

func TestAllowList(t *testing.T) {
	for _, c := range []struct {
		allow []string
		ref   string
		ok    bool
	}{
		{nil, "s3://bucket/k", true},
		{nil, "https://h.example/k", true},
		{nil, "file:///k", false},
		{[]string{"file:///models/*"}, "file:///models/k", true},
		{[]string{"file:///models/*"}, "file:///models2/k", false},
		{[]string{"s3://bucket/*"}, "s3://bucket/a/b?versionId=7", true},
		{[]string{"s3://bucket/*"}, "s3://bucket2/a", false},
		{[]string{"s3://bucket/*"}, "https://bucket/a", false},
		{[]string{"https://h.example/*"}, "https://h.example.evil.example/a", false},
		{[]string{"https://h.example/*"}, "https://H.EXAMPLE/a?secret", true},
		{[]string{"oci://r.example/team/*"}, "oci://r.example/team/x:1", true},
		{[]string{"oci://r.example/team/*"}, "oci://r.example/teams:1", false},
	} {
		p := Policy{Allow: c.allow}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		r, err := ParseReference(c.ref)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Allows(r); (err == nil) != c.ok {
			t.Errorf("%v with %s: %v", c.allow, c.ref, err)
		}
	}
	for _, bad := range []string{"", "*", "s3://*", "https://host*", "ftp://h/*", "s3://b/*x*", "s3://b/../*", "file://x/*", "https:///x"} {
		if (Policy{Allow: []string{bad}}).Check() == nil {
			t.Errorf("the pattern %q was taken", bad)
		}
	}
	if (Policy{Keys: []Key{{}}}).Check() == nil {
		t.Error("an empty key was taken")
	}
}

// TestSignatures checks what openssl makes, as people would make it.
func TestSignatures(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("needs openssl: apt-get install openssl")
	}
	dir := t.TempDir()
	run := func(args ...string) []byte {
		t.Helper()
		c := exec.Command(openssl, args...)
		c.Dir = dir
		out, err := c.Output()
		if err != nil {
			t.Fatalf("openssl %v: %v", args, err)
		}
		return out
	}
	model := []byte(strings.Repeat("a model ", 1000))
	for name, data := range map[string][]byte{"model": model, "changed": append([]byte("x"), model[1:]...), "empty": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	generate := map[string][]string{
		"ecdsa":   {"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ecdsa.pem"},
		"ed25519": {"genpkey", "-algorithm", "ED25519", "-out", "ed25519.pem"},
	}
	sign := map[string][]string{
		"ecdsa":   {"dgst", "-sha256", "-sign", "ecdsa.pem", "model"},
		"ed25519": {"pkeyutl", "-sign", "-rawin", "-inkey", "ed25519.pem", "-in", "model"},
	}
	keys, signatures := map[string]Key{}, map[string]string{}
	for kind := range generate {
		run(generate[kind]...)
		public := run("pkey", "-in", kind+".pem", "-pubout")
		if keys[kind], err = ParseKey(public); err != nil {
			t.Fatal(err)
		}
		signatures[kind] = base64.StdEncoding.EncodeToString(run(sign[kind]...)) + "\n"
	}
	sum := sha256.Sum256(model)
	changed, err := os.ReadFile(filepath.Join(dir, "changed"))
	if err != nil {
		t.Fatal(err)
	}
	both := Policy{Keys: []Key{keys["ecdsa"], keys["ed25519"]}}
	for kind, signature := range signatures {
		other := keys[map[string]string{"ecdsa": "ed25519", "ed25519": "ecdsa"}[kind]]
		for _, c := range []struct {
			what      string
			p         Policy
			file      string
			sum       [sha256.Size]byte
			signature string
			want      Code // empty: passes
		}{
			{"right", both, "model", sum, signature, ""},
			{"other bytes", both, "changed", sha256.Sum256(changed), signature, CodeSignatureInvalid},
			{"nothing", both, "empty", sha256.Sum256(nil), signature, CodeSignatureInvalid},
			{"other key", Policy{Keys: []Key{other}}, "model", sum, signature, CodeSignatureInvalid},
			{"no signature", both, "model", sum, " ", CodeSignatureMissing},
			{"no base64", both, "model", sum, "%%", CodeSignatureInvalid},
			{"too long", both, "model", sum, strings.Repeat("A", maxSignature+1), CodeSignatureInvalid},
			{"no file", both, "missing", sum, signature, CodeDiskError},
			{"no keys", Policy{}, "changed", sum, "", ""},
		} {
			err := c.p.Verify(root, c.file, c.sum, c.signature)
			var e *Error
			if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &e) || e.Code != c.want) {
				t.Errorf("%s, %s: %v, want %q", kind, c.what, err, c.want)
			}
		}
	}
	private, err := os.ReadFile(filepath.Join(dir, "ecdsa.pem"))
	if err != nil {
		t.Fatal(err)
	}
	run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", "p384.pem")
	for what, bad := range map[string][]byte{
		"private": private, "P-384": run("pkey", "-in", "p384.pem", "-pubout"), "none": []byte("x"), "huge": make([]byte, maxKey+1),
	} {
		if _, err := ParseKey(bad); err == nil {
			t.Errorf("the key %s was taken", what)
		}
	}
}

func TestCodesAreDocumentedOnce(t *testing.T) {
	seen := map[Code]bool{}
	for _, c := range Codes() {
		if seen[c.Code] || c.Meaning == "" {
			t.Errorf("%+v", c)
		}
		seen[c.Code] = true
	}
}
