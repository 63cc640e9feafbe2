"""Drives a broker through pynsq; see ../README.md."""

import argparse
import asyncio
import json
import logging
import ssl
import sys
import time

import nsq

from plan import BLOCK_SIZE, Plan, deferred, multi

DEFERRAL_MS = 100
REQUEUE_DELAY_MS = 50
# Clocks and timers may round, but not by more than this.
EARLY_SLACK_MS = 5
# How long to wait for what must not come once everything is there.
LINGER_S = 0.3


def options(layers):
    """What pynsq calls the layers of the command line. The certificate is not looked at."""
    return {
        "tls_v1": "tls" in layers,
        "tls_options": {"cert_reqs": ssl.CERT_NONE},
        "snappy": "snappy" in layers,
        "deflate": "deflate" in layers,
    }


class Producer:
    """One connection, with one future for each command that awaits its answer."""

    def __init__(self, nsqd, plan, layers):
        self.plan = plan
        self.writer = nsq.Writer([nsqd], name="producer", **options(layers))
        self.published = 0

    async def run(self, starts):
        while not any(conn.connected() for conn in self.writer.conns.values()):
            await asyncio.sleep(0.01)
        for start in starts:
            await self.publish_block(start)

    async def publish_block(self, start):
        block = range(start, min(start + BLOCK_SIZE, self.plan.messages))
        # All commands of the block are on their way before the first answer is awaited.
        if multi(start):
            answers = self.publish_multi(block)
        else:
            answers = [self.publish(i) for i in block]
        for answer, count in answers:
            data = await answer
            if data != b"OK":
                raise RuntimeError(f"publishing the block at {start}: {data}")
            self.published += count

    def publish_multi(self, block):
        batches = {}
        for i in block:
            batches.setdefault(i % self.plan.topics, []).append(self.plan.body(i))
        return [
            self.send(self.writer.mpub, len(bodies), self.plan.topic_name(number), bodies)
            for number, bodies in batches.items()
        ]

    def publish(self, i):
        topic = self.plan.topic_name(i % self.plan.topics)
        if deferred(i):
            return self.send(self.writer.dpub, 1, topic, DEFERRAL_MS, self.plan.body(i))
        return self.send(self.writer.pub, 1, topic, self.plan.body(i))

    @staticmethod
    def send(command, count, *args):
        answer = asyncio.get_running_loop().create_future()
        command(*args, callback=lambda _conn, data: answer.done() or answer.set_result(data))
        return answer, count


class Tally:
    """What the consumers of one run have seen, together."""

    def __init__(self, plan):
        self.plan = plan
        self.finished = set()
        self.received = self.corrupt = self.requeued = self.early = 0
        self.done = asyncio.Event()

    def handler(self, topic_number):
        def handle(message):
            message.enable_async()
            age_ms = (time.time_ns() - message.timestamp) / 1e6
            self.received += 1
            i = self.plan.index(message.body, topic_number)
            if i is None:
                self.corrupt += 1
                message.finish()
                return
            if message.attempts == 1 and deferred(i) and age_ms < DEFERRAL_MS - EARLY_SLACK_MS:
                self.early += 1
            if message.attempts == 1 and self.plan.to_requeue(i):
                delay_ms = 0 if i // self.plan.requeue % 2 == 0 else REQUEUE_DELAY_MS
                self.requeued += 1
                message.requeue(backoff=False, time_ms=delay_ms)
                return
            message.finish()
            self.finished.add(i)
            if len(self.finished) == self.plan.messages:
                self.done.set()

        return handle

    def right(self):
        plan = self.plan
        return (
            len(self.finished) == plan.messages
            and self.received == plan.messages + plan.requeues()
            and self.requeued == plan.requeues()
            and self.corrupt == 0
            and self.early == 0
        )


async def produce(producers, plan):
    starts = [[] for _ in producers]
    for start in range(0, plan.messages, BLOCK_SIZE):
        starts[start // BLOCK_SIZE // 2 % len(producers)].append(start)
    await asyncio.gather(*(p.run(mine) for p, mine in zip(producers, starts)))


async def consume(tally, args):
    readers = [
        nsq.Reader(
            topic=tally.plan.topic_name(number),
            channel=args.channel,
            message_handler=tally.handler(number),
            nsqd_tcp_addresses=[args.nsqd],
            max_in_flight=200,
            max_tries=0,
            **options(args.layers),
        )
        for number in range(tally.plan.topics)
        for _ in range(args.connections)
    ]
    await tally.done.wait()
    await asyncio.sleep(LINGER_S)
    # pynsq reports connections that it closes itself as errors.
    logging.disable(logging.ERROR)
    for reader in readers:
        reader.close()


async def run(args):
    started = time.monotonic()
    plan = Plan(args.topic, args.topics, args.messages, args.requeue_every)
    tally = Tally(plan)
    producing = args.mode in ("produce", "both")
    consuming = args.mode in ("consume", "both")
    producers = []
    if producing:
        producers = [Producer(args.nsqd, plan, args.layers) for _ in range(args.connections)]
    work = ([produce(producers, plan)] if producing else []) + (
        [consume(tally, args)] if consuming else []
    )
    ok = True
    try:
        await asyncio.wait_for(asyncio.gather(*work), args.deadline_s)
    except asyncio.TimeoutError:
        print(f"not done within {args.deadline_s} seconds", file=sys.stderr)
        ok = False
    except RuntimeError as error:
        print(error, file=sys.stderr)
        ok = False
    published = sum(producer.published for producer in producers)
    report = {
        "published": published,
        "received": tally.received,
        "distinct": len(tally.finished),
        "corrupt": tally.corrupt,
        "requeued": tally.requeued,
        "early": tally.early,
        "seconds": time.monotonic() - started,
    }
    print(json.dumps(report))
    ok = ok and (not producing or published == plan.messages)
    return ok and (not consuming or tally.right())


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nsqd", default="127.0.0.1:4150", help="TCP address of the broker")
    parser.add_argument("--topic", required=True, help="topic, or the stem of the topics' names")
    parser.add_argument("--topics", type=int, default=1, help="spread over this many topics")
    parser.add_argument("--channel", default="c")
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--mode", choices=["produce", "consume", "both"], default="both")
    parser.add_argument("--requeue-every", type=int, default=0)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--layers", default="")
    parser.add_argument("--deadline-s", type=int, default=60)
    return parser.parse_args()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    sys.exit(0 if asyncio.run(run(parse())) else 1)
