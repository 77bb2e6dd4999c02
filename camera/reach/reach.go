// Package reach notices that a camera which was away is there again, so that nobody waits for the next attempt to open
// it: its device appears, or somebody answers at its address.
package reach

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// every is how often is looked: with the time that opening takes, a camera is watched again within 5 s.
	every = 1500 * time.Millisecond
	// everyDevice is how often is looked for a device, which costs next to nothing.
	everyDevice = 300 * time.Millisecond
	// patience is how long an answer may take.
	patience = time.Second
	// mostAnswer is how much of an answer is read, in bytes: that there is one is enough.
	mostAnswer = 1
)

// Back blocks until what uri names is there after it was seen to be away, and then returns true. It returns false when
// ctx ends, at once if nobody can tell from outside whether it is there. A camera that is there all the time and fails
// for another reason is never back. It allocates a socket now and then and keeps none.
func Back(ctx context.Context, uri string) bool {
	there, pause := look(uri)
	if there == nil {
		return false
	}
	away := false
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		switch here := there(ctx); {
		case here && away:
			return ctx.Err() == nil
		case !here:
			away = true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// There reports whether what uri names answers now. Where nobody can tell, it says that it does.
func There(ctx context.Context, uri string) bool {
	there, _ := look(uri)
	return there == nil || there(ctx)
}

// look is how to find out whether what uri names is there, and how often; nil: not from outside.
func look(uri string) (func(context.Context) bool, time.Duration) {
	if strings.HasPrefix(uri, "/dev/") {
		return func(context.Context) bool {
			_, err := os.Stat(uri)
			return !errors.Is(err, fs.ErrNotExist)
		}, everyDevice
	}
	u, err := url.Parse(uri)
	if err != nil || u.Hostname() == "" {
		return nil, 0
	}
	port, ask := u.Port(), ""
	switch strings.ToLower(u.Scheme) {
	case "rtsp":
		if port == "" {
			port = "554"
		}
		// A server that is hung still accepts connections, through its kernel; only an answer proves something. Everybody
		// may ask for OPTIONS, without a password (RFC 2326, 10.1).
		ask = fmt.Sprintf("OPTIONS rtsp://%s RTSP/1.0\r\nCSeq: 1\r\n\r\n", u.Host)
	case "http":
		if port == "" {
			port = "80"
		}
	case "rtmp":
		if port == "" {
			port = "1935"
		}
	default: // whoever sends over UDP cannot be asked, and who serves one over TCP would take us for that one
		return nil, 0
	}
	address := net.JoinHostPort(u.Hostname(), port)
	return func(ctx context.Context) bool { return answers(ctx, address, ask) }, every
}

// answers reports whether somebody takes a connection, and says something when asked; an empty question needs no answer.
func answers(ctx context.Context, address, ask string) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	if ask == "" {
		return true
	}
	deadline, _ := ctx.Deadline() // there is one, just set
	if err := conn.SetDeadline(deadline); err != nil {
		return false
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write([]byte(ask)); err != nil {
		return false
	}
	n, _ := conn.Read(make([]byte, mostAnswer))
	return n > 0
}
