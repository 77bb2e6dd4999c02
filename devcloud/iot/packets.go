package iot

import (
	"encoding/hex"
	"strings"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/zap"
)

// Filters are handed to the library with a mark in front that no client can write, as MQTT forbids the character: on
// those that are refused, and on those that are granted but will never bring a message, because the policy allows to
// subscribe there and not to receive. With ownMark and the client's id, in hex, in front it is for answers that only
// this client gets; their topics are marked in the same way on their way through the library.
const (
	refusedMark = "\x00refused "
	silentMark  = "\x00silent "
	ownMark     = "\x00own "
)

func isRefused(filter string) bool { return strings.HasPrefix(filter, refusedMark) }
func isSilent(filter string) bool  { return strings.HasPrefix(filter, silentMark) }

// own marks a topic or a filter as one client's.
func own(client, topic string) string {
	return ownMark + hex.EncodeToString([]byte(client)) + " " + topic
}

// unmarked undoes own.
func unmarked(topic string) string {
	if rest, ok := strings.CutPrefix(topic, ownMark); ok {
		_, topic, _ = strings.Cut(rest, " ")
	}
	return topic
}

func isAdminID(id, name string) bool {
	return id == name || strings.HasPrefix(id, name+"-")
}

// noRetained is the retain handling that makes a subscription bring no retained message (MQTT 5, section 3.8.3.1).
const noRetained = 2

// readConnect moves the keep-alive into AWS's range and drops a will that would not be published.
func (h *hook) readConnect(c *conn, packet packets.Packet) (packets.Packet, error) {
	asked := packet.Connect.Keepalive
	if asked == 0 {
		asked = maxKeepAlive
	}
	packet.Connect.Keepalive = min(max(asked, h.broker.opts.limits.minKeepAlive), maxKeepAlive)
	if !packet.Connect.WillFlag {
		return packet, nil
	}
	if packet.Connect.WillQos > 1 {
		return h.reject(c, packet, reasonMistake, packet.Connect.WillTopic, "use QoS 0 or 1 for the will")
	}
	topic := packet.Connect.WillTopic
	who := Subject{ClientID: packet.Connect.ClientIdentifier, CommonName: c.who.Name, Thing: c.who.Thing}
	if h.forbidden(c, who, topic, packet.Connect.WillRetain) != "" || isServiceRequest(topic) || !withinLimits(topic) ||
		isWildcard(topic) {
		h.broker.log.Warn("a will is ignored; use a topic that the client may publish to and that is no service's",
			zap.String("client", packet.Connect.ClientIdentifier), zap.String("topic", topic))
		packet.Connect.WillFlag, packet.Connect.WillRetain, packet.Connect.WillQos = false, false, 0
	}
	return packet, nil
}

// forbidden says what a client has to change to be allowed to publish to a topic; empty: nothing.
func (h *hook) forbidden(c *conn, who Subject, topic string, retain bool) string {
	policy := c.policy(h.broker.opts.Policy)
	switch {
	case isReserved(topic) && !isServiceRequest(topic) && !isIngest(topic):
		return "topics that begin with $ are AWS's own: clients may ask a shadow, ask for a certificate, or publish to " +
			"$aws/rules/{rule}/{topic}"
	case isReserved(topic) && retain:
		return "messages to topics that begin with $ cannot be retained"
	case c.who.Admin:
		return ""
	case !policy.Allows(who, ActionPublish, "topic/"+topic):
		return "the policy does not allow " + ActionPublish + " there"
	case retain && !policy.Allows(who, ActionRetainPublish, "topic/"+topic):
		return "the policy does not allow " + ActionRetainPublish + " there"
	}
	return ""
}

func (h *hook) readPublish(c *conn, packet packets.Packet) (packets.Packet, error) {
	topic := packet.TopicName
	switch {
	case packet.FixedHeader.Qos > 1:
		h.broker.log.Warn("a message with QoS 2 is ignored: AWS IoT does not answer it; use 0 or 1",
			zap.String("client", c.clientID()), zap.String("topic", topic))
		return ignored(), nil
	case len(packet.Payload) > maxPayload:
		return h.reject(c, packet, reasonMistake, topic, "a payload has at most 128 KB")
	case !withinLimits(topic):
		return h.reject(c, packet, reasonMistake, topic, "a topic has at most 256 bytes and 7 slashes")
	}
	if fix := h.forbidden(c, c.subject(), topic, packet.FixedHeader.Retain); fix != "" {
		return h.reject(c, packet, reasonForbidden, topic, fix)
	}
	if !c.who.Admin && !c.publishes.take() {
		c.discarded.Add(1)
		return ignored(), nil
	}
	if packet.FixedHeader.Retain && len(packet.Payload) > 0 {
		retained := h.broker.server.Topics.Retained
		if _, known := retained.Get(topic); !known && retained.Len() >= maxRetained {
			h.broker.log.Warn("a message is not retained: there are too many", zap.String("topic", topic))
			packet.FixedHeader.Retain = false
		}
	}
	return packet, nil
}

func (h *hook) readSubscribe(c *conn, client *mochi.Client, packet packets.Packet) (packets.Packet, error) {
	if len(packet.Filters) > maxFilters {
		return h.reject(c, packet, reasonMistake, "", "one SUBSCRIBE has at most 8 filters")
	}
	have := client.State.Subscriptions.GetAll()
	filters := make(packets.Subscriptions, len(packet.Filters))
	added := map[string]bool{}
	for i, sub := range packet.Filters {
		if sub.Qos > 1 {
			h.broker.log.Warn("a SUBSCRIBE with QoS 2 is ignored: AWS IoT does not answer it; use 0 or 1",
				zap.String("client", c.clientID()), zap.String("filter", sub.Filter))
			return ignored(), nil
		}
		if isWildcard(sub.Filter) {
			sub.RetainHandling = noRetained
		}
		sub.Filter = h.judge(c, sub.Filter)
		if _, known := have[sub.Filter]; !known && !isRefused(sub.Filter) {
			added[sub.Filter] = true
		}
		filters[i] = sub
	}
	if len(have)+len(added) > maxSubscriptions {
		return h.reject(c, packet, reasonMistake, "", "a connection has at most 50 subscriptions")
	}
	packet.Filters = filters
	return packet, nil
}

// judge marks a filter that is refused, or granted in silence.
func (h *hook) judge(c *conn, filter string) string {
	fix := ""
	policy, who := c.policy(h.broker.opts.Policy), c.subject()
	switch {
	case !withinLimits(filter):
		fix = "a filter has at most 256 bytes and 7 slashes"
	case c.who.Admin:
	case strings.HasPrefix(filter, rulesPrefix) ||
		isReserved(filter) && !strings.HasPrefix(filter, reservedPrefix) && !strings.HasPrefix(filter, sharePrefix):
		fix = "nobody can subscribe there"
	case !policy.Allows(who, ActionSubscribe, "topicfilter/"+filter):
		fix = "the policy does not allow " + ActionSubscribe + " there"
	case !isWildcard(filter) && !isShared(filter) && !policy.Allows(who, ActionReceive, "topic/"+filter):
		return silentMark + filter
	}
	if fix == "" && isProvisioning(filter) {
		return own(c.clientID(), filter)
	}
	if fix == "" {
		return filter
	}
	h.broker.log.Warn("a filter was refused", zap.String("client", c.clientID()), zap.String("filter", filter), zap.String("fix", fix))
	return refusedMark + filter
}

// isShared reports whether a filter is that of a shared subscription: its topic is behind the group's name.
func isShared(filter string) bool { return strings.HasPrefix(filter, sharePrefix) }

// readUnsubscribe finds the subscriptions that were granted in silence, or for the client's own answers.
func readUnsubscribe(client *mochi.Client, packet packets.Packet) packets.Packet {
	filters := make(packets.Subscriptions, len(packet.Filters))
	for i, sub := range packet.Filters {
		if _, known := client.State.Subscriptions.Get(silentMark + sub.Filter); known {
			sub.Filter = silentMark + sub.Filter
		} else if isProvisioning(sub.Filter) {
			sub.Filter = own(client.ID, sub.Filter)
		}
		filters[i] = sub
	}
	packet.Filters = filters
	return packet
}
