//! Message ids, sequence numbers and receipt handles: all values that the server makes up.
//!
//! Invariants: a sequence number is greater than every earlier one, also after a restart, because it starts with the
//! time. It is unique over all queues, so it identifies a message by itself. A receipt handle identifies one receive of
//! one message by queue, sequence number and a random token, so a handle from before a power cut never fits a later
//! receive.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Leaves room for a million numbers per millisecond before the sequence runs ahead of the clock.
const SEQUENCE_BITS: u32 = 20;

#[derive(Debug)]
pub(super) struct Ids {
    random: fastrand::Rng,
    last_sequence: i64,
}

impl Ids {
    #[allow(clippy::disallowed_methods, reason = "The one place where the SQS server gets its randomness")]
    pub(super) fn new(last_sequence: i64) -> Self {
        Self { random: fastrand::Rng::new(), last_sequence }
    }

    pub(super) fn uuid(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.random.u128(..).to_be_bytes()).into_uuid().to_string()
    }

    pub(super) fn sequence(&mut self, now_ms: i64) -> i64 {
        self.last_sequence = (self.last_sequence + 1).max(now_ms << SEQUENCE_BITS);
        self.last_sequence
    }

    /// Never zero, because storage uses zero for "never received".
    pub(super) fn token(&mut self) -> i64 {
        self.random.i64(1..)
    }
}

/// Twenty digits, as AWS prints them.
pub(super) fn sequence_number(sequence: i64) -> String {
    format!("{sequence:020}")
}

/// Identifies one receive of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) queue: i64,
    pub(super) sequence: i64,
    pub(super) token: i64,
}

impl Receipt {
    pub(super) fn handle(self) -> String {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.queue.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[16..].copy_from_slice(&self.token.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn parse(handle: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(handle).ok()?;
        let bytes: &[u8; 24] = bytes.as_slice().try_into().ok()?;
        let number = |at: usize| -> Option<i64> { Some(i64::from_be_bytes(bytes[at..at + 8].try_into().ok()?)) };
        Some(Self { queue: number(0)?, sequence: number(8)?, token: number(16)? })
    }
}
