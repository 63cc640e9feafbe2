//! The message plan that all clients share; see ../../README.md.

const POOL_SIZE: usize = 17 << 16;
const BODY_SIZE_MAX: usize = 1 << 20;
const BODY_SIZE_LARGE: usize = 102_400;

/// Messages in a row that go out in the same way.
pub const BLOCK_SIZE: usize = 50;

/// Knows every message of one run: its topic, body and way of publishing.
pub struct Plan {
    pub topics: usize,
    pub messages: usize,
    pub requeue: usize,
    topic: String,
    pool: Vec<u8>,
}

impl Plan {
    pub fn new(topic: String, topics: usize, messages: usize, requeue: usize) -> Plan {
        Plan {
            topics,
            messages,
            requeue,
            topic,
            pool: pool(),
        }
    }

    pub fn topic_name(&self, number: usize) -> String {
        if self.topics == 1 {
            self.topic.clone()
        } else {
            format!("{}{number}", self.topic)
        }
    }

    pub fn body(&self, i: usize) -> Vec<u8> {
        if i % 10 == 7 {
            let number = ((i / 10) as u32).to_be_bytes();
            let first = number.iter().position(|&byte| byte != 0).unwrap_or(3);
            return number[first..].to_vec();
        }
        let size = body_size(i);
        let start = scatter(i) % 16_384;
        let mut body = Vec::with_capacity(size);
        body.extend_from_slice(&(i as u32).to_be_bytes());
        body.extend_from_slice(&(size as u32).to_be_bytes());
        body.extend_from_slice(&self.pool[start..start + size - 12]);
        body.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
        body
    }

    /// Which message a body belongs to, or None where no message of this topic has it.
    pub fn index(&self, body: &[u8], topic_number: usize) -> Option<usize> {
        let i = match body.len() {
            1..=4 => big_endian(body) * 10 + 7,
            16.. => {
                let (content, sum) = body.split_at(body.len() - 4);
                if big_endian(sum) != crc32fast::hash(content) as usize {
                    return None;
                }
                big_endian(&body[..4])
            }
            _ => return None,
        };
        let known = i < self.messages && i % self.topics == topic_number;
        (known && body == self.body(i)).then_some(i)
    }

    pub fn to_requeue(&self, i: usize) -> bool {
        self.requeue > 0 && i.is_multiple_of(self.requeue)
    }

    pub fn requeues(&self) -> usize {
        if self.requeue == 0 {
            0
        } else {
            self.messages.div_ceil(self.requeue)
        }
    }
}

/// Single messages go out with PUB, whole blocks with MPUB.
pub fn multi(i: usize) -> bool {
    i / BLOCK_SIZE % 2 == 1
}

/// The last message of each block of single ones goes out with DPUB.
pub fn deferred(i: usize) -> bool {
    !multi(i) && i % BLOCK_SIZE == BLOCK_SIZE - 1
}

fn pool() -> Vec<u8> {
    let mut x = 0x9E37_79B9_u32;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        (x >> 24) as u8
    };
    (0..POOL_SIZE).map(|_| next()).collect()
}

fn scatter(i: usize) -> usize {
    ((i as u32).wrapping_mul(2_654_435_761) >> 12) as usize
}

fn body_size(i: usize) -> usize {
    match i {
        3 => BODY_SIZE_MAX,
        _ if i % 100 == 3 => BODY_SIZE_LARGE - scatter(i) % 80_000,
        _ if i % 10 == 5 => 1024 + scatter(i) % 15_360,
        _ => 16 + scatter(i) % 1000,
    }
}

fn big_endian(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, &byte| number << 8 | usize::from(byte))
}
