package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"gnomon/config/yamldoc"
)

// The ports of MQTT without and with TLS, as IANA has registered them.
const (
	portPlain = "1883"
	portTLS   = "8883"
)

// Endpoint is where the broker is: HOST:PORT for net.Dial, and whether to speak TLS there. It is empty for the embedded
// broker. The error's text continues a sentence that begins with the key.
func (m *MQTT) Endpoint() (address string, tls bool, err error) {
	if m.Broker == BrokerEmbedded {
		return "", false, nil
	}
	const write = "write " + BrokerEmbedded + ", mqtt://HOST:1883, or mqtts://HOST:8883 for TLS"
	scheme, rest, ok := strings.Cut(m.Broker, "://")
	if !ok {
		return "", false, fmt.Errorf("is %s; %s", shown(m.Broker), write)
	}
	if strings.Contains(rest, "@") { // before anything that repeats the value
		return "", false, errors.New("must not hold a password; use username and password_file")
	}
	port := portPlain
	switch strings.ToLower(scheme) {
	case "mqtt", "tcp":
	case "mqtts", "ssl", "tls":
		port, tls = portTLS, true
	default:
		return "", false, fmt.Errorf("begins with %s; %s", shown(scheme+"://"), write)
	}
	u, err := url.Parse(m.Broker)
	if err != nil || u.Hostname() == "" || !validPort(u) || strings.TrimPrefix(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", false, fmt.Errorf("is not a host and port: %s; %s", shown(m.Broker), write)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return net.JoinHostPort(u.Hostname(), port), tls, nil
}

// validPort reports whether the URL has a port that exists, or none.
func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.Atoi(u.Port())
	return err == nil && n >= 1 && n <= 65535
}

func (m *MQTT) check(p *yamldoc.Problems) {
	_, tls, err := m.Endpoint()
	if err != nil {
		p.Addf("mqtt.broker", "%v", err)
	}
	embedded := m.Broker == BrokerEmbedded
	m.checkNames(p, embedded)
	for _, file := range [...]struct {
		path, value string
		tls         bool
	}{
		{"mqtt.password_file", m.PasswordFile, false},
		{"mqtt.ca_file", m.CAFile, true},
		{"mqtt.cert_file", m.CertFile, true},
		{"mqtt.key_file", m.KeyFile, true},
	} {
		checkPath(p, file.path, file.value)
		if file.tls && file.value != "" && !tls && err == nil {
			p.Addf(file.path, "is for TLS, and mqtt.broker is %s; write mqtts://HOST:8883 there, or remove it", shown(m.Broker))
		}
	}
	if (m.CertFile == "") != (m.KeyFile == "") {
		set, missing := "mqtt.cert_file", "mqtt.key_file"
		if m.CertFile == "" {
			set, missing = missing, set
		}
		p.Addf(set, "is set but %s is not; write both or neither", missing)
	}
	switch {
	case m.TopicPrefix == "":
		p.Addf("mqtt.topic_prefix", "is empty; write at least one level, such as dt")
	case !prefixForm.MatchString(m.TopicPrefix) || !utf8.ValidString(m.TopicPrefix):
		p.Addf("mqtt.topic_prefix", "must be 1 to 5 levels with single slashes between them, none at the ends, not beginning with $, and without + # or spaces: %s", shown(m.TopicPrefix))
	}
	if m.QoS != 0 && m.QoS != 1 {
		p.Addf("mqtt.qos", "must be 0 or 1, not %d", m.QoS)
	}
	checkDuration(p, "mqtt.keep_alive", m.KeepAlive, minKeepAlive, maxKeepAlive)
	if m.Outbox < 1 || m.Outbox > maxOutbox {
		p.Addf("mqtt.outbox", "must be from 1 to %d, not %d", maxOutbox, m.Outbox)
	}
	yamldoc.OneOf(p, "mqtt.publish", m.Publish, PublishDetections, PublishEveryFrame)
}

func (m *MQTT) checkNames(p *yamldoc.Problems, embedded bool) {
	if len(m.ClientID) > maxClientID {
		p.Addf("mqtt.client_id", "has %d bytes, more than the %d that are allowed", len(m.ClientID), maxClientID)
	}
	if strings.ContainsFunc(m.ClientID, isControl) {
		p.Addf("mqtt.client_id", "must not have control characters: %s", shown(m.ClientID))
	}
	checkPath(p, "mqtt.username", m.Username)
	if embedded && m.Username != "" {
		p.Addf("mqtt.username", "has no use with the embedded broker, which asks for none; remove it, or set mqtt.broker")
	}
	switch {
	case m.PasswordFile == "":
	case embedded:
		p.Addf("mqtt.password_file", "has no use with the embedded broker, which asks for none; remove it, or set mqtt.broker")
	case m.Username == "":
		p.Addf("mqtt.password_file", "is set but mqtt.username is not; write both, or neither")
	}
}

// checkTopics makes sure that the longest topic is one that a broker takes.
func (c *Config) checkTopics(p *yamldoc.Problems) {
	thing := len(c.Device.Thing)
	if thing == 0 {
		thing = maxHostName
	}
	source := 0
	for name := range c.Sources {
		source = max(source, len(name))
	}
	const separators, last = 3, len("detections")
	if n := len(c.MQTT.TopicPrefix) + thing + source + last + separators; n > maxTopic {
		p.Addf("mqtt.topic_prefix", "makes topics of up to %d bytes (PREFIX/THING/SOURCE/detections), more than the %d that are allowed; shorten it, device.thing or the sources' names", n, maxTopic)
	}
}
