//! Names for what is in the ring: a caller's key for a socket, and the token that a request carries
//! through the kernel and back.

/// Generations wrap at this many; a key would have to be kept over as many reuses of its slot to
/// name the wrong socket.
pub(super) const GENERATIONS: u32 = 1 << 28;

/// Names one socket of one ring. A key outlives its socket harmlessly: every call with it is then
/// without effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketKey {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl SocketKey {
    /// The socket's slot: small, dense and reused, so that a caller may index a vector by it.
    pub fn index(self) -> usize {
        self.slot as usize
    }

    /// The key as one number, for messages and logs.
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The key that [`SocketKey::to_u64`] made. Any other number gives a key without a socket, or
    /// at worst the key of a socket that exists.
    pub fn from_u64(number: u64) -> SocketKey {
        SocketKey { slot: number as u32, generation: (number >> 32) as u32 }
    }
}

/// What a request asks of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    /// Bytes from a socket.
    Receive = 0,
    /// To be told when a socket takes bytes again.
    Writable = 1,
    /// Connections from a listener.
    Accept = 2,
    /// To be told when the doorbell rings.
    Doorbell = 3,
    /// Something with a file.
    File = 4,
}

/// Travels with a request as its `user_data` and names it when it completes, or to cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub operation: Operation,
    /// Set in the token of the request that cancels the operation, not in the operation's own.
    pub cancel: bool,
    pub slot: u32,
    pub generation: u32,
}

const CANCEL_BIT: u64 = 1 << 63;
const OPERATION_SHIFT: u32 = 60;
const GENERATION_SHIFT: u32 = 32;

impl Token {
    /// The token of an operation on a socket.
    pub fn of_socket(operation: Operation, key: SocketKey) -> Token {
        Token { operation, cancel: false, slot: key.slot, generation: key.generation }
    }

    /// The token of the accept on a listener, whose index is never used again.
    pub fn of_listener(slot: u32) -> Token {
        Token { operation: Operation::Accept, cancel: false, slot, generation: 0 }
    }

    /// The token of the poll on the doorbell.
    pub fn of_doorbell() -> Token {
        Token { operation: Operation::Doorbell, cancel: false, slot: 0, generation: 0 }
    }

    /// The token of an operation on a file, whose slot is not used again before it is over.
    pub fn of_file(slot: u32) -> Token {
        Token { operation: Operation::File, cancel: false, slot, generation: 0 }
    }

    /// The token of the request that cancels this one.
    pub fn canceller(self) -> Token {
        Token { cancel: true, ..self }
    }

    /// The socket that the operation is for.
    pub fn socket(self) -> SocketKey {
        SocketKey { slot: self.slot, generation: self.generation }
    }

    /// The token as the kernel carries it.
    pub fn to_u64(self) -> u64 {
        assert!(self.generation < GENERATIONS, "a generation outgrew its bits");
        let cancel = if self.cancel { CANCEL_BIT } else { 0 };
        cancel
            | (self.operation as u64) << OPERATION_SHIFT
            | u64::from(self.generation) << GENERATION_SHIFT
            | u64::from(self.slot)
    }

    /// The token that [`Token::to_u64`] made.
    pub fn from_u64(number: u64) -> Token {
        let operation = match (number & !CANCEL_BIT) >> OPERATION_SHIFT {
            0 => Operation::Receive,
            1 => Operation::Writable,
            2 => Operation::Accept,
            3 => Operation::Doorbell,
            4 => Operation::File,
            other => unreachable!("the kernel gave back a token of unknown operation {other}"),
        };
        Token {
            operation,
            cancel: number & CANCEL_BIT != 0,
            slot: number as u32,
            generation: (number >> GENERATION_SHIFT) as u32 & (GENERATIONS - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_survive_the_journey() {
        for generation in [0, 1, 0x5a5_a5a5, GENERATIONS - 1] {
            for slot in [0, 1, 77, u32::MAX] {
                let key = SocketKey { slot, generation };
                assert_eq!(SocketKey::from_u64(key.to_u64()), key);
                for operation in [Operation::Receive, Operation::Writable] {
                    let token = Token::of_socket(operation, key);
                    assert_eq!(Token::from_u64(token.to_u64()), token);
                    let canceller = token.canceller();
                    assert_eq!(Token::from_u64(canceller.to_u64()), canceller);
                    assert_ne!(canceller.to_u64(), token.to_u64());
                    assert_eq!(canceller.socket(), key);
                }
            }
        }
        for token in [Token::of_listener(3), Token::of_doorbell(), Token::of_file(7)] {
            assert_eq!(Token::from_u64(token.to_u64()), token);
        }
    }
}
