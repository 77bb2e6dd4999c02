package devcloud

import (
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is where the broker asks gnomon: every client may do everything, and the tap hears what is published.
type hook struct {
	mochi.HookBase
	tap func(Message)
}

func (h *hook) ID() string { return "devcloud" }

func (h *hook) Provides(b byte) bool {
	switch b {
	case mochi.OnConnectAuthenticate, mochi.OnACLCheck:
		return true
	case mochi.OnPublish, mochi.OnWillSent:
		return h.tap != nil
	default:
		return false
	}
}

func (h *hook) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

func (h *hook) OnACLCheck(*mochi.Client, string, bool) bool { return true }

// OnPublish runs before the broker acknowledges the message.
func (h *hook) OnPublish(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	h.tap(Message{Topic: pk.TopicName, Payload: pk.Payload, Retain: pk.FixedHeader.Retain})
	return pk, nil
}

func (h *hook) OnWillSent(_ *mochi.Client, pk packets.Packet) {
	h.tap(Message{Topic: pk.TopicName, Payload: pk.Payload, Retain: pk.FixedHeader.Retain, Will: true})
}
