package advisor_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// behaviour is what the name server does with the questions for one name.
type behaviour int

const (
	unknown   behaviour = iota // NXDOMAIN
	answering                  // the address is 127.0.0.1
	slow                       // the same, after slowAnswer
	silent                     // no answer
	failing                    // SERVFAIL
)

// slowAnswer is well below the 5 s after which the resolver asks again.
const slowAnswer = 1500 * time.Millisecond

// nameServer is a DNS server on loopback for the whole package.
type nameServer struct {
	conn net.PacketConn
	wg   sync.WaitGroup
	done chan struct{}

	mu    sync.Mutex
	names map[string]behaviour // absolute
}

func startNames() (*nameServer, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the name server of the tests: %w", err)
	}
	s := &nameServer{conn: conn, done: make(chan struct{}), names: map[string]behaviour{}}
	s.wg.Go(s.serve)
	return s, nil
}

func (s *nameServer) close() {
	close(s.done)
	_ = s.conn.Close()
	s.wg.Wait()
}

// resolver asks this server, wherever the system's is.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "udp", s.conn.LocalAddr().String())
		if err != nil {
			return nil, err
		}
		return names{conn.(*net.UDPConn), s}, nil
	}}
}

// names lets a test find the server through the resolver, without a global of the package's own.
type names struct {
	*net.UDPConn // whole: the resolver looks whether it is one for packets
	server       *nameServer
}

// behave says what happens to questions for a name from now on.
func behave(t *testing.T, name string, b behaviour) {
	t.Helper()
	conn, err := net.DefaultResolver.Dial(t.Context(), "udp", "")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	s := conn.(names).server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name+"."] = b
}

func (s *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
			continue
		}
		s.mu.Lock()
		b := s.names[q.Questions[0].Name.String()]
		s.mu.Unlock()
		s.wg.Go(func() { s.answer(q, b, from) })
	}
}

func (s *nameServer) answer(q dnsmessage.Message, b behaviour, to net.Addr) {
	a := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.ID, Response: true, RecursionDesired: q.RecursionDesired, RecursionAvailable: true},
		Questions: q.Questions,
	}
	ask := q.Questions[0]
	switch b {
	case unknown:
		a.RCode = dnsmessage.RCodeNameError
	case failing:
		a.RCode = dnsmessage.RCodeServerFailure
	case silent:
		return
	case slow:
		select {
		case <-time.After(slowAnswer):
		case <-s.done:
			return
		}
	case answering:
	}
	if (b == answering || b == slow) && ask.Type == dnsmessage.TypeA {
		a.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: ask.Name, Type: ask.Type, Class: ask.Class},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	if packed, err := a.Pack(); err == nil {
		_, _ = s.conn.WriteTo(packed, to)
	}
}
