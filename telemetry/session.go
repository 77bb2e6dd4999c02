package telemetry

import (
	"context"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// statusQoS is the QoS of the status and the will, whatever that of the detections is.
const statusQoS = 1

// ended is how a session ended.
type ended struct {
	err       error         // nil: the client was told to end
	connected bool          // CONNACK had come
	lived     time.Duration // since CONNACK
}

// session is one connection to the broker, from CONNACK on. It has a paho client of its own: paho's reconnecting is
// off, and a paho client is not fit to be used twice.
type session struct {
	*Client
	link *link
	paho mqtt.Client
	lost chan error     // capacity 1: paho has noticed that the connection is gone, and has stopped
	sent chan delivery  // capacity maxInFlight: in the order of sending
	wg   sync.WaitGroup // send and acknowledge
	conn *Conn          // for OnConnect
	gone chan struct{}  // closed when the connection is of no use any more
	// pace and bytes limit what the outbox sends; nil: no limit. The broker counts anew for each connection.
	pace, bytes *rate.Limiter
}

// session makes one connection and uses it until it breaks or the client is to end.
func (c *Client) session(ctx context.Context) ended {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()

	link, err := dial(ctx, c.opts.Dial, c.at.address(), c.tlsFor(c.at), c.opts.timing)
	if err != nil {
		return ended{err: err}
	}
	s := &session{Client: c, link: link, lost: make(chan error, 1), sent: make(chan delivery, maxInFlight), gone: make(chan struct{})}
	if c.opts.Rate > 0 {
		s.pace = rate.NewLimiter(rate.Limit(c.opts.Rate), rateBurst)
	}
	if c.opts.ByteRate > 0 {
		s.bytes = rate.NewLimiter(rate.Limit(c.opts.ByteRate), byteBurst)
	}
	s.conn = &Conn{
		requests: make(chan request), slots: make(chan struct{}, connSlots), subscribing: make(chan struct{}, 1),
		done: s.gone, guard: &link.guard, in: newInbox(&c.missed),
	}
	if err := s.connect(ctx); err != nil {
		_ = link.Close()
		return ended{err: &phaseError{phase: connecting, err: err}}
	}
	start := time.Now()
	c.connects.Add(1)
	c.connected.Store(true)
	defer c.connected.Store(false)
	c.report.connected(c.at.url)

	hook := s.startHook()
	err = s.serve(ctx, hook)
	if isClosed(err) && c.opts.QoS > 0 {
		if what := c.out.suspect(time.Now()); what != "" {
			c.opts.Log.Error(what)
		}
	}
	c.out.disconnected(c.opts.QoS == 0)
	lived := time.Since(start)
	_ = link.Close()
	close(s.gone)
	hook.stop()
	hook.wait()
	return ended{err: err, connected: true, lived: lived}
}

// connect sends CONNECT and waits for CONNACK.
func (s *session) connect(ctx context.Context) error {
	will, err := s.status(Offline, ConnectionLost)
	if err != nil {
		return err
	}
	s.paho = mqtt.NewClient(s.pahoOptions(will))
	unhook := context.AfterFunc(ctx, func() { s.link.abort(ctx.Err()) })
	defer unhook()
	token := s.paho.Connect()
	<-token.Done() // within the connect timeout
	if token.Error() != nil {
		return s.link.why(token.Error())
	}
	return nil
}

func (s *session) pahoOptions(will []byte) *mqtt.ClientOptions {
	t := s.opts.timing
	o := mqtt.NewClientOptions()
	o.AddBroker("tcp://" + s.at.address()) // required, though the connection is there already
	o.SetCustomOpenConnectionFn(s.open)
	o.SetClientID(s.opts.ClientID)
	o.SetUsername(s.opts.Username)
	o.SetPassword(s.password)
	o.SetBinaryWill(s.statusTopic, will, statusQoS, true)
	o.SetProtocolVersion(4) // MQTT 3.1.1 and no second attempt with 3.1
	o.SetCleanSession(true) // the outbox is what survives a connection
	o.SetAutoReconnect(false)
	o.SetKeepAlive(s.opts.KeepAlive)
	o.SetPingTimeout(t.ping)
	o.SetConnectTimeout(t.connect)
	o.SetWriteTimeout(t.refuse) // only reached when the connection has just died, see send
	o.SetOrderMatters(true)
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { s.conn.in.put(m.Topic(), m.Payload()) })
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { s.lost <- err })
	return o
}

// serve sends until the connection breaks, which is the error, or ctx ends.
func (s *session) serve(ctx context.Context, hook *hook) error {
	s.out.rewind(s.opts.QoS == 0, true)
	s.announce(Online, Connected)
	// The goroutines outlive ctx: there is a last time to send.
	running, stop := context.WithCancel(context.Background())
	defer s.wg.Wait()
	defer stop()
	s.wg.Go(func() { s.send(running) })
	s.wg.Go(func() { s.acknowledge(running) })

	periodic := time.NewTicker(s.opts.timing.status)
	defer periodic.Stop()
	stable := time.NewTimer(s.opts.timing.stable)
	defer stable.Stop()
	for {
		select {
		case err := <-s.lost:
			return s.cause(err)
		case <-periodic.C:
			s.announce(Online, Periodic)
		case <-stable.C:
			s.report.stable()
		case s.resting = <-s.rests:
			return s.rest()
		case <-s.renew:
			return s.rest()
		case <-ctx.Done():
			hook.stop()
			s.finish()
			return nil
		}
	}
}

// rest ends the connection without a last word of the broker's.
func (s *session) rest() error {
	s.paho.Disconnect(uint(s.opts.timing.disconnect.Milliseconds()))
	return errRest
}

// open gives paho the connection that was made before.
func (s *session) open(_ *url.URL, _ mqtt.ClientOptions) (net.Conn, error) { return s.link, nil }

// cause is why the connection was lost. Paho has a reason of its own only when a ping wasn't answered.
func (s *session) cause(err error) error {
	if reason := s.link.why(nil); reason != nil {
		return reason
	}
	if isClosed(err) {
		return err
	}
	return errNoPing
}

// announce puts a status into the outbox.
func (s *session) announce(state State, reason Reason) {
	payload, err := s.status(state, reason)
	if err != nil {
		s.opts.Log.Error("no status was sent", zap.Error(err))
		return
	}
	s.out.setStatus(payload)
}

// finish says goodbye: what is in the outbox, the offline status, DISCONNECT. If the broker doesn't acknowledge the
// status, or Close wants it quick, the connection is cut instead, and the broker publishes the will.
func (s *session) finish() {
	t := s.opts.timing
	s.out.finish()
	s.await(t.flush, s.out.drained)
	if s.ctx.Err() == nil {
		s.announce(Offline, Stopped)
		if s.await(t.offline, s.out.statusDrained) {
			s.paho.Disconnect(uint(t.disconnect.Milliseconds()))
			return
		}
	}
	s.link.abort(context.Canceled)
	select {
	case <-s.lost:
	case <-time.After(t.disconnect):
	}
}

// await waits until done, which is looked at after each acknowledgement; false: not within the limit, or the
// connection is lost, or Close was called.
func (s *session) await(limit time.Duration, done func() bool) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for !done() {
		select {
		case <-s.out.acks:
		case <-timer.C:
			return false
		case err := <-s.lost:
			s.lost <- err // for finish; there is room again
			return false
		case <-s.ctx.Done():
			return false
		}
	}
	return true
}
