package telemetry

import (
	"crypto/tls"
	"errors"
	"strings"
)

// secondEndpoint is where a broker may be reached when a network lets nothing but the web through: AWS IoT Core serves
// MQTT on port 443 as well. Without a host there is no such place.
func secondEndpoint(e endpoint, o *Options) endpoint {
	port := alpnPort
	if o.alpnPort != "" {
		port = o.alpnPort
	}
	if !e.secure || e.port == port || !o.TryALPN && (e.port != tlsPort || !awsHost(e.host)) {
		return endpoint{}
	}
	second := endpoint{host: e.host, port: port, secure: true, alpn: true}
	second.url = "mqtts://" + second.address()
	return second
}

// awsHost reports whether a name is that of an endpoint of AWS IoT: {id}.iot.{region}.amazonaws.com, with -ats behind
// the id or not, and .cn behind it all in China.
func awsHost(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	name, found := strings.CutSuffix(strings.TrimSuffix(host, ".cn"), ".amazonaws.com")
	return found && strings.Contains(name, ".iot.")
}

// turn chooses the other port for the next attempt if the network, rather than the broker, was in the way. A port that
// works is kept.
func (c *Client) turn(kind trouble, err error) {
	at, ok := errors.AsType[*phaseError](err)
	if c.second.host == "" || !ok || at.phase > handshaking {
		return
	}
	switch kind {
	case refused, unreachable, silent, closedEarly:
	default:
		return
	}
	if c.at = c.broker; !c.onSecond {
		c.at = c.second
	}
	c.onSecond = !c.onSecond
}

// tlsFor is the TLS configuration for an endpoint; nil: plain TCP.
func (c *Client) tlsFor(e endpoint) *tls.Config {
	if c.tls == nil || !e.alpn || len(c.tls.NextProtos) > 0 {
		return c.tls
	}
	cfg := c.tls.Clone()
	cfg.NextProtos = []string{alpnMQTT}
	return cfg
}
