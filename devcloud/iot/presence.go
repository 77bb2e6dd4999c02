package iot

import (
	"encoding/json"
	"errors"
	"net"
	"os"

	"go.uber.org/zap"
)

const presencePrefix = "$aws/events/presence/"

// presence is a lifecycle event (AWS IoT Core developer guide, "Lifecycle events").
type presence struct {
	ClientID  string `json:"clientId"`
	Timestamp int64  `json:"timestamp"` // milliseconds since 1970
	EventType string `json:"eventType"`
	Session   string `json:"sessionIdentifier"`
	Principal string `json:"principalIdentifier"`
	IPAddress string `json:"ipAddress,omitempty"`
	Version   uint64 `json:"versionNumber"`
	Initiated *bool  `json:"clientInitiatedDisconnect,omitempty"`
	Reason    string `json:"disconnectReason,omitempty"`
}

// announce publishes that a client has come or, with a reason, gone.
func (b *Broker) announce(c *conn, reason string) {
	event := presence{
		ClientID: c.clientID(), Timestamp: b.opts.limits.now().UnixMilli(), EventType: "connected",
		Session: c.session, Principal: c.who.Principal, Version: c.version,
	}
	if host, _, err := net.SplitHostPort(c.addr); err == nil {
		event.IPAddress = host
	}
	if reason != "" {
		initiated := reason == reasonClient
		event.EventType, event.Reason, event.Initiated, event.IPAddress = "disconnected", reason, &initiated, ""
	}
	payload, err := json.Marshal(event)
	if err == nil {
		err = b.Publish(presencePrefix+event.EventType+"/"+event.ClientID, payload)
	}
	if err != nil {
		b.log.Error("a presence event was lost", zap.String("client", event.ClientID), zap.Error(err))
	}
}

// reasonOf says why the library stopped reading.
func reasonOf(c *conn, err error) string {
	switch known := c.why(); {
	case known != "":
		return known
	case err == nil:
		return reasonClient
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reasonKeepAlive
	default:
		return reasonLost
	}
}
