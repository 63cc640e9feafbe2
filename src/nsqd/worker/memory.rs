//! Memory for the shard's log, in huge pages where the kernel has them.
//!
//! The first touch of fresh 4 KiB pages costs more than everything else that a publish does.

use std::ptr::NonNull;

use shards::log::pool::CHUNK_BYTES;

/// Address space taken from the kernel at a time. Memory is used only where it is touched.
const ARENA_BYTES: usize = 64 << 20;

/// A supply of chunks that live as long as the process.
pub fn chunks() -> impl FnMut() -> Option<&'static mut [u8]> {
    let mut rest: &'static mut [u8] = &mut [];
    move || {
        if rest.len() < CHUNK_BYTES {
            rest = arena()?;
        }
        let (chunk, behind) = std::mem::take(&mut rest).split_at_mut(CHUNK_BYTES);
        rest = behind;
        Some(chunk)
    }
}

/// Fresh zeroed memory that starts at a huge page.
fn arena() -> Option<&'static mut [u8]> {
    let bytes = ARENA_BYTES + CHUNK_BYTES;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping touches no memory that anybody has.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return None;
    }
    let start = NonNull::new(start.cast::<u8>())?;
    let offset = start.as_ptr().align_offset(CHUNK_BYTES);
    // SAFETY: the mapping is a chunk longer than an arena, so the aligned arena lies inside it.
    let aligned = unsafe { start.add(offset) };
    // SAFETY: advice on a range of our own mapping. Without huge pages it fails, and small ones
    // serve.
    unsafe { libc::madvise(aligned.as_ptr().cast(), ARENA_BYTES, libc::MADV_HUGEPAGE) };
    // SAFETY: the range is mapped, readable, writable and zeroed; it is never unmapped, and this
    // is the only reference to it.
    Some(unsafe { std::slice::from_raw_parts_mut(aligned.as_ptr(), ARENA_BYTES) })
}

#[cfg(test)]
mod tests {
    use super::{ARENA_BYTES, chunks};
    use shards::log::pool::CHUNK_BYTES;

    #[test]
    fn chunks_are_whole_aligned_and_apart() {
        let mut chunks = chunks();
        let mut starts = std::collections::BTreeSet::new();
        for _ in 0..2 * ARENA_BYTES / CHUNK_BYTES {
            let chunk = chunks().expect("address space");
            assert_eq!(chunk.len(), CHUNK_BYTES);
            assert_eq!(chunk.as_ptr().align_offset(CHUNK_BYTES), 0);
            assert!(starts.insert(chunk.as_ptr() as usize));
            chunk[CHUNK_BYTES - 1] = 1;
        }
    }
}
