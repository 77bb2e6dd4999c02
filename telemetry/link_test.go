package telemetry

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is a link whose other end has no buffer: what isn't read isn't written.
func pipe(t *testing.T, writeTimeout time.Duration) (*link, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return &link{Conn: near, socket: near, writeTimeout: writeTimeout, wrote: make(chan struct{}, 1)}, far
}

// TestLinkOnASlowLine: a line that moves is not taken for a dead one, however long the message takes.
func TestLinkOnASlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, far := pipe(t, writeTimeout)
		var reader sync.WaitGroup
		reader.Go(func() {
			for piece := make([]byte, 256); ; time.Sleep(time.Second) { // 256 bytes a second
				if _, err := io.ReadFull(far, piece); err != nil {
					return
				}
			}
		})
		packet := make([]byte, MaxPayload)
		packet[0] = typePublish << 4
		begin := time.Now()
		if n, err := l.Write(packet); err != nil || n != len(packet) {
			t.Errorf("wrote %d bytes: %v", n, err)
		}
		if d := time.Since(begin); d < 8*time.Minute {
			t.Errorf("it took only %v: the line isn't slow", d)
		}
		if l.published.Load() != 1 {
			t.Error("the PUBLISH was not counted")
		}
		_ = far.Close()
		reader.Wait()
	})
}

func TestLinkOnADeadLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, far := pipe(t, writeTimeout)
		l.greeted.Store(true)
		go func() { _, _ = io.ReadFull(far, make([]byte, 10_000)) }()
		begin := time.Now()
		n, err := l.Write(make([]byte, MaxPayload))
		if !isTimeout(err) || n != 10_000 {
			t.Errorf("wrote %d bytes: %v, want a timeout after 10000", n, err)
		}
		if d := time.Since(begin); d != writeTimeout {
			t.Errorf("it took %v, want %v", d, writeTimeout)
		}
		if l.published.Load() != 0 {
			t.Error("a PUBLISH was counted")
		}
	})
}

// TestLinkKeepsPacketsWhole: pings come from another goroutine than messages and must not get into them.
func TestLinkKeepsPacketsWhole(t *testing.T) {
	l, far := pipe(t, time.Minute)
	const rounds = 50
	var writers sync.WaitGroup
	for _, b := range []byte{0x11, 0x22, 0x33} {
		writers.Go(func() {
			for range rounds {
				if _, err := l.Write(bytes.Repeat([]byte{b}, 3*writeChunk)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	packet := make([]byte, 3*writeChunk)
	for range 3 * rounds {
		if _, err := io.ReadFull(far, packet); err != nil {
			t.Fatal(err)
		}
		if bytes.Count(packet, packet[:1]) != len(packet) {
			t.Fatal("two packets are mixed up")
		}
	}
	writers.Wait()
}

func TestLinkSaysWhyItEnded(t *testing.T) {
	t.Run("aborted", func(t *testing.T) {
		l, _ := pipe(t, time.Minute)
		go l.abort(errNoAck)
		if _, err := l.Read(make([]byte, 1)); !errors.Is(err, errNoAck) {
			t.Errorf("Read: %v", err)
		}
		if _, err := l.Write([]byte{1}); !errors.Is(err, errNoAck) {
			t.Errorf("Write: %v", err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		l, far := pipe(t, time.Minute)
		go func() { _, _ = far.Write([]byte{0x20, 2, 0, 7}) }()
		if n, err := io.ReadFull(l, make([]byte, 4)); n != 0 || !errors.Is(err, connackError(7)) {
			t.Errorf("Read: %d bytes, %v", n, err)
		}
		// What happens afterwards is only the echo.
		if _, err := l.Write([]byte{1}); !errors.Is(err, connackError(7)) {
			t.Errorf("Write: %v", err)
		}
	})
	t.Run("refused before the first write", func(t *testing.T) {
		l, far := pipe(t, 10*time.Millisecond)
		go func() { _, _ = far.Write([]byte("H")) }()
		if _, err := l.Write([]byte{1}); !errors.Is(err, notMQTTError{first: 'H'}) {
			t.Errorf("Write: %v", err)
		}
	})
	t.Run("the peer's last word counts", func(t *testing.T) {
		l, _ := pipe(t, time.Minute)
		l.broke(io.ErrClosedPipe, true)
		l.broke(connackError(5), false)
		l.broke(io.EOF, false)
		l.broke(net.ErrClosed, false)
		if err := l.why(nil); !errors.Is(err, connackError(5)) {
			t.Errorf("reason %v", err)
		}
	})
}
