package artifact

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const (
	maxRedirects   = 5                // a registry needs one, a release page of a forge two
	dialTimeout    = 10 * time.Second // a mobile network takes 3 s on a bad day
	tlsTimeout     = 10 * time.Second
	idleTimeout    = 90 * time.Second
	maxHeaderBytes = 64 << 10
)

// newGuardedClient makes the client for what references from outside name: https only, few redirects, and, unless
// private is set, no address that is not public. The wait for a header is bounded by the watchdog of the attempt.
func newGuardedClient(roots *x509.CertPool, private bool) *http.Client {
	transport := func(dialer *net.Dialer) *http.Transport {
		return &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:    tlsTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			IdleConnTimeout:        idleTimeout,
			DisableCompression:     true, // bytes are taken as they come
			ForceAttemptHTTP2:      true,
		}
	}
	direct := &net.Dialer{Timeout: dialTimeout}
	if !private {
		direct.Control = refusePrivate
	}
	g := &guard{private: private, proxy: http.ProxyFromEnvironment, direct: transport(direct), proxied: transport(&net.Dialer{Timeout: dialTimeout})}
	g.proxied.Proxy = func(r *http.Request) (*url.URL, error) { return g.proxy(r) }
	return &http.Client{Transport: g, CheckRedirect: checkRedirect}
}

// guard sends a request straight to its host or through the proxy of the environment. A proxy is the administrator's, it
// may well have a private address, and it resolves names itself: then only addresses in the URL can be checked here,
// and what a name may lead to is up to the proxy.
type guard struct {
	private         bool
	proxy           func(*http.Request) (*url.URL, error)
	direct, proxied *http.Transport
}

// RoundTrip implements http.RoundTripper; it sees every hop of a redirect.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != SchemeHTTPS {
		return nil, fail(CodeAddressRefused, "the download leads away from https, to %s://%s; models come over https only", r.URL.Scheme, r.URL.Host)
	}
	proxy, err := g.proxy(r)
	if err != nil {
		return nil, fail(CodeNotConfigured, "the proxy in the environment of this process is not a URL; correct HTTPS_PROXY")
	}
	if proxy == nil {
		return g.direct.RoundTrip(r)
	}
	if address, err := netip.ParseAddr(r.URL.Hostname()); err == nil && !g.private && !public(address) {
		return nil, refused(address)
	}
	return g.proxied.RoundTrip(r)
}

// CloseIdleConnections serves http.Client's method of that name.
func (g *guard) CloseIdleConnections() {
	g.direct.CloseIdleConnections()
	g.proxied.CloseIdleConnections()
}

// refusePrivate is a net.Dialer's Control: it sees every address after names were resolved, so that a name that changes
// its mind between a check and the connection gains nothing.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fail(CodeAddressRefused, "%.60q is no address", address)
	}
	if !public(to.Addr()) {
		return refused(to.Addr())
	}
	return nil
}

func refused(a netip.Addr) error {
	return fail(CodeAddressRefused, "the download leads to %s, which is not a public address; use a public server, "+
		"or allow private addresses on this device", a)
}

// public reports whether an address belongs to the internet at large: not those of "this" network, private, carriers,
// loopback, link-local (with the metadata services of clouds), documentation, benchmarks, multicast and reserved ones
// of the special-purpose registries (RFC 6890), nor what hides one of them in IPv6.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, special := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "168.63.129.16/32",
		"::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/9", "ff00::/8",
	} {
		if netip.MustParsePrefix(special).Contains(a) {
			return false
		}
	}
	b := a.As16()
	switch {
	case a.Is4():
		return true
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a): // NAT64 (RFC 6052)
		return public(netip.AddrFrom4([4]byte(b[12:16])))
	case netip.MustParsePrefix("2002::/16").Contains(a): // 6to4 (RFC 3056)
		return public(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return true
}

// checkRedirect is http.Client's. Request headers that a registry's login added are taken off by the client that added
// them; net/http names the page before, with the query of a presigned URL, to whoever comes next.
func checkRedirect(r *http.Request, via []*http.Request) error {
	r.Header.Del("Referer")
	if !sameHost(r.URL, via[0].URL) {
		r.Header.Del("Authorization")
	}
	switch {
	case r.URL.User != nil:
		return fail(CodeAddressRefused, "the server redirects to %s with a user name in the URL", r.URL.Host)
	case len(via) > maxRedirects:
		return fail(CodeAddressRefused, "the server redirects more than %d times; write the reference of the file itself", maxRedirects)
	}
	return nil
}

func sameHost(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }
