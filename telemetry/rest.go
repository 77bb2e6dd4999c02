package telemetry

import (
	"context"
	"errors"
)

// rest is a request to be without a connection for a while.
type rest struct {
	ctx  context.Context
	run  func(context.Context) error
	done chan error // capacity 1
}

// errRest ends a connection that was told to rest.
var errRest = errors.New("the connection rests")

// Rest says goodbye to the broker, calls f while there is no connection, which leaves the client id free for another one,
// and connects again. Run must be running: without it, and after its end, the error is ErrClosed. What is unacknowledged is
// sent again afterwards.
func (c *Client) Rest(ctx context.Context, f func(context.Context) error) error {
	r := &rest{ctx: ctx, run: f, done: make(chan error, 1)}
	select {
	case c.rests <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ended:
		return ErrClosed
	}
	select {
	case err := <-r.done:
		return err
	case <-c.ended:
		return ErrClosed
	}
}

// Reconnect ends the connection, if there is one, and makes another, for which the certificate is read anew. It does not
// wait.
func (c *Client) Reconnect() { signal(c.renew) }

// takeRest carries out what the connection was ended for, if anything.
func (c *Client) takeRest() {
	r := c.resting
	if r == nil { // it is only to be made anew
		return
	}
	c.resting = nil
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	r.done <- r.run(ctx)
}
