package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A chunk is what is stored under one key: some records of one block, in order. Integers are little-endian.
//
//	0  magic, 4 bytes: "gnS" and the version
//	4  class, 1 byte, and 3 zero bytes
//	8  key of the block, 8 bytes
//	16 records, gone ones included, 4 bytes
//	20 of these, gone, 4 bytes
//	24 size of the records' topics and payloads, 4 bytes
//	28 length of the body, 4 bytes
//	32 CRC-32C of the body, 4 bytes
//	36 CRC-32C of the bytes before, 4 bytes
//	40 body
//
// The body has for each record an unsigned varint: 0 for a record that is gone (it was acknowledged before the chunk
// was written, and keeps its place so that the others keep theirs), 1 for one with the topic of the record before, or
// 2 + the length of the topic, followed by the topic. Then follow the payload's length as an unsigned varint and the
// payload.
const (
	headerSize = 40
	version    = 1

	tagGone  = 0
	tagSame  = 1
	tagTopic = 2
)

const (
	// MaxPayload is the greatest payload of one record in bytes: what AWS IoT Core takes in one message.
	MaxPayload = 128 << 10
	// MaxTopic is the greatest topic in bytes; MQTT itself allows 65535, and nobody here needs more than a quarter.
	MaxTopic = 1 << 10
	// maxRecords bounds what a chunk may announce: blockSize of records that consist of two bytes each.
	maxRecords = blockSize
	// maxBody bounds a chunk: a block that takes one more record of the greatest size just before it is full.
	maxBody = blockSize + MaxTopic + MaxPayload + 2*binary.MaxVarintLen32
)

var (
	errHeader = errors.New("the header of a chunk is damaged")
	errBody   = errors.New("the records of a chunk are damaged")
)

// header is the fixed part of a chunk.
type header struct {
	class   Class
	key     uint64
	records int
	gone    int
	size    int // bytes of topics and payloads
	body    int
	crc     uint32
}

// item is one record inside a block.
type item struct {
	topic   string
	payload []byte
	gone    bool // acknowledged
	lost    bool // the file has it no more
}

func (i item) size() int { return len(i.topic) + len(i.payload) }

// checksum is CRC-32C.
func checksum(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }

// appendChunk appends the chunk of some records to dst. key is that of their block.
func appendChunk(dst []byte, class Class, key uint64, items []item) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, headerSize)...)
	gone, size, topic := 0, 0, ""
	for _, it := range items {
		switch {
		case it.gone:
			gone++
			dst = append(dst, tagGone)
			continue
		case it.topic == topic && topic != "":
			dst = append(dst, tagSame)
		default:
			dst = binary.AppendUvarint(dst, tagTopic+uint64(len(it.topic)))
			dst = append(dst, it.topic...)
			topic = it.topic
		}
		dst = binary.AppendUvarint(dst, uint64(len(it.payload)))
		dst = append(dst, it.payload...)
		size += it.size()
	}
	h, body := dst[start:start+headerSize], dst[start+headerSize:]
	copy(h, "gnS")
	h[3], h[4] = version, byte(class)
	le := binary.LittleEndian
	le.PutUint64(h[8:], key)
	le.PutUint32(h[16:], uint32(len(items)))
	le.PutUint32(h[20:], uint32(gone))
	le.PutUint32(h[24:], uint32(size))
	le.PutUint32(h[28:], uint32(len(body)))
	le.PutUint32(h[32:], checksum(body))
	le.PutUint32(h[36:], checksum(h[:36]))
	return dst
}

// parseHeader reads the fixed part and checks it against the key that it was found under.
func parseHeader(p []byte, class Class, key uint64) (header, error) {
	if len(p) < headerSize || string(p[:3]) != "gnS" || p[3] != version {
		return header{}, errHeader
	}
	le := binary.LittleEndian
	if le.Uint32(p[36:]) != checksum(p[:36]) {
		return header{}, errHeader
	}
	h := header{
		class: Class(p[4]), key: le.Uint64(p[8:]), records: int(le.Uint32(p[16:])), gone: int(le.Uint32(p[20:])),
		size: int(le.Uint32(p[24:])), body: int(le.Uint32(p[28:])), crc: le.Uint32(p[32:]),
	}
	if h.class != class || h.key != key || h.records > maxRecords || h.gone > h.records || h.body > maxBody ||
		h.size > h.records*(MaxTopic+MaxPayload) || len(p) != headerSize+h.body {
		return header{}, errHeader
	}
	return h, nil
}

// parseChunk reads a whole chunk. The payloads share p's memory.
func parseChunk(p []byte, class Class, key uint64) ([]item, error) {
	h, err := parseHeader(p, class, key)
	if err != nil {
		return nil, err
	}
	body := p[headerSize:]
	if checksum(body) != h.crc {
		return nil, errBody
	}
	items := make([]item, 0, min(h.records, len(body)))
	gone, topic := 0, ""
	for len(body) > 0 {
		var it item
		if it, body, err = parseItem(body, topic); err != nil {
			return nil, err
		}
		if it.gone {
			gone++
		} else {
			topic = it.topic
		}
		items = append(items, it)
	}
	if len(items) != h.records || gone != h.gone {
		return nil, errBody
	}
	return items, nil
}

// parseItem reads one record; previous is the topic of the one before.
func parseItem(p []byte, previous string) (item, []byte, error) {
	tag, n := binary.Uvarint(p)
	if n <= 0 {
		return item{}, nil, errBody
	}
	p = p[n:]
	it := item{topic: previous}
	switch {
	case tag == tagGone:
		return item{gone: true}, p, nil
	case tag == tagSame:
	case tag-tagTopic > MaxTopic || tag-tagTopic > uint64(len(p)):
		return item{}, nil, errBody
	default:
		it.topic, p = string(p[:tag-tagTopic]), p[tag-tagTopic:]
	}
	length, n := binary.Uvarint(p)
	if n <= 0 || length > MaxPayload || length > uint64(len(p)-n) {
		return item{}, nil, errBody
	}
	it.payload, p = p[n:n+int(length):n+int(length)], p[n+int(length):]
	return it, p, nil
}
