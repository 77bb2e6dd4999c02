package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"gnomon/telemetry/spool"
)

const (
	// DefaultKeepAlive is short enough to notice a dead connection within a minute, and the least that AWS IoT Core
	// takes.
	DefaultKeepAlive = 30 * time.Second
	minKeepAlive     = time.Second
	maxKeepAlive     = 1200 * time.Second // AWS IoT Core's limit

	// DefaultOutbox holds somewhat more than a minute of four cameras at 30 frames a second.
	DefaultOutbox = 10_000
	maxOutbox     = 1_000_000 // an empty slot takes 40 bytes

	// maxClientID is AWS IoT Core's limit in bytes.
	maxClientID = 128
	// maxBootID is twice what a UUID takes: the boot id is in every message.
	maxBootID = 72
	// maxUsername and maxPassword are MQTT's: lengths are 16 bits.
	maxUsername = 65535
	maxPassword = 65535

	plainPort = "1883"
	tlsPort   = "8883"
	// alpnPort is where AWS IoT Core serves MQTT and HTTPS side by side, told apart by alpnMQTT.
	alpnPort = "443"
	alpnMQTT = "x-amzn-mqtt-ca"
)

// Options configures a Client.
type Options struct {
	// Broker is the URL of the broker: mqtt:// or tcp:// for plain TCP, port 1883 unless given; mqtts://, ssl:// or
	// tls:// for TLS, port 8883 unless given. On port 443 the client asks for MQTT by ALPN, as AWS IoT Core needs.
	Broker string
	// ClientID must differ between all clients of the broker; empty: Thing.
	ClientID string
	// Thing names the device: one level of a topic.
	Thing string
	// TopicPrefix goes before the thing's name in the status topic; no slash at either end.
	TopicPrefix string

	Username     string // empty: none
	PasswordFile string // its first line is the password; not readable for others

	// CAFile holds the PEM certificates that the broker's must be signed by; empty: the system's.
	CAFile string
	// CertFile and KeyFile are the client's own certificate chain and private key in PEM; both or neither. The key
	// file must not be readable for others.
	CertFile, KeyFile string

	// QoS of what Publish sends: 0, at most once, or 1, at least once. The status always has 1.
	QoS byte
	// KeepAlive is how long the connection may be idle before it is tested, in whole seconds from 1 s to 1200 s;
	// 0: DefaultKeepAlive.
	KeepAlive time.Duration
	// Outbox is how many messages may wait to be sent without a Spool; 0: DefaultOutbox. They may have 32 MB together
	// at most.
	Outbox int
	// Spool keeps the messages on the disk until they are acknowledged; nil: they wait in memory. The caller runs it
	// from before Run, closes it after the end of Run, and gives it to one client only.
	Spool *spool.Spool
	// Rate is how many messages of Publish are sent in a second, after a burst of a few; 0: as many as the broker
	// acknowledges. The status and what Conn sends are not counted. See AWSRate. With a rate or a spool, messages that
	// were put on the present connection go before those that have waited for one, and several of one topic may travel
	// as one: {"batch":[…]} with at most MaxPayload bytes, if they are JSON objects.
	Rate float64
	// ByteRate is how many bytes of these are sent in a second, after a burst of one message of the greatest size; 0: if
	// there is a Rate, AWSByteRate, and otherwise as many as the network takes.
	ByteRate int
	// BasicIngest names for each class the rule of AWS IoT that its messages go to directly, on
	// $aws/rules/{rule}/{topic}; without one they go to the topic.
	BasicIngest map[Class]string
	// TryALPN has a broker with TLS on another port than 443 tried there as well when it can't be reached, which is
	// done for the endpoints of AWS IoT on port 8883 in any case.
	TryALPN bool

	// Dial connects to the broker's address, below TLS; nil: net.Dialer's DialContext. Network is tcp. It gives up when ctx
	// ends.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	AgentVersion string     // for the status
	BootID       string     // a random id of this run of the process, so that readers can tell runs apart
	Status       StatusFunc // nil: a status has no sources
	// Health is asked for a JSON object that says how the agent is, for each status; nil: a status has none. It must return
	// quickly.
	Health func() json.RawMessage

	// OnConnect, if set, is called in a goroutine of its own for each connection, after CONNACK. Its context ends when
	// the connection ends or the client is to stop; the function must return then. The next connection and the end of
	// Run wait for it, within the limits of stopping.
	OnConnect func(ctx context.Context, conn *Conn)

	Log *zap.Logger // nil: no logging

	timing   timing
	alpnPort string // for tests
}

// endpoint is a broker's URL, taken apart.
type endpoint struct {
	url    string // in its usual form, to show: mqtts://host:8883
	host   string
	port   string
	secure bool
	alpn   bool // MQTT must be asked for
}

func (e endpoint) address() string { return net.JoinHostPort(e.host, e.port) }

// local reports whether the broker is on this machine, as far as its name tells.
func (e endpoint) local() bool {
	ip := net.ParseIP(e.host)
	return e.host == "localhost" || ip != nil && ip.IsLoopback()
}

func parseBroker(raw string) (endpoint, error) {
	const example = "write for example mqtts://broker.example.com:8883 or mqtt://127.0.0.1:1883"
	if raw == "" {
		return endpoint{}, errors.New("the broker's URL is empty; " + example)
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's own error repeats the URL, and with it a password that somebody put there.
		return endpoint{}, errors.New("the broker's URL can't be read; " + example)
	}
	if u.User != nil {
		return endpoint{}, fmt.Errorf("the broker's URL %s has a user name in it; set username and password_file instead", u.Redacted())
	}
	e := endpoint{host: u.Hostname(), port: u.Port()}
	scheme, port := "mqtt", plainPort
	switch strings.ToLower(u.Scheme) {
	case "mqtt", "tcp":
	case "mqtts", "ssl", "tls":
		scheme, port, e.secure = "mqtts", tlsPort, true
	default:
		return endpoint{}, fmt.Errorf("the broker's URL %q begins with neither mqtt:// nor mqtts://; %s", raw, example)
	}
	if e.host == "" {
		return endpoint{}, fmt.Errorf("the broker's URL %q names no host; %s", raw, example)
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return endpoint{}, fmt.Errorf("the broker's URL %q has something behind the port, which MQTT has no use for; %s", raw, example)
	}
	if e.port == "" {
		e.port = port
	}
	if n, err := net.LookupPort("tcp", e.port); err != nil || n < 1 {
		return endpoint{}, fmt.Errorf("the broker's URL %q has the port %s; a port is a number between 1 and 65535", raw, e.port)
	}
	e.url = scheme + "://" + e.address()
	return e, nil
}

// normalise fills in what may be left out and checks everything that needs no file.
func (o *Options) normalise() error {
	if err := validateLevel("thing", o.Thing); err != nil {
		return err
	}
	if o.ClientID == "" {
		o.ClientID = o.Thing
	}
	if len(o.ClientID) > maxClientID {
		return fmt.Errorf("client id %.40q… has %d bytes; at most %d are allowed", o.ClientID, len(o.ClientID), maxClientID)
	}
	if err := validateText("client id", o.ClientID); err != nil {
		return err
	}
	if o.BootID == "" || len(o.BootID) > maxBootID {
		return fmt.Errorf("the boot id must have between 1 and %d bytes; make a random one at each start of the process", maxBootID)
	}
	if o.QoS > 1 {
		return fmt.Errorf("qos is %d; use 1, at least once, or 0, at most once", o.QoS)
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = DefaultKeepAlive
	}
	if o.KeepAlive < minKeepAlive || o.KeepAlive > maxKeepAlive || o.KeepAlive%time.Second != 0 {
		return fmt.Errorf("keep_alive is %v; use whole seconds between %v and %v", o.KeepAlive, minKeepAlive, maxKeepAlive)
	}
	if o.Outbox == 0 {
		o.Outbox = DefaultOutbox
	}
	if !(o.Rate >= 0) {
		return fmt.Errorf("rate is %v messages a second; use a number above 0, or 0 for no limit", o.Rate)
	}
	if o.ByteRate < 0 {
		return fmt.Errorf("byte rate is %d; use a number above 0, or 0 for no limit", o.ByteRate)
	}
	if o.ByteRate == 0 && o.Rate > 0 {
		o.ByteRate = AWSByteRate
	}
	for class, rule := range o.BasicIngest {
		if err := validateRule(class, rule); err != nil {
			return err
		}
	}
	if o.Outbox < 1 || o.Outbox > maxOutbox {
		return fmt.Errorf("outbox is %d messages; use a number between 1 and %d", o.Outbox, maxOutbox)
	}
	if len(o.Username) > maxUsername {
		return fmt.Errorf("username has %d bytes; MQTT allows %d", len(o.Username), maxUsername)
	}
	if o.PasswordFile != "" && o.Username == "" {
		return errors.New("password_file is set but username is not; MQTT has no password without a user name")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	o.timing = o.timing.withDefaults()
	return nil
}
