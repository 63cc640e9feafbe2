// Drives a broker through nsqjs, the official JavaScript client; see ../README.md.
'use strict'

const { parseArgs } = require('util')
const { Reader, Writer } = require('nsqjs')
const { Plan, BLOCK_SIZE, multi, deferred } = require('./plan')

const DEFERRAL_MS = 100
const REQUEUE_DELAY_MS = 50
// Clocks and timers may round, but not by more than this.
const EARLY_SLACK_MS = 5
// How long to wait for what must not come once everything is there.
const LINGER_MS = 300
// How often nsqlookupds are asked.
const POLL_S = 1

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** What nsqjs calls the layers of the command line. The certificate is not looked at. */
const layers = (args) => ({
  tls: args.layers.includes('tls'),
  tlsVerification: false,
  snappy: args.layers.includes('snappy'),
  deflate: args.layers.includes('deflate'),
})

/** One connection that publishes its share of the blocks. */
class Producer {
  constructor(args, plan) {
    this.plan = plan
    this.published = 0
    this.writer = new Writer(args.host, args.port, layers(args))
  }

  connect() {
    return new Promise((resolve, reject) => {
      this.writer.on(Writer.READY, resolve)
      this.writer.on(Writer.ERROR, reject)
      this.writer.connect()
    })
  }

  async run(starts) {
    await this.connect()
    for (const start of starts) await this.publishBlock(start)
    this.writer.close()
  }

  /** All commands of a block are on their way before the first answer is awaited. */
  publishBlock(start) {
    const end = Math.min(start + BLOCK_SIZE, this.plan.messages)
    const commands = []
    const batches = new Map()
    for (let i = start; i < end; i++) {
      const number = i % this.plan.topics
      if (!multi(start)) {
        commands.push(this.publish(i, this.plan.topicName(number)))
      } else if (batches.has(number)) {
        batches.get(number).push(this.plan.body(i))
      } else {
        batches.set(number, [this.plan.body(i)])
      }
    }
    for (const [number, bodies] of batches) {
      const topic = this.plan.topicName(number)
      commands.push(this.send(bodies.length, (done) => this.writer.publish(topic, bodies, done)))
    }
    return Promise.all(commands)
  }

  publish(i, topic) {
    const body = this.plan.body(i)
    return this.send(1, (done) => {
      if (!deferred(i)) return this.writer.publish(topic, body, done)
      // The library hands on what it gets, and its connection takes only arrays.
      return this.writer.deferPublish(topic, [body], DEFERRAL_MS, done)
    })
  }

  send(count, command) {
    return new Promise((resolve, reject) => {
      command((error) => {
        if (error) return reject(error)
        this.published += count
        return resolve()
      })
    })
  }
}

/** What the consumers of one run have seen, together. */
class Tally {
  constructor(plan) {
    Object.assign(this, { plan, received: 0, corrupt: 0, requeued: 0, early: 0 })
    this.finished = new Set()
    this.done = new Promise((resolve) => {
      this.allThere = resolve
    })
  }

  handle(topicNumber, message) {
    const ageMs = Date.now() - Number(message.timestamp) / 1e6
    const { plan } = this
    const i = plan.index(message.body, topicNumber)
    this.received++
    if (i < 0) {
      this.corrupt++
      message.finish()
      return
    }
    const first = message.attempts === 1
    if (first && deferred(i) && ageMs < DEFERRAL_MS - EARLY_SLACK_MS) this.early++
    if (first && plan.toRequeue(i)) {
      this.requeued++
      message.requeue(Math.floor(i / plan.requeue) % 2 === 0 ? 0 : REQUEUE_DELAY_MS, false)
      return
    }
    message.finish()
    this.finished.add(i)
    if (this.finished.size === plan.messages) this.allThere()
  }

  right() {
    const { plan } = this
    return (
      this.finished.size === plan.messages &&
      this.received === plan.messages + plan.requeues() &&
      this.requeued === plan.requeues() &&
      this.corrupt === 0 &&
      this.early === 0
    )
  }
}

async function produce(producers, plan) {
  const starts = producers.map(() => [])
  for (let start = 0; start < plan.messages; start += BLOCK_SIZE) {
    starts[Math.floor(start / BLOCK_SIZE / 2) % producers.length].push(start)
  }
  await Promise.all(producers.map((producer, k) => producer.run(starts[k])))
}

async function consume(tally, args) {
  const readers = []
  const failed = new Promise((_, reject) => {
    for (let number = 0; number < tally.plan.topics; number++) {
      for (let k = 0; k < args.connections; k++) {
        const reader = new Reader(tally.plan.topicName(number), args.channel, {
          ...(args.lookupd
            ? { lookupdHTTPAddresses: args.lookupd.split(','), lookupdPollInterval: POLL_S }
            : { nsqdTCPAddresses: [args.nsqd] }),
          maxInFlight: 200,
          maxAttempts: 0,
          ...layers(args),
        })
        reader.on(Reader.MESSAGE, (message) => tally.handle(number, message))
        reader.on(Reader.ERROR, reject)
        reader.connect()
        readers.push(reader)
      }
    }
  })
  await Promise.race([tally.done, failed])
  await sleep(LINGER_MS)
  readers.forEach((reader) => reader.close())
}

function parse() {
  const text = (fallback) => ({ type: 'string', default: fallback })
  const { values } = parseArgs({
    options: {
      nsqd: text('127.0.0.1:4150'),
      lookupd: text(''),
      topic: text(''),
      topics: text('1'),
      channel: text('c'),
      messages: text('1000'),
      mode: text('both'),
      'requeue-every': text('0'),
      connections: text('1'),
      layers: text(''),
      'deadline-s': text('60'),
    },
  })
  if (!values.topic || !['produce', 'consume', 'both'].includes(values.mode)) {
    console.error('usage: --topic T --channel C --mode produce|consume|both, see ../README.md')
    process.exit(2)
  }
  const [host, port] = values.nsqd.split(':')
  const numbers = ['topics', 'messages', 'requeue-every', 'connections', 'deadline-s']
  for (const name of numbers) values[name] = Number(values[name])
  return { ...values, host, port }
}

async function main() {
  const started = Date.now()
  const args = parse()
  const plan = new Plan(args.topic, args.topics, args.messages, args['requeue-every'])
  const tally = new Tally(plan)
  const producing = args.mode !== 'consume'
  const consuming = args.mode !== 'produce'
  const count = producing ? args.connections : 0
  const producers = Array.from({ length: count }, () => new Producer(args, plan))

  const late = sleep(args['deadline-s'] * 1000).then(() => {
    throw new Error(`not done within ${args['deadline-s']} seconds`)
  })
  const work = []
  if (producing) work.push(produce(producers, plan))
  if (consuming) work.push(consume(tally, args))
  let ok = true
  try {
    await Promise.race([Promise.all(work), late])
  } catch (error) {
    console.error(String(error))
    ok = false
  }

  const published = producers.reduce((sum, producer) => sum + producer.published, 0)
  const { received, corrupt, requeued, early } = tally
  const distinct = tally.finished.size
  const seconds = (Date.now() - started) / 1000
  const report = { published, received, distinct, corrupt, requeued, early, seconds }
  console.log(JSON.stringify(report))
  ok = ok && (!producing || published === plan.messages) && (!consuming || tally.right())
  process.exit(ok ? 0 : 1)
}

main()
