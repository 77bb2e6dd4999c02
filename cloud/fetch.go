package cloud

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// CredentialsError is a failure to get credentials. Status is the HTTP status, 0 if there was no answer; Message is
// what the service or the network said, Fix what to do about it.
type CredentialsError struct {
	Status  int
	Message string
	Fix     string
	err     error
}

func (e *CredentialsError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("no AWS credentials: %s: %s", e.Message, e.Fix)
	}
	return fmt.Sprintf("no AWS credentials: the credential provider answered %d %q: %s", e.Status, e.Message, e.Fix)
}

// Unwrap returns the network's error, if it was one.
func (e *CredentialsError) Unwrap() error { return e.err }

// Temporary reports whether it may pass without anybody changing anything.
func (e *CredentialsError) Temporary() bool {
	return e.Status == 0 || e.Status == http.StatusTooManyRequests || e.Status >= 500
}

// answer is the body of the service's answer (AWS IoT Core developer guide, "Authorizing direct calls to AWS services").
type answer struct {
	Credentials struct {
		AccessKeyID     string    `json:"accessKeyId"`
		SecretAccessKey string    `json:"secretAccessKey"`
		SessionToken    string    `json:"sessionToken"`
		Expiration      time.Time `json:"expiration"`
	} `json:"credentials"`
	Message string `json:"message"`
}

func (c *Credentials) fetch(ctx context.Context) (aws.Credentials, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("ask for AWS credentials: %w", err)
	}
	req.Header.Set("x-amzn-iot-thingname", c.thing)
	resp, err := c.client.Do(req)
	if err != nil {
		return aws.Credentials{}, c.networkError(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return aws.Credentials{}, c.networkError(err)
	}
	now := c.now()
	off := c.compareClocks(now, resp.Header.Get("Date"))
	var a answer
	badJSON := json.Unmarshal(body, &a)
	if resp.StatusCode != http.StatusOK {
		return aws.Credentials{}, c.refused(resp.StatusCode, a.Message, off)
	}
	k := a.Credentials
	if len(body) > maxBody || badJSON != nil || k.AccessKeyID == "" || k.SecretAccessKey == "" || k.SessionToken == "" ||
		k.Expiration.IsZero() {
		return aws.Credentials{}, &CredentialsError{
			Status: resp.StatusCode, Message: "an answer without credentials",
			Fix: "check that the endpoint is the credential provider's and no proxy or login page answers in its place",
		}
	}
	if !now.Before(k.Expiration) {
		return aws.Credentials{}, &CredentialsError{
			Status: resp.StatusCode, Message: "credentials that expired at " + k.Expiration.UTC().Format(time.RFC3339),
			Fix: clockFix(off),
		}
	}
	expires := k.Expiration
	if off < -maxClockOff { // by a clock that is behind, they would seem to live on after their end
		expires = expires.Add(off)
	}
	return aws.Credentials{
		AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken,
		Source: "AWS IoT credential provider", CanExpire: true, Expires: expires,
	}, nil
}

// clockFix says how far the device's clock is ahead of the server's, if that is known and not nothing.
func clockFix(off time.Duration) string {
	fix := "the clock of this device is wrong"
	switch off = off.Round(time.Second); {
	case off.Abs() <= time.Second: // the header has whole seconds
	case off > 0:
		fix += fmt.Sprintf(": it is %v ahead of the server's", off)
	case off < 0:
		fix += fmt.Sprintf(": it is %v behind the server's", -off)
	}
	return fix + "; set the clock, and check that time synchronisation (NTP) runs"
}

// networkError is a failure without an answer.
func (c *Credentials) networkError(err error) error {
	fix := "check the endpoint, the network and the proxy of this device"
	switch text := err.Error(); {
	case errors.Is(err, errUnfit):
		fix = "mend that, or provision a new certificate"
	case isWrongTime(err):
		fix = "the server's certificate is not valid at the time that the clock of this device shows, " +
			c.now().UTC().Format(time.RFC3339) + ": set the clock, and check that time synchronisation (NTP) runs"
	case strings.Contains(text, "x509:"):
		fix = "the server's certificate is not trusted: check ca_file, the clock of this device and who intercepts TLS"
	case strings.Contains(text, "remote error: tls"):
		fix = "the server refused the device's certificate: check that it is registered and active in AWS IoT"
	case errors.Is(err, context.DeadlineExceeded):
		fix = "no answer came in time: check the network, the firewall (port 443) and the proxy of this device"
	}
	return &CredentialsError{Message: err.Error(), Fix: fix, err: err}
}

// isWrongTime reports whether the server's certificate is none for the time of the clock.
func isWrongTime(err error) bool {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok && invalid.Reason == x509.Expired
}

// refused explains the service's errors. off is how far the clock is from the service's.
func (c *Credentials) refused(status int, message string, off time.Duration) error {
	const maxMessage = 300 // the service's own have a line
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "")
	}
	if message == "" {
		message = http.StatusText(status)
	}
	e := &CredentialsError{Status: status, Message: message}
	has := func(s string) bool { return strings.Contains(strings.ToLower(message), s) }
	switch {
	case status == 403 && has("thing name"):
		e.Fix = fmt.Sprintf("check that thing %q exists and that the device's certificate is attached to it", c.thing)
	case status == 403 && has("certificate"):
		e.Fix = "check that the certificate is registered and active in the account and region of this endpoint"
	case status == 403:
		e.Fix = "attach a policy to the certificate that allows iot:AssumeRoleWithCertificate on the role alias"
	case status == 404:
		e.Fix = "create the role alias in this account and region, or correct role_alias"
	case status == 400:
		e.Fix = "check that the role trusts credentials.iot.amazonaws.com and that the alias's duration " +
			"is no longer than the role's maximum session duration"
	case status == 429:
		e.Fix = "too many requests in this account; it is tried again later"
	case status >= 500:
		e.Fix = "the service has trouble; it is tried again later"
	default:
		e.Fix = "check that the endpoint is the credential provider's"
	}
	if off.Abs() > maxClockOff {
		e.Fix += "; besides, " + clockFix(off)
	}
	return e
}
