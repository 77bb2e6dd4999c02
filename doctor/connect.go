package doctor

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"gnomon/cloud/keypair"
)

// keepAlive is in seconds: the connection is over long before.
const keepAlive = 60

// connack is a CONNACK without its last byte, which is the answer, and the one before, which is about sessions
// (MQTT 3.1.1, section 3.2).
const connack = "\x20\x02"

// Connect checks that the broker lets the device in, by MQTT 3.1.1 with a clean session. It publishes nothing and leaves
// no last will. An agent that is connected with the same client id is thrown out by it: leave it out while one runs.
func Connect(o MQTTOptions) Check {
	return Check{Name: "mqtt connect", Run: func(ctx context.Context) Finding { return o.connect(ctx) }}
}

func (o MQTTOptions) connect(ctx context.Context) Finding {
	at, err := parseBroker(o.Broker)
	if err != nil {
		return Fail("correct mqtt.broker", "%v", err)
	}
	password, err := o.password()
	if err != nil {
		return Fail("put the password into the first line of the file", "%v", err)
	}
	c, t := o.dial(ctx, at)
	if second, other := at.second(&o); t != nil && t.network && other {
		c, t = o.dial(ctx, second)
		at = second
	}
	if t != nil {
		return t.finding(at)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	p, ok := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	if !ok { // cannot be
		return Fail("", "the MQTT library makes no CONNECT")
	}
	p.ProtocolName, p.ProtocolVersion, p.CleanSession, p.Keepalive = "MQTT", 4, true, keepAlive
	p.ClientIdentifier = o.ClientID
	p.UsernameFlag, p.Username = o.Username != "", o.Username
	p.PasswordFlag, p.Password = password != "", []byte(password)
	answer := make([]byte, len(connack)+2)
	if err = p.Write(c); err == nil {
		_, err = io.ReadFull(c, answer)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return o.explain(at, connecting, err).finding(at)
	}
	if string(answer[:len(connack)]) != connack {
		return Fail("check the port, and whether a login page of this network answers in the broker's place", "%s: what answers does not speak MQTT", at.address())
	}
	_ = packets.NewControlPacket(packets.Disconnect).Write(c) // a courtesy
	if code := answer[len(answer)-1]; code != 0 {
		return o.refused(at, code)
	}
	return Good("%s lets client id %q in", at.address(), o.ClientID)
}

// refused explains the codes of CONNACK (MQTT 3.1.1, section 3.2.2.3); 7 is AWS IoT's.
func (o *MQTTOptions) refused(at endpoint, code byte) Finding {
	do := "see the broker's own log"
	switch code {
	case 1:
		do = "use a broker that speaks MQTT 3.1.1"
	case 2:
		do = "set mqtt.client_id to one that it takes"
	case 3:
		do = "try again later; see the broker's own log"
	case 4:
		do = "check mqtt.username and mqtt.password_file"
	case 5, 7:
		do = "check the credentials, and that the broker's policy allows this client id to connect (iot:Connect)"
	}
	return Fail(do, "%s does not let client id %q in (CONNACK code %d)", at.address(), o.ClientID, code)
}

func (o *MQTTOptions) password() (string, error) {
	if o.PasswordFile == "" {
		return "", nil
	}
	data, err := keypair.ReadSecret("password_file", o.PasswordFile)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("password_file %s has an empty first line", o.PasswordFile)
	}
	return line, nil
}
