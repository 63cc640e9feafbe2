"""Drives a broker through gnsq; see ../README.md."""

import gevent.monkey

gevent.monkey.patch_all()

import argparse
import json
import logging
import ssl
import sys
import time
from pathlib import Path

import gevent
import gnsq
from gevent.event import Event

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

from plan import BLOCK_SIZE, Plan, deferred, multi

DEFERRAL_MS = 100
REQUEUE_DELAY_MS = 50
# Clocks and timers may round, but not by more than this.
EARLY_SLACK_MS = 5
# How long to wait for what must not come once everything is there.
LINGER_S = 0.3


def options(layers):
    """What gnsq calls the layers of the command line. The certificate is not looked at."""
    return {
        "tls_v1": "tls" in layers,
        "tls_options": {"cert_reqs": ssl.CERT_NONE},
        "snappy": "snappy" in layers,
        "deflate": "deflate" in layers,
    }


class Tally:
    """What the consumers of one run have seen, together."""

    def __init__(self, plan):
        self.plan = plan
        self.finished = set()
        self.received = self.corrupt = self.requeued = self.early = 0
        self.done = Event()

    def handler(self, topic_number):
        def handle(_consumer, message):
            message.enable_async()
            age_ms = (time.time_ns() - message.timestamp) / 1e6
            self.received += 1
            i = self.plan.index(message.body, topic_number)
            if i is None:
                self.corrupt += 1
                message.finish()
                return
            first = message.attempts == 1
            if first and deferred(i) and age_ms < DEFERRAL_MS - EARLY_SLACK_MS:
                self.early += 1
            if first and self.plan.to_requeue(i):
                delay_ms = 0 if i // self.plan.requeue % 2 == 0 else REQUEUE_DELAY_MS
                self.requeued += 1
                message.requeue(time_ms=delay_ms, backoff=False)
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


class Produced:
    """Publishes a share of the blocks over one connection.

    gnsq's own Producer takes the answer to an upgrade for that to a publish, and breaks; the
    connection beneath it does not.
    """

    def __init__(self, args, plan, starts):
        self.plan = plan
        self.starts = starts
        self.published = 0
        host, port = args.nsqd.split(":")
        self.connection = gnsq.NsqdTCPClient(host, int(port), **options(args.layers))

    def run(self):
        self.connection.connect()
        self.connection.identify()
        for start in self.starts:
            block = range(start, min(start + BLOCK_SIZE, self.plan.messages))
            # All commands of the block are on their way before the first answer is awaited.
            counts = list(self.multi(block) if multi(start) else map(self.single, block))
            for count in counts:
                self.await_ok()
                self.published += count
        self.connection.close_stream()

    def await_ok(self):
        answer = b"_heartbeat_"
        while answer == b"_heartbeat_":
            _, answer = self.connection.read_response()
        if answer != b"OK":
            raise RuntimeError(f"publishing: {answer}")

    def multi(self, block):
        batches = {}
        for i in block:
            batches.setdefault(i % self.plan.topics, []).append(self.plan.body(i))
        for number, bodies in batches.items():
            self.connection.multipublish(self.plan.topic_name(number), bodies)
            yield len(bodies)

    def single(self, i):
        topic = self.plan.topic_name(i % self.plan.topics)
        defer = DEFERRAL_MS if deferred(i) else None
        self.connection.publish(topic, self.plan.body(i), defer=defer)
        return 1


def consume(args, tally):
    consumers = [
        gnsq.Consumer(
            tally.plan.topic_name(number),
            args.channel,
            [args.nsqd],
            message_handler=tally.handler(number),
            max_in_flight=200,
            max_tries=0,
            **options(args.layers),
        )
        for number in range(tally.plan.topics)
        for _ in range(args.connections)
    ]
    for consumer in consumers:
        consumer.start(block=False)
    tally.done.wait()
    gevent.sleep(LINGER_S)
    for consumer in consumers:
        consumer.close()


def run(args):
    started = time.monotonic()
    plan = Plan(args.topic, args.topics, args.messages, args.requeue_every)
    tally = Tally(plan)
    producing = args.mode in ("produce", "both")
    consuming = args.mode in ("consume", "both")
    starts = [[] for _ in range(args.connections)]
    for start in range(0, plan.messages, BLOCK_SIZE):
        starts[start // BLOCK_SIZE // 2 % args.connections].append(start)
    producers = [Produced(args, plan, mine) for mine in starts] if producing else []
    work = [gevent.spawn(producer.run) for producer in producers]
    if consuming:
        work.append(gevent.spawn(consume, args, tally))
    gevent.joinall(work, timeout=args.deadline_s, raise_error=False)
    ok = all(task.successful() for task in work)
    if not ok:
        print(f"not done within {args.deadline_s} seconds, or failed", file=sys.stderr)
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
    print(json.dumps(report), flush=True)
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
    logging.disable(logging.CRITICAL)
    sys.exit(0 if run(parse()) else 1)
