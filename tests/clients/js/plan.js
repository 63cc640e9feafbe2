// The message plan that all clients share; see ../README.md.
'use strict'

const { crc32 } = require('zlib')

const POOL_SIZE = 17 << 16
const BLOCK_SIZE = 50
const BODY_SIZE_MAX = 1 << 20
const BODY_SIZE_LARGE = 102400

function makePool() {
  const pool = Buffer.alloc(POOL_SIZE)
  let x = 0x9e3779b9
  for (let i = 0; i < POOL_SIZE; i++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    pool[i] = x >>> 24
  }
  return pool
}

const scatter = (i) => Math.imul(i, 2654435761) >>> 12

function bodySize(i) {
  if (i === 3) return BODY_SIZE_MAX
  if (i % 100 === 3) return BODY_SIZE_LARGE - (scatter(i) % 80000)
  if (i % 10 === 5) return 1024 + (scatter(i) % 15360)
  return 16 + (scatter(i) % 1000)
}

// Single messages go out with PUB, whole blocks with MPUB, the last of each single block with DPUB.
const multi = (i) => Math.floor(i / BLOCK_SIZE) % 2 === 1
const deferred = (i) => !multi(i) && i % BLOCK_SIZE === BLOCK_SIZE - 1

/** Knows every message of one run: its topic, body and way of publishing. */
class Plan {
  constructor(topic, topics, messages, requeue) {
    Object.assign(this, { topic, topics, messages, requeue, pool: makePool() })
  }

  topicName(number) {
    return this.topics === 1 ? this.topic : `${this.topic}${number}`
  }

  body(i) {
    if (i % 10 === 7) {
      const number = Buffer.alloc(4)
      number.writeUInt32BE(Math.floor(i / 10))
      const first = number.findIndex((byte) => byte !== 0)
      return number.subarray(first === -1 ? 3 : first)
    }
    const size = bodySize(i)
    const start = scatter(i) % 16384
    const body = Buffer.alloc(size)
    body.writeUInt32BE(i, 0)
    body.writeUInt32BE(size, 4)
    this.pool.copy(body, 8, start, start + size - 12)
    body.writeUInt32BE(crc32(body.subarray(0, size - 4)), size - 4)
    return body
  }

  /** Which message a body belongs to, or -1 where no message of this topic has it. */
  index(body, topicNumber) {
    let i = -1
    if (body.length >= 1 && body.length <= 4) {
      i = body.readUIntBE(0, body.length) * 10 + 7
    } else if (body.length >= 16) {
      const end = body.length - 4
      if (crc32(body.subarray(0, end)) !== body.readUInt32BE(end)) return -1
      i = body.readUInt32BE(0)
    }
    const known = i >= 0 && i < this.messages && i % this.topics === topicNumber
    return known && body.equals(this.body(i)) ? i : -1
  }

  toRequeue(i) {
    return this.requeue > 0 && i % this.requeue === 0
  }

  requeues() {
    return this.requeue > 0 ? Math.ceil(this.messages / this.requeue) : 0
  }
}

module.exports = { Plan, BLOCK_SIZE, multi, deferred }
