// The message plan that all clients share; see ../README.md.

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	poolSize      = 17 << 16
	blockSize     = 50
	bodySizeMax   = 1 << 20
	bodySizeLarge = 102400
)

// Plan knows every message of one run: its topic, body and way of publishing.
type Plan struct {
	topic    string
	topics   int
	messages int
	requeue  int
	pool     []byte
}

func newPlan(topic string, topics, messages, requeue int) *Plan {
	pool := make([]byte, poolSize)
	x := uint32(0x9E3779B9)
	for i := range pool {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		pool[i] = byte(x >> 24)
	}
	return &Plan{topic, topics, messages, requeue, pool}
}

func scatter(i int) int {
	return int(uint32(i) * 2654435761 >> 12)
}

func (p *Plan) topicName(number int) string {
	if p.topics == 1 {
		return p.topic
	}
	return fmt.Sprintf("%s%d", p.topic, number)
}

func tiny(i int) bool { return i%10 == 7 }

func bodySize(i int) int {
	switch {
	case i == 3:
		return bodySizeMax
	case i%100 == 3:
		return bodySizeLarge - scatter(i)%80000
	case i%10 == 5:
		return 1024 + scatter(i)%15360
	default:
		return 16 + scatter(i)%1000
	}
}

func (p *Plan) body(i int) []byte {
	if tiny(i) {
		number := binary.BigEndian.AppendUint32(nil, uint32(i/10))
		for len(number) > 1 && number[0] == 0 {
			number = number[1:]
		}
		return number
	}
	size := bodySize(i)
	body := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(i))
	body = binary.BigEndian.AppendUint32(body, uint32(size))
	start := scatter(i) % 16384
	body = append(body, p.pool[start:start+size-12]...)
	return binary.BigEndian.AppendUint32(body, crc32.ChecksumIEEE(body))
}

// index says which message a body belongs to, or -1 where no message of this topic has it.
func (p *Plan) index(body []byte, topicNumber int) int {
	i := -1
	if len(body) >= 1 && len(body) <= 4 {
		number := 0
		for _, b := range body {
			number = number<<8 | int(b)
		}
		i = number*10 + 7
	} else if len(body) >= 16 {
		end := len(body) - 4
		if binary.BigEndian.Uint32(body[end:]) != crc32.ChecksumIEEE(body[:end]) {
			return -1
		}
		i = int(binary.BigEndian.Uint32(body))
	}
	if i < 0 || i >= p.messages || i%p.topics != topicNumber || !bytes.Equal(body, p.body(i)) {
		return -1
	}
	return i
}

// Single messages go out with PUB, whole blocks with MPUB, the last of each single block with DPUB.
func multi(i int) bool    { return i/blockSize%2 == 1 }
func deferred(i int) bool { return !multi(i) && i%blockSize == blockSize-1 }

func (p *Plan) toRequeue(i int) bool { return p.requeue > 0 && i%p.requeue == 0 }

func (p *Plan) requeues() int {
	if p.requeue == 0 {
		return 0
	}
	return (p.messages + p.requeue - 1) / p.requeue
}
