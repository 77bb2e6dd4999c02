package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"gnomon/cloud/keypair"
)

// phase is how far an attempt got.
type phase int

const (
	dialing     phase = iota // DNS and TCP
	handshaking              // TLS
	connecting               // CONNECT sent, CONNACK awaited
	serving                  // connected
)

// phaseError is an error with the phase in which it happened.
type phaseError struct {
	phase phase
	err   error
}

func (e *phaseError) Error() string { return e.err.Error() }
func (e *phaseError) Unwrap() error { return e.err }

// Reasons of our own for breaking off a connection.
var (
	errNoAck  = errors.New("the broker has stopped acknowledging messages")
	errNoPing = errors.New("the broker has stopped answering pings")
)

// trouble is what an operator would call the state that the connection is in. It decides what counts as news.
type trouble string

const (
	noTrouble      trouble = ""
	refused        trouble = "refused"
	unresolved     trouble = "unresolved"
	unreachable    trouble = "unreachable"
	silent         trouble = "silent"
	notMQTT        trouble = "not-mqtt"
	notTLS         trouble = "not-tls"
	unknownCA      trouble = "unknown-ca"
	certExpired    trouble = "certificate-expired"
	wrongHost      trouble = "wrong-host"
	badCertificate trouble = "bad-certificate"
	clientRefused  trouble = "client-certificate-refused"
	handshakeOther trouble = "handshake"
	badCredentials trouble = "bad-credentials"
	notAuthorised  trouble = "not-authorised"
	idRefused      trouble = "client-id-refused"
	unavailable    trouble = "unavailable"
	connackOther   trouble = "connack"
	closedEarly    trouble = "closed-early"
	lost           trouble = "lost"
	flapping       trouble = "flapping"
)

// diagnose says in one sentence what is wrong and what to do about it.
func (c *Client) diagnose(err error) (trouble, string) {
	p := serving
	if pe, ok := errors.AsType[*phaseError](err); ok {
		p = pe.phase
	}
	var kind trouble
	var text string
	switch p {
	case dialing:
		kind, text = c.diagnoseDial(err)
	case handshaking:
		kind, text = c.diagnoseTLS(err)
	case connecting:
		kind, text = c.diagnoseConnect(err)
	default:
		return lost, "lost the connection to the broker " + c.at.url + ": " + c.lossText(err)
	}
	return kind, "can't connect to the broker " + c.at.url + ": " + text
}

func (c *Client) diagnoseDial(err error) (trouble, string) {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case dns.IsNotFound:
			return unresolved, fmt.Sprintf("no such host as %s: correct the broker's name or the DNS settings", c.at.host)
		case dns.IsTimeout:
			return unresolved, fmt.Sprintf("the DNS server didn't say within %v where %s is: check the network and the DNS settings", c.opts.timing.connect, c.at.host)
		}
		return unresolved, fmt.Sprintf("can't look up %s (%s): check the network and the DNS settings", c.at.host, dns.Err)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused, "nothing listens there (connection refused): start the broker, or correct the address and the port"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return unreachable, "there is no route to it: check the network"
	case isTimeout(err):
		return silent, fmt.Sprintf("no answer within %v: check the network, the address, and whether a firewall lets port %s through", c.opts.timing.connect, c.at.port)
	}
	return unreachable, err.Error()
}

func (c *Client) diagnoseTLS(err error) (trouble, string) {
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		names := "no name at all"
		if e.Certificate != nil {
			if valid := append(ipStrings(e.Certificate.IPAddresses), e.Certificate.DNSNames...); len(valid) > 0 {
				names = strings.Join(valid, ", ")
			}
		}
		return wrongHost, fmt.Sprintf("its certificate is for %s, not for %s: connect by a name that the certificate has, or have the certificate reissued", names, c.at.host)
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		issuer := ""
		if e.Cert != nil {
			issuer = fmt.Sprintf(" (it says %q)", e.Cert.Issuer.String())
		}
		if c.opts.CAFile == "" {
			return unknownCA, "its certificate is signed by nobody whom this system trusts" + issuer + ": set ca_file to the certificate of the broker's CA"
		}
		return unknownCA, fmt.Sprintf("its certificate isn't signed by a CA in %s%s: put the certificate of the broker's CA there", c.opts.CAFile, issuer)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		now := time.Now()
		if e.Reason == x509.Expired && e.Cert != nil {
			if now.Before(e.Cert.NotBefore) {
				return certExpired, fmt.Sprintf("its certificate is valid only from %s, and this device's clock says %s: set the clock", date(e.Cert.NotBefore), date(now))
			}
			return certExpired, fmt.Sprintf("its certificate expired on %s, and this device's clock says %s: have the certificate renewed, or set the clock", date(e.Cert.NotAfter), date(now))
		}
		return badCertificate, fmt.Sprintf("its certificate can't be accepted (%v): have it reissued", e)
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return notTLS, fmt.Sprintf("it doesn't speak TLS on port %s (%s): write mqtt:// for plain MQTT, or use the broker's TLS port", c.at.port, e.Msg)
	}
	if alert, ok := remoteAlert(err); ok {
		return c.diagnoseAlert(alert)
	}
	switch {
	case isTimeout(err):
		return silent, fmt.Sprintf("it accepted the TCP connection but didn't finish the TLS handshake within %v: check the port and the network", c.opts.timing.connect)
	case isClosed(err):
		return closedEarly, fmt.Sprintf("it closed the connection during the TLS handshake: check that port %s is its TLS port", c.at.port)
	}
	return handshakeOther, fmt.Sprintf("TLS handshake: %v", err)
}

// diagnoseAlert explains a TLS alert from the broker. In TLS 1.3 it may come after the handshake, in place of CONNACK.
func (c *Client) diagnoseAlert(alert string) (trouble, string) {
	if !strings.Contains(alert, "certificate") && !strings.Contains(alert, "access denied") && !strings.Contains(alert, "decrypting message") {
		return handshakeOther, fmt.Sprintf("it refused the TLS handshake (%s): check that broker and client have a TLS version and a cipher in common", alert)
	}
	if c.opts.CertFile == "" {
		return clientRefused, fmt.Sprintf("it wants a client certificate (%s): set cert_file and key_file", alert)
	}
	advice := "check that it is active and signed by a CA that the broker trusts"
	if leaf := c.leaf(); leaf != nil && time.Now().After(leaf.NotAfter) {
		advice = fmt.Sprintf("it expired on %s, so have it renewed", date(leaf.NotAfter))
	}
	return clientRefused, fmt.Sprintf("it refused the client certificate %s (%s): %s", c.opts.CertFile, alert, advice)
}

func (c *Client) diagnoseConnect(err error) (trouble, string) {
	if code, ok := errors.AsType[connackError](err); ok {
		switch code {
		case 1:
			return connackOther, "it doesn't speak MQTT 3.1.1 (CONNACK code 1): use another broker, or another version of it"
		case 2:
			return idRefused, fmt.Sprintf("it doesn't accept the client id %q (CONNACK code 2): set client_id to one that it does", c.opts.ClientID)
		case 3:
			return unavailable, "it says that it is unavailable (CONNACK code 3): see the broker's own log"
		case 4:
			return badCredentials, fmt.Sprintf("it refused the user name %q or its password (CONNACK code 4): check username and password_file", c.opts.Username)
		case 5, 7: // 7 is AWS IoT Core's
			return notAuthorised, fmt.Sprintf("client id %q isn't authorised to connect (CONNACK code %d): check the credentials, and the broker's policy for this client id and for the topic %s", c.opts.ClientID, byte(code), c.statusTopic)
		}
		return connackOther, fmt.Sprintf("it refused the connection with CONNACK code %d: see the broker's own log", byte(code))
	}
	if e, ok := errors.AsType[notMQTTError](err); ok {
		if e.first == 'H' || e.first == '<' {
			return notMQTT, fmt.Sprintf("what answers on port %s is a web server, perhaps the login page of this network (a captive portal): check the port and the network", c.at.port)
		}
		if !c.at.secure && e.first == 0x15 { // a TLS alert record
			return notMQTT, fmt.Sprintf("it wants TLS on port %s: write mqtts:// in the broker's URL", c.at.port)
		}
		return notMQTT, fmt.Sprintf("what answers on port %s doesn't speak MQTT: check the port", c.at.port)
	}
	if alert, ok := remoteAlert(err); ok {
		return c.diagnoseAlert(alert)
	}
	switch {
	case isTimeout(err):
		return silent, fmt.Sprintf("it accepted the connection but didn't answer CONNECT within %v: check that a broker listens on port %s and isn't overloaded", c.opts.timing.connect, c.at.port)
	case isClosed(err):
		hint := "see the broker's own log; it may want TLS, or other credentials"
		if c.at.secure {
			hint = "see the broker's own log; it may want a client certificate, or other credentials"
		}
		return closedEarly, "it closed the connection without answering CONNECT: " + hint
	}
	return closedEarly, err.Error()
}

func (c *Client) lossText(err error) string {
	switch {
	case errors.Is(err, errNoAck), errors.Is(err, errNoPing):
		return err.Error()
	case isTimeout(err):
		return fmt.Sprintf("nothing could be sent for %v", c.opts.timing.write)
	case isClosed(err):
		return "the broker or the network closed it"
	}
	return err.Error()
}

// flappingText explains connections that end as soon as they are made.
func (c *Client) flappingText(times int, err error) string {
	return fmt.Sprintf("the connection to the broker %s ended right after it was accepted, %d times in a row (%s): another client uses this id, %q, and throws this one out, or the broker's policy doesn't let this one publish below %s; give every client an id of its own",
		c.at.url, times, c.lossText(err), c.opts.ClientID, c.opts.TopicPrefix+"/"+c.opts.Thing)
}

// leaf is the client's own certificate, nil without one.
func (c *Client) leaf() *x509.Certificate {
	if c.tls == nil || c.opts.CertFile == "" {
		return nil
	}
	leaf, err := keypair.Leaf(c.opts.CertFile)
	if err != nil { // it was there a moment ago
		return nil
	}
	return leaf
}

// remoteAlert finds the text of a TLS alert that the other side sent; crypto/tls has no exported type for it.
func remoteAlert(err error) (string, bool) {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" && op.Err != nil {
		return strings.TrimPrefix(op.Err.Error(), "tls: "), true
	}
	return "", false
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func ipStrings[T fmt.Stringer](ips []T) []string {
	out := make([]string, 0, len(ips))
	for _, ip := range ips {
		out = append(out, ip.String())
	}
	return out
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
