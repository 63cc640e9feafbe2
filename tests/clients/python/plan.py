"""The message plan that all clients share; see ../README.md."""

import zlib

POOL_SIZE = 17 << 16
BLOCK_SIZE = 50
BODY_SIZE_MAX = 1 << 20
BODY_SIZE_LARGE = 102400


def make_pool():
    pool = bytearray(POOL_SIZE)
    x = 0x9E3779B9
    for i in range(POOL_SIZE):
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        pool[i] = x >> 24
    return bytes(pool)


def scatter(i):
    return (i * 2654435761 & 0xFFFFFFFF) >> 12


def body_size(i):
    if i == 3:
        return BODY_SIZE_MAX
    if i % 100 == 3:
        return BODY_SIZE_LARGE - scatter(i) % 80000
    if i % 10 == 5:
        return 1024 + scatter(i) % 15360
    return 16 + scatter(i) % 1000


def multi(i):
    """Single messages go out with PUB, whole blocks with MPUB."""
    return i // BLOCK_SIZE % 2 == 1


def deferred(i):
    """The last message of each block of single ones goes out with DPUB."""
    return not multi(i) and i % BLOCK_SIZE == BLOCK_SIZE - 1


class Plan:
    """Knows every message of one run: its topic, body and way of publishing."""

    def __init__(self, topic, topics, messages, requeue):
        self.topic = topic
        self.topics = topics
        self.messages = messages
        self.requeue = requeue
        self.pool = make_pool()

    def topic_name(self, number):
        return self.topic if self.topics == 1 else f"{self.topic}{number}"

    def body(self, i):
        if i % 10 == 7:
            return (i // 10).to_bytes(4, "big").lstrip(b"\0") or b"\0"
        size = body_size(i)
        start = scatter(i) % 16384
        body = i.to_bytes(4, "big") + size.to_bytes(4, "big")
        body += self.pool[start : start + size - 12]
        return body + zlib.crc32(body).to_bytes(4, "big")

    def index(self, body, topic_number):
        """Which message a body belongs to, or None where no message of this topic has it."""
        if 1 <= len(body) <= 4:
            i = int.from_bytes(body, "big") * 10 + 7
        elif len(body) >= 16 and zlib.crc32(body[:-4]) == int.from_bytes(body[-4:], "big"):
            i = int.from_bytes(body[:4], "big")
        else:
            return None
        known = i < self.messages and i % self.topics == topic_number
        return i if known and body == self.body(i) else None

    def to_requeue(self, i):
        return self.requeue > 0 and i % self.requeue == 0

    def requeues(self):
        return -(-self.messages // self.requeue) if self.requeue else 0
