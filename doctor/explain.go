package doctor

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
)

// phase is how far a connection came.
type phase int

const (
	dialling phase = iota
	handshaking
	connecting
)

// trouble is what is wrong with a connection.
type trouble struct {
	text, do string
	network  bool // rather than the broker is in the way: another port may help
}

func (t *trouble) finding(at endpoint) Finding { return Fail(t.do, "%s: %s", at.address(), t.text) }

// explain says what an error means and what to do about it.
func (o *MQTTOptions) explain(at endpoint, p phase, err error) *trouble {
	if p == dialling {
		return explainDial(at, err)
	}
	if t := o.explainCertificate(at, err); t != nil {
		return t
	}
	remote, _ := errors.AsType[*net.OpError](err)
	switch {
	case remote != nil && remote.Op == "remote error":
		if o.Files.CertFile == "" {
			return &trouble{text: fmt.Sprintf("it wants a certificate (%v)", remote.Err), do: "set mqtt.cert_file and mqtt.key_file"}
		}
		return &trouble{text: fmt.Sprintf("it refuses the device's certificate (%v)", remote.Err), do: "check that it is active, attached to a thing, and of this account and region; see the check certificate"}
	case timedOut(err):
		return &trouble{text: "it took the connection, and then did not answer", do: "check the port, and what stands between: a proxy or a login page of this network", network: true}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &trouble{text: "it closed the connection without a word", do: "check the port and the broker's own log; it may want another certificate, other credentials, or TLS", network: p == handshaking}
	}
	return &trouble{text: err.Error(), do: "check the broker and the network", network: p == handshaking}
}

func explainDial(at endpoint, err error) *trouble {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return &trouble{text: "there is no host of that name", do: "correct mqtt.broker, or the DNS settings: resolvectl status"}
		}
		return &trouble{text: "its name cannot be looked up (" + dns.Err + ")", do: "check the network and the DNS settings: resolvectl status"}
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &trouble{text: "nothing listens there (connection refused)", do: "start the broker, or correct the address and the port of mqtt.broker", network: true}
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return &trouble{text: "there is no route to it", do: "check the network: ip route", network: true}
	case timedOut(err):
		return &trouble{text: fmt.Sprintf("no answer within %v", connectTimeout), do: "check the network, the address, and whether a firewall lets TCP port " + at.port + " through", network: true}
	}
	return &trouble{text: err.Error(), do: "check the network", network: true}
}

// explainCertificate is about the broker's certificate; nil: the error is not.
func (o *MQTTOptions) explainCertificate(at endpoint, err error) *trouble {
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		text := "its certificate is signed by nobody whom this device trusts"
		if e.Cert != nil {
			text += fmt.Sprintf(" (%q says so)", e.Cert.Issuer.String())
		}
		if o.CAFile == "" {
			return &trouble{text: text, do: "set mqtt.ca_file to the authority of the broker; where it is a proxy's, let the connection through unopened"}
		}
		return &trouble{text: text, do: "put the authority of the broker into " + o.CAFile}
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		names := "nobody"
		if e.Certificate != nil && len(e.Certificate.DNSNames) > 0 {
			names = strings.Join(e.Certificate.DNSNames, ", ")
		}
		return &trouble{text: fmt.Sprintf("its certificate is for %s, not for %s", names, at.host), do: "write one of its names in mqtt.broker"}
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired && e.Cert != nil {
			return &trouble{
				text: fmt.Sprintf("its certificate is valid from %s to %s, and the clock of this device says %s",
					e.Cert.NotBefore.UTC().Format(time.DateOnly), e.Cert.NotAfter.UTC().Format(time.DateOnly), time.Now().UTC().Format(time.RFC3339)),
				do: "set the clock, or have the broker's certificate renewed",
			}
		}
		return &trouble{text: fmt.Sprintf("its certificate cannot be taken: %v", e), do: "have it issued anew"}
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return &trouble{text: "it does not speak TLS (" + e.Msg + ")", do: "write mqtt:// for a broker without TLS, or its TLS port"}
	}
	return nil
}

func timedOut(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}
