package artifact

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

func TestPublicAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "52.218.0.1": true, "172.15.0.1": true, "172.32.0.1": true, "100.63.0.1": true, "100.128.0.1": true,
		"2600:1f18::1": true, "64:ff9b::808:808": true, "2002:808:808::1": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "127.1.2.3": false, "::1": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "::ffff:192.168.1.1": false,
		"169.254.169.254": false, "169.254.170.2": false, "fd00:ec2::254": false, "100.100.100.200": false, "168.63.129.16": false,
		"100.64.0.1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "fc00::1": false, "fdff::1": false,
		"224.0.0.1": false, "239.1.1.1": false, "ff02::1": false, "255.255.255.255": false, "240.0.0.1": false, "0.0.0.0": false, "::": false,
		"192.0.2.1": false, "198.18.0.1": false, "2001:db8::1": false, "2001::1": false,
		"64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "2002:7f00:1::1": false, "2002:c0a8:101::": false,
	} {
		if got := public(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: public %v, want %v", address, got, want)
		}
	}
}

// letIn makes a fetcher without AllowPrivate reach these servers of the test, and only these.
func letIn(f *Fetcher, servers ...*server) {
	dialer := &net.Dialer{Control: func(network, address string, c syscall.RawConn) error {
		for _, s := range servers {
			if s.Listener.Addr().String() == address {
				return nil
			}
		}
		return refusePrivate(network, address, c)
	}}
	f.guarded.Transport.(*guard).direct.DialContext = dialer.DialContext
}

func TestRedirects(t *testing.T) {
	data := modelBytes(1000)
	other := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { object(w, r, data, "") })
	plain := httptestPlain(t)
	to := func(location string) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		}
	}
	port := other.Listener.Addr().(*net.TCPAddr).Port
	for name, c := range map[string]struct {
		handle   func(n int, w http.ResponseWriter, r *http.Request)
		want     Code
		requests int
	}{
		"to another host":             {to(other.URL + "/x?" + secret), "", 1},
		"to http":                     {to(plain + "/x?" + secret), CodeAddressRefused, 1},
		"to a private address":        {to("https://127.0.0.2/x?" + secret), CodeAddressRefused, 1},
		"to the metadata of a cloud":  {to("https://169.254.169.254/latest/meta-data?" + secret), CodeAddressRefused, 1},
		"to a name of this machine":   {to(fmt.Sprintf("https://localhost:%d/x", port+1)), CodeAddressRefused, 1},
		"to a user":                   {to(strings.Replace(other.URL, "://", "://me:PLANTED@", 1)), CodeAddressRefused, 1},
		"to nonsense":                 {to("https://%zz/?" + secret), CodeNetwork, maxAttempts},
		"to a file":                   {to("file:///etc/passwd"), CodeAddressRefused, 1},
		"nowhere":                     {func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) }, CodeBadAnswer, 1},
		"in a circle":                 {to("/m?" + secret), CodeAddressRefused, maxRedirects + 1},
		"as often as allowed, to one": {func(n int, w http.ResponseWriter, r *http.Request) { hops(n, maxRedirects, other.URL, w, r) }, "", maxRedirects},
		"once too often":              {func(n int, w http.ResponseWriter, r *http.Request) { hops(n, maxRedirects+1, other.URL, w, r) }, CodeAddressRefused, maxRedirects + 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.handle)
			roots := s.roots()
			roots.AddCert(other.Certificate())
			f := newFetcher(t, Options{RootCAs: roots})
			letIn(f, s, other)
			before := len(other.asked())
			_, err := f.Fetch(t.Context(), Request{Reference: reference(t, s.URL+"/m?"+secret), SHA256: hexSum(data), Dir: t.TempDir()})
			assertCode(t, err, c.want)
			if n := len(s.asked()); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
			for _, r := range append(s.asked(), other.asked()[before:]...) {
				if r.Header.Get("Referer") != "" || r.Header.Get("Authorization") != "" {
					t.Errorf("headers that tell too much: %v", r.Header)
				}
			}
		})
	}
}

// hops redirects to itself and at last elsewhere.
func hops(n, last int, elsewhere string, w http.ResponseWriter, r *http.Request) {
	if n < last {
		elsewhere = ""
	}
	http.Redirect(w, r, elsewhere+fmt.Sprintf("/hop%d", n), http.StatusFound)
}

// httptestPlain is the URL of a server without TLS that must not be asked.
func httptestPlain(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked without TLS") })}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with Close
	}()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return "http://" + l.Addr().String()
}

// TestProxy: the proxy of the environment may have a private address, what is behind it may not name one.
func TestProxy(t *testing.T) {
	data := modelBytes(1000)
	target := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) { object(w, r, data, "") })
	proxy := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		upstream, err := net.Dial("tcp", target.Listener.Addr().String()) // whatever the name is
		if err != nil {
			panic(err)
		}
		defer upstream.Close()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		_, _ = fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(upstream, conn) //nolint:errcheck // ends with the connections
		io.Copy(conn, upstream)    //nolint:errcheck // ends with the connections
	})
	roots := target.roots()
	roots.AddCert(proxy.Certificate())
	f := newFetcher(t, Options{RootCAs: roots})
	f.guarded.Transport.(*guard).proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
	for ref, want := range map[string]Code{"https://example.com/m": "", "https://10.0.0.1/m": CodeAddressRefused, "https://[::1]/m": CodeAddressRefused} {
		_, err := f.Fetch(t.Context(), Request{Reference: reference(t, ref), SHA256: hexSum(data), Dir: t.TempDir()})
		assertCode(t, err, want)
	}
	if n := len(proxy.asked()); n != 1 {
		t.Errorf("%d requests to the proxy", n)
	}
	f.Close() // or the proxy waits for the client
}
