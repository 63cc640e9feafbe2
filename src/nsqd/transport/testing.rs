//! What the tests of the layers share: bodies of many kinds, and noise from a seed.

/// Noise that is the same every time (splitmix).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below another.
    pub fn below(&mut self, limit: u64) -> usize {
        (self.next() % limit) as usize
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Empty, small, at the edges of a chunk, large; that shrink, and that do not.
pub fn bodies() -> Vec<Vec<u8>> {
    let mut random = Random(1);
    let mut all: Vec<Vec<u8>> = vec![Vec::new(), b"x".to_vec(), b"hello hello hello".to_vec()];
    for length in [4095, 65535, 65536, 65537, 200_000] {
        all.push(random.bytes(length));
        all.push(b"{\"name\":\"value\"},".iter().copied().cycle().take(length).collect());
    }
    all.push(vec![0; 1 << 20]);
    all
}
