package advisor_test

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestUnreachable: nothing answers at the broker's address, not even a refusal. Linux does that, on loopback, to who
// connects to a socket whose queue is full.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	l := fullListener(t)
	d := start(t, options("mqtt://"+l.Addr().String()))
	d.publish(t, 0, 10, 10)
	d.says(t, "no answer within 10s: check the network, the address, and whether a firewall lets port")
	b := newBrokerAt(t, l, nil, good) // takes what is in the queue, and then the device
	d.lossless(t, &b.got, 10)
}

// fullListener has connections that nobody accepts.
func fullListener(t *testing.T) net.Listener {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 500*time.Millisecond)
		if err != nil {
			return l
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("ten connections found room in a queue without any")
	return nil
}
