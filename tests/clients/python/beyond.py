"""Drives a broker through pynsq where it has more than NSQ; see ../README.md."""

import argparse
import asyncio
import json
import logging
import sys
import time

import nsq

# How long a refused publish waits before it is tried again.
PAUSE_S = 0.02
# How long to wait for what must not come once everything is there.
LINGER_S = 0.3


async def insist(args):
    """Publishes each message until it is told OK."""
    writer = nsq.Writer([args.nsqd], reconnect_interval=0.02)
    refused, errors = 0, {}
    while not any(conn.connected() for conn in writer.conns.values()):
        await asyncio.sleep(PAUSE_S)
    for i in range(args.messages):
        body = f"{i:06}".ljust(args.size, ".").encode()
        while True:
            answer = asyncio.get_running_loop().create_future()
            writer.pub(
                args.topic,
                body,
                callback=lambda _conn, data: answer.done() or answer.set_result(data),
            )
            data = await answer
            if data == b"OK":
                break
            text = str(data)
            refused += "E_PUB_FAILED" in text
            errors[text] = errors.get(text, 0) + 1
            await asyncio.sleep(PAUSE_S)
    return {"published": args.messages, "refused": refused, "errors": errors}


class Judge(nsq.Reader):
    """Gives back what begins with "poison", and finishes the rest."""

    def __init__(self, args):
        self.args = args
        self.started = time.monotonic()
        self.deliveries, self.gave_up = [], []
        self.done = asyncio.Event()
        super().__init__(
            topic=args.topic,
            channel=args.channel,
            message_handler=self.judge,
            nsqd_tcp_addresses=[args.nsqd],
            max_in_flight=50,
            max_tries=args.max_attempts,
            max_backoff_duration=1,
            requeue_delay=1,
        )

    def judge(self, message):
        self.deliveries.append(
            {
                "body": message.body.hex(),
                "attempts": message.attempts,
                "at_ms": (time.monotonic() - self.started) * 1e3,
                "age_ms": (time.time_ns() - message.timestamp) / 1e6,
            }
        )
        self.count()
        if not message.body.startswith(b"poison"):
            return True
        message.enable_async()
        message.requeue(time_ms=self.args.requeue_ms)
        return None

    def giving_up(self, message):
        """Hears of what the library gives up by its own limit."""
        self.gave_up.append(message.body.hex())
        self.count()

    def count(self):
        if len(self.deliveries) + len(self.gave_up) == self.args.messages:
            self.done.set()


async def judge(args):
    reader = Judge(args)
    await reader.done.wait()
    await asyncio.sleep(LINGER_S)
    # pynsq reports connections that it closes itself as errors.
    logging.disable(logging.ERROR)
    reader.close()
    return {"deliveries": reader.deliveries, "gave_up": reader.gave_up}


async def run(args):
    work = {"insist": insist, "judge": judge}[args.mode]
    try:
        print(json.dumps(await asyncio.wait_for(work(args), args.deadline_s)))
    except asyncio.TimeoutError:
        print(f"not done within {args.deadline_s} seconds", file=sys.stderr)
        return False
    return True


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nsqd", default="127.0.0.1:4150", help="TCP address of the broker")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--channel", default="c")
    parser.add_argument("--mode", choices=["insist", "judge"], required=True)
    parser.add_argument("--messages", type=int, default=10)
    parser.add_argument("--size", type=int, default=20, help="bytes of a body")
    parser.add_argument("--max-attempts", type=int, default=0, help="the library's own limit")
    parser.add_argument("--requeue-ms", type=int, default=-1, help="delay of what is given back")
    parser.add_argument("--deadline-s", type=int, default=60)
    return parser.parse_args()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.exit(0 if asyncio.run(run(parse())) else 1)
