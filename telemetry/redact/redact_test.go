package redact_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"gnomon/telemetry/redact"
)

// jwt and the like are of the right form and of no use.
const (
	jwt       = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	accessKey = "AKIAIOSFODNN7EXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	pemKey    = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIB\nq83vEjRWeJ==\n-----END EC PRIVATE KEY-----"
)

var sessionToken = "IQoJb3JpZ2luX2VjE" + strings.Repeat("aB3/+x", 20) + "=="

func TestText(t *testing.T) {
	ecr := base64.StdEncoding.EncodeToString([]byte("AWS:" + strings.Repeat("eyJwYXlsb2FkIjoi", 8)))
	for _, row := range []struct{ in, want string }{
		// URLs.
		{"open rtsp://admin:pa55@cam:554/x", "open rtsp://***@cam:554/x"},
		{"rtsp://admin:p/a?5#5@cam/x now", "rtsp://***@cam/x now"},
		{"rtsp://admin:p@ss@cam/x", "rtsp://***@cam/x"},
		{`{"u":"rtsp:\/\/admin:pa55@cam\/x"}`, `{"u":"rtsp:\/\/***@cam\/x"}`},
		{`parse "rtsp://u:p\"%zz@h/": bad`, `parse "rtsp://***@h/": bad`},
		{"u=rtsp%3A%2F%2Fu%3Apw%40cam%2Fx&n=1", "u=rtsp%3A%2F%2F***%40cam%2Fx&n=1"},
		{"https://b/k?X-Amz-Credential=AKIA%2F2026&X-Amz-Expires=300&X-Amz-Signature=00ff&x-id=1", "https://b/k?X-Amz-Credential=***&X-Amz-Expires=300&X-Amz-Signature=***&x-id=1"},
		{`{"m":"https://b/k?X-Amz-Security-Token=a%2Fb\u0026X-Amz-Date=1\u0026sig=x"}`, `{"m":"https://b/k?X-Amz-Security-Token=***\u0026X-Amz-Date=1\u0026sig=***"}`},
		{"u=https%3A%2F%2Fb%3FX-Amz-Signature%3D00ff%26x%3D1", "u=https%3A%2F%2Fb%3FX-Amz-Signature%3D***%26x%3D1"},
		{"https://h/?key=abc&amp;pass=x&token=y#z", "https://h/?key=***&amp;pass=***&token=***"},
		// Headers.
		{"Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"},
		{`"Authorization": "Bearer abc.def"`, `"Authorization": "Bearer ***"`},
		{"map[Authorization:[Basic dXNlcjpwYXNz] Host:[h]]", "map[Authorization:[Basic ***] Host:[h]]"},
		{"authorization: Digest username=\"u\", response=\"r\"\nHost: h", "authorization: Digest ***\nHost: h"},
		{"Authorization: s3cr3t", "Authorization: ***"},
		{"got Basic dXNlcjpwYXNz back", "got Basic *** back"},
		{"Set-Cookie: a=b; Path=/", "Set-Cookie: ***"},
		{"AWS4-HMAC-SHA256 Credential=x/2026, Signature=00ff", "AWS4-HMAC-SHA256 Credential=***, Signature=***"},
		// Keys and tokens.
		{"before\n" + pemKey + "\nafter", "before\n-----BEGIN EC PRIVATE KEY-----***-----END EC PRIVATE KEY-----\nafter"},
		{`{"k":"-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n"}`, `{"k":"-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----\n"}`},
		{"-----BEGIN RSA PRIVATE KEY-----\nMIIEcut", "-----BEGIN RSA PRIVATE KEY-----***"},
		{"key " + accessKey + " and " + secretKey + ".", "key *** and ***."},
		{"key " + secretKey + " x", "key *** x"},
		{"session " + sessionToken, "session ***"},
		{"ecr " + ecr + " end", "ecr *** end"},
		{"jwt " + jwt + ", end", "jwt ***, end"},
		{"der MHcCAQEEI" + strings.Repeat("Ab0/", 20), "der ***"},
		// Names.
		{`{"password":"a\"b","user":"u"}`, `{"password":"***","user":"u"}`},
		{`{"m":"{\"password\":\"a\\\"b\",\"x\":1}"}`, `{"m":"{\"password\":\"***\",\"x\":1}"}`},
		{`{"token":12345678,"x":1}`, `{"token":***,"x":1}`},
		{"{Password:hunter2 User:bob}", "{Password:*** User:bob}"},
		{"level=info password=hunter2,x msg=hi", "level=info password=*** msg=hi"},
		{"a:\n  password: correct horse # mine\n  b: 1", "a:\n  password: *** # mine\n  b: 1"},
		{"password: 'it''s' x", "password: '***' x"},
		{"aws_secret_access_key = abc", "aws_secret_access_key = ***"},
		{"AWS_SESSION_TOKEN=abc DB_PASS=x", "AWS_SESSION_TOKEN=*** DB_PASS=***"},
		{"client_secret => 'x'", "client_secret => '***'"},
		{"run --password hunter2 --token='a b' -v", "run --password *** --token='***' -v"},
		{`password: "never closed`, `password: "***`},
		{"the login failed with password: hunter2 for bob", "the login failed with password: *** for bob"},
	} {
		got := redact.Text(row.in)
		if got != row.want {
			t.Errorf("%s\n  got  %s\n  want %s", row.in, got, row.want)
		}
		if again := redact.Text(got); again != got {
			t.Errorf("again: %s", again)
		}
	}
}

// ordinary is text that must stay as it is, and costs nothing.
var ordinary = []string{
	"", "plain words, and 12:34:56.789", "a=b c:d e: f",
	"/var/lib/gnomon/models/7c211433f02071597741e6ff5a8ea34789abbf43cb4a2a9a3f7d6d4bf3f9f6d1/files/model.onnx",
	"sha256:7c211433f02071597741e6ff5a8ea34789abbf43cb4a2a9a3f7d6d4bf3f9f6d1 7c211433f02071597741e6ff5a8ea34789abbf43",
	"boot 4f1d0c1e-6a2b-4c3d-9e8f-001122334455", "s3://bucket/key?versionId=abc", "https://h:8443/p/@scope/x?region=eu",
	"password_file: /etc/gnomon/mqtt.password", "password_file=/etc/x", "key=models/yolo.onnx", `{"key":"models/a","clientToken":"abc-1"}`,
	"mqtt.password: is missing; write one", "unexpected token: }", "invalid token: expected a name", "tokens=512 max_tokens: 3",
	"basic authentication is needed, Bearer tokens too", "PWD=/root OLDPWD=/", "the signature is wrong", "secrets: none", "password:", `"password":""`,
	"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----", "passwords=3", "mail bob@example.com via rtsp://cam:554/x",
	"passthrough: on", "public_key: MFkwEwYH", "AKIAshort and eyJ", "compass=3", "rtsp://***@cam/x password=*** token: ***", "é ü 漢字 \xff\xfe",
	"Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4/usr/share/Doc2/some/Path3/with/Upper4/and/lower",
}

func TestOrdinaryTextStays(t *testing.T) {
	r := redact.New("camera-password-1")
	for _, s := range ordinary {
		if got := redact.Text(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
		if n := testing.AllocsPerRun(10, func() { _ = r.Text(s) }); n != 0 {
			t.Errorf("%q: %v allocations", s, n)
		}
	}
}

// A secret that is known is found in whatever spelling it is written.
func TestValues(t *testing.T) {
	const password = `p@ss/wört "42"&<x>`
	r := redact.New("abcd", password, "xyz")
	r.Add("  another-one\n")
	quoted, err := json.Marshal(password)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		password, url.QueryEscape(password), url.PathEscape(password), url.User(password).String(), strings.ToLower(url.QueryEscape("ö")) + url.QueryEscape(password),
		string(quoted), fmt.Sprintf("%q", password), "another-one",
		base64.StdEncoding.EncodeToString([]byte(password)),
		base64.StdEncoding.EncodeToString([]byte("bob:" + password)), base64.URLEncoding.EncodeToString([]byte("a:" + password + "!!")), base64.RawURLEncoding.EncodeToString([]byte("abc" + password + "?>")),
	} {
		got := r.Text("x " + s + " y")
		if !strings.Contains(got, redact.Mark) || len(got) > len("x  y")+18 {
			t.Errorf("%s became %s", s, got)
		}
	}
	if got := r.Text("abcd, xabcd, abcd1 (abcd) xyz"); got != "***, xabcd, abcd1 (***) xyz" {
		t.Errorf("a short one: %s", got)
	}
	var none *redact.Redactor
	if got := none.Text("a rtsp://u:p@h"); got != "a rtsp://***@h" {
		t.Errorf("of none: %s", got)
	}
}

func TestSensitive(t *testing.T) {
	for name, want := range map[string]bool{
		"password": true, "Camera-Password": true, "X-Amz-Security-Token": true, "apiKey": true, "Authorization": true, "psk": true,
		"key": false, "password_file": false, "tokens": false, "sha256": false, "": false, "clientToken": false, "uri": false,
	} {
		if redact.Sensitive(name) != want {
			t.Errorf("%s: not %v", name, want)
		}
	}
}

// A private key in a log file is gone, whether or not it is complete, and what comes after it is there.
func TestStream(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"a\nk: " + pemKey + " x\nb", "a\nk: -----BEGIN EC PRIVATE KEY-----\n***\n***\n***-----END EC PRIVATE KEY----- x\nb"},
		{"-----BEGIN PRIVATE KEY-----\nMIGH\n  AbCd==\n[17:00] cut off: password=x\nMIGH", "-----BEGIN PRIVATE KEY-----\n***\n***\n[17:00] cut off: password=***\nMIGH"},
		{"-----BEGIN CERTIFICATE-----\nMIGH", "-----BEGIN CERTIFICATE-----\nMIGH"},
	} {
		s := redact.NewStream(redact.New("some value"))
		var got []string
		for l := range strings.SplitSeq(row.in, "\n") {
			got = append(got, s.Line(l))
		}
		if strings.Join(got, "\n") != row.want {
			t.Errorf("got %q", got)
		}
	}
}

// Whatever is repeated, twice as much takes about twice as long: what is quadratic takes minutes for a megabyte.
func TestHostile(t *testing.T) {
	r := redact.New("aaaaaaab", "password=x")
	for _, unit := range []string{
		"://", "://u:x/", "x://a:b", "eyJ", "eyJ.", "eyJabcdef.", "password=", "password:", "password: ", `password:"`, `password:\"`, "token: x ", `\`, `"`, "'",
		"-----BEGIN", "-----BEGIN PRIVATE KEY", "--password ", "-", "Authorization: Basic ", "Authorization:[", "AKIA", "a/", "A1b/", "%3A%2F%2F", "%3D", "aaaaaaa", "basic ",
		" ", "\n", "x=[", "\x00", "QVdTO", "   password:x", "cookie:",
	} {
		s := strings.Repeat(unit, 1<<20/len(unit))
		begin := time.Now()
		got := r.Text(s)
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("%q: %v", unit, took)
		} else if took > 500*time.Millisecond {
			t.Logf("%q: %v", unit, took)
		}
		if len(got) > 2*len(s) {
			t.Errorf("%q: %d bytes", unit, len(got))
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range ordinary {
		f.Add(s)
	}
	for _, s := range []string{pemKey, jwt, accessKey, secretKey, sessionToken, `{"m":"{\"password\":\"a\\\"b\"}"}`, "rtsp://u:p/x@h", "password: 'it''s' #", "Authorization: Digest x\\n", "--token 'a", "=>password=[\"x\"]", "abcd efghijklmno"} {
		f.Add(s)
	}
	r := redact.New("abcd", "efghijklmno", "QVdT")
	f.Fuzz(func(t *testing.T, s string) {
		for _, text := range []func(string) string{redact.Text, r.Text} {
			once := text(s)
			if twice := text(once); twice != once {
				t.Errorf("%q\nonce  %q\ntwice %q", s, once, twice)
			}
		}
		if strings.Contains(r.Text(s), "efghijklmno") {
			t.Error("a known secret is still there")
		}
	})
}

func BenchmarkText(b *testing.B) {
	r := redact.New("camera-password-1", "another password")
	line := `{"level":"info","ts":"2026-11-24T10:00:00Z","msg":"deployed","slot":"default","sha256":"7c211433f02071597741e6ff5a8ea34789abbf43cb4a2a9a3f7d6d4bf3f9f6d1","uri":"s3://bucket/models/a.tar"}`
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Text(line)
	}
}
