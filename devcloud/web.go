package devcloud

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"gnomon/devcloud/pki"
	"gnomon/devcloud/sts"
)

const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	// stopGrace is how long requests that are under way get when it ends: an agent has 5 s for its own end.
	stopGrace = time.Second

	thingsPath = "/things/"
	listPath   = "/api/things/"
)

// callerKey is where the handler keeps for objects who has signed a request.
type callerKey struct{}

// caller is the outcome of checking a signature.
type caller struct {
	who sts.Principal
	err error
}

func (c *Cloud) newHTTP() *http.Server {
	config := c.serverTLS()
	// Asked for, not required, and checked where it matters: whether a certificate is good for anything is an answer
	// that AWS gives in HTTP.
	config.ClientAuth = tls.RequestClientCert
	return &http.Server{
		Handler: http.HandlerFunc(c.serve), TLSConfig: config, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: log.New(handshakeLog{c.opts.Log}, "", 0),
	}
}

// handshakeLog takes the HTTP server's complaints, which are about clients that don't trust our certificate.
type handshakeLog struct{ log *zap.Logger }

// Write implements io.Writer.
func (h handshakeLog) Write(line []byte) (int, error) {
	h.log.Debug("HTTPS", zap.ByteString("line", line))
	return len(line), nil
}

func (c *Cloud) serveHTTP() error {
	err := c.http.ServeTLS(c.socket, "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (c *Cloud) stopHTTP() {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	_ = c.http.Shutdown(ctx) // what does not end by itself is closed
	_ = c.http.Close()
}

// serve tells the services apart as their clients do: by path, and what is left is for objects to sort out.
func (c *Cloud) serve(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, sts.RolesPath):
		c.provider.ServeHTTP(w, r)
	case isShadowCall(r):
		c.serveShadows(w, r)
	default:
		c.serveObjects(w, r)
	}
}

// isShadowCall leaves a bucket called things to S3.
func isShadowCall(r *http.Request) bool {
	path := r.URL.Path
	return strings.HasPrefix(path, listPath) ||
		strings.HasPrefix(path, thingsPath) && strings.HasSuffix(path, "/shadow") && strings.Count(path, "/") == 3
}

func (c *Cloud) serveShadows(w http.ResponseWriter, r *http.Request) {
	thing, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, thingsPath), "/")
	if strings.HasPrefix(r.URL.Path, listPath) {
		thing = r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	}
	if err := c.mayUseShadow(r, thing); err != nil {
		c.refused(r, err)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Amzn-ErrorType", "ForbiddenException")
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]any{"code": http.StatusForbidden, "message": "Forbidden"}) // the client may have gone
		return
	}
	c.shadows.ServeHTTP(w, r)
}

// mayUseShadow takes a signature, or else the certificate of the connection: a device's is good for its own shadows.
func (c *Cloud) mayUseShadow(r *http.Request, thing string) error {
	var who sts.Principal
	var err error
	if r.Header.Get("Authorization") != "" {
		who, err = c.keys.Verify(r)
	} else {
		owner, _, identifyErr := c.ownerOf(r.TLS.PeerCertificates)
		who, err = sts.Principal{Admin: owner.Admin, Thing: owner.Thing}, identifyErr
	}
	switch {
	case err != nil:
		return err
	case !who.Admin && (who.Thing == "" || who.Thing != thing):
		return errors.New("a device may use its own shadows only")
	}
	return nil
}

func (c *Cloud) serveObjects(w http.ResponseWriter, r *http.Request) {
	registry := r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/")
	if !registry || r.Header.Get("X-Amz-Target") != "" {
		who, err := c.keys.Verify(r)
		if err == nil {
			err = sts.Authorize(who, r)
		}
		if err != nil {
			c.refused(r, err)
		}
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, caller{who, err}))
	}
	c.objects.ServeHTTP(w, r)
}

// refused logs without the query, where a presigned URL has its signature.
func (c *Cloud) refused(r *http.Request, err error) {
	c.opts.Log.Warn("a call was refused", zap.String("method", r.Method), zap.String("path", r.URL.Path),
		zap.String("target", r.Header.Get("X-Amz-Target")), zap.Error(err))
}

// authorise is what objects asks before each call: the answer is known already.
func authorise(r *http.Request) error {
	if known, ok := r.Context().Value(callerKey{}).(caller); ok {
		return known.err
	}
	return errors.New("the request was not checked")
}

// readOnly reports whether a registry token is for a device.
func readOnly(r *http.Request) bool {
	known, _ := r.Context().Value(callerKey{}).(caller)
	return !known.who.Admin
}

// thingOf is the thing whose certificate was shown; the administrator is none, and neither is a claim.
func (c *Cloud) thingOf(state *tls.ConnectionState) (string, error) {
	owner, _, err := c.ownerOf(state.PeerCertificates)
	if err == nil && owner.Thing == "" {
		err = pki.ErrUnknown
	}
	return owner.Thing, err
}
