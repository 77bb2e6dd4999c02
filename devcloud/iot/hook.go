package iot

import (
	"sync/atomic"

	"github.com/google/uuid"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/zap"
)

// The return codes of a CONNACK that refuses, in MQTT 3.1.1. AWS answers clients that its policy refuses with 7, which
// is in no standard.
const (
	refusedID   = 2
	refusedRate = 3
	refusedAuth = 7
)

// hook is where the broker library asks what a client may do.
type hook struct {
	mochi.HookBase
	broker *Broker
}

func (h *hook) ID() string { return "iot" }

func (h *hook) Provides(b byte) bool {
	switch b {
	case mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPacketRead, mochi.OnPacketEncode, mochi.OnPublished,
		mochi.OnSessionEstablish, mochi.OnSessionEstablished, mochi.OnDisconnect, mochi.OnClientExpired:
		return true
	}
	return false
}

// connOf is the connection under a client; nil: the broker itself.
func connOf(client *mochi.Client) *conn {
	c, _ := client.Net.Conn.(*conn)
	return c
}

// OnConnectAuthenticate decides whether a client may connect with the id that it wants.
func (h *hook) OnConnectAuthenticate(client *mochi.Client, _ packets.Packet) bool {
	c, b := connOf(client), h.broker
	who := Subject{ClientID: client.ID, CommonName: c.who.Name, Thing: c.who.Thing}
	var fix string
	switch {
	case len(client.ID) > maxClientID:
		c.refusal, fix = refusedID, "client ids have at most 128 bytes"
	case c.who.Admin && !isAdminID(client.ID, c.who.Name):
		c.refusal, fix = refusedAuth, "an admin's client id begins with "+c.who.Name+", so that it never throws out a device"
	case !c.who.Admin && !c.policy(b.opts.Policy).Allows(who, ActionConnect, "client/"+client.ID):
		c.refusal, fix = refusedAuth, "use the thing's name as the client id, or change the policy"
	case b.tooSoon(client.ID):
		c.refusal, fix = refusedRate, "wait a second between two connections"
	default:
		c.setID(client.ID)
		return true
	}
	b.log.Warn("a client was not let in", zap.String("client", client.ID), zap.String("certificate", c.who.Name),
		zap.Uint8("connack", c.refusal), zap.String("fix", fix))
	return false
}

// OnPacketEncode changes what the library would say.
func (h *hook) OnPacketEncode(client *mochi.Client, packet packets.Packet) packets.Packet {
	c := connOf(client)
	if c == nil {
		return packet
	}
	old := client.Properties.ProtocolVersion < 5
	switch packet.FixedHeader.Type {
	case packets.Connack:
		if packet.ReasonCode == 0 || c.refusal == 0 {
			break
		}
		packet.ReasonCode, packet.Properties.ReasonString = c.refusal, ""
		if !old {
			packet.ReasonCode = map[byte]byte{
				refusedID:   packets.ErrClientIdentifierNotValid.Code,
				refusedRate: packets.ErrQuotaExceeded.Code,
				refusedAuth: packets.ErrNotAuthorized.Code,
			}[c.refusal]
		}
	case packets.Disconnect:
		if old { // in MQTT 3.1.1 only clients send it; a packet without a type is not written
			packet.FixedHeader.Type = packets.Reserved
		}
	case packets.Publish:
		packet.TopicName = unmarked(packet.TopicName)
		// Replays of a stored session have their own pace, in the outbox.
		if packet.FixedHeader.Dup || c.mayDeliver() {
			break
		}
		if client.State.Inflight.Delete(packet.PacketID) {
			client.State.Inflight.IncreaseSendQuota()
			atomic.AddInt64(&h.broker.server.Info.Inflight, -1)
		}
		packet.FixedHeader.Type = packets.Reserved // discarded
	}
	return packet
}

// OnSessionEstablish ends an older connection with the same client id.
func (h *hook) OnSessionEstablish(client *mochi.Client, _ packets.Packet) {
	h.broker.claim(connOf(client))
}

// OnSessionEstablished runs after CONNACK.
func (h *hook) OnSessionEstablished(client *mochi.Client, _ packets.Packet) {
	c := connOf(client)
	c.session, c.version = uuid.NewString(), h.broker.versions.Add(1)
	h.broker.announce(c, "")
}

// OnDisconnect runs when a client that was connected has gone.
func (h *hook) OnDisconnect(client *mochi.Client, err error, _ bool) {
	if c := connOf(client); c != nil && c.session != "" {
		h.broker.announce(c, reasonOf(c, err))
	}
}

// OnClientExpired drops the subscriptions of a session that nobody came back to. The library leaves them, and the next
// client with that id would get messages that it never asked for.
func (h *hook) OnClientExpired(client *mochi.Client) { h.broker.server.UnsubscribeClient(client) }

// OnPublished runs after the acknowledgement.
func (h *hook) OnPublished(client *mochi.Client, packet packets.Packet) {
	switch topic := packet.TopicName; {
	case connOf(client) == nil:
	case h.broker.opts.Shadow != nil && isShadowRequest(topic):
		h.broker.opts.Shadow(topic, packet.Payload)
	case h.broker.opts.Provision != nil && isProvisioningRequest(topic):
		h.broker.opts.Provision(client.ID, topic, packet.Payload)
	}
}

// OnACLCheck is asked about filters, which readSubscribe has judged before, and about each message to a client.
// Publishing was decided in readPublish.
func (h *hook) OnACLCheck(client *mochi.Client, topic string, write bool) bool {
	c := connOf(client)
	topic = unmarked(topic)
	switch {
	case isRefused(topic):
		return false
	case write || c == nil || isSilent(topic) || isWildcard(topic) || isShared(topic):
		return true
	case c.who.Admin:
		return true
	}
	return !isIngest(topic) && c.policy(h.broker.opts.Policy).Allows(c.subject(), ActionReceive, "topic/"+topic)
}

// OnPacketRead sees every packet of a client before the library does. ErrRejectPacket closes the connection; ignored
// makes the library do nothing.
func (h *hook) OnPacketRead(client *mochi.Client, packet packets.Packet) (packets.Packet, error) {
	c := connOf(client)
	switch packet.FixedHeader.Type {
	case packets.Connect:
		return h.readConnect(c, packet)
	case packets.Publish:
		return h.readPublish(c, packet)
	case packets.Subscribe:
		return h.readSubscribe(c, client, packet)
	case packets.Unsubscribe:
		return readUnsubscribe(client, packet), nil
	case packets.Puback:
		c.out.acknowledged(packet.PacketID)
	}
	return packet, nil
}

// ignored is an acknowledgement of nothing.
func ignored() packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}}
}

// reject closes the connection of a client for a reason.
func (h *hook) reject(c *conn, packet packets.Packet, reason, topic, fix string) (packets.Packet, error) {
	c.because(reason)
	h.broker.log.Warn("a client was disconnected", zap.String("client", c.clientID()), zap.String("topic", topic),
		zap.String("fix", fix))
	return packet, packets.ErrRejectPacket
}
