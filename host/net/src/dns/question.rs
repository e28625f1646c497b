//! Questions as upstreams are asked them.

use portolan_core::zone::MAX_NAME;

use super::{cache::Key, message::MAX_UDP};

/// How a question is dressed for an upstream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dress {
    /// Letters are mixed by these bits.
    pub(super) mix: Option<u64>,
    /// Without EDNS, for a server that does not know it (RFC 6891, 6.2.2).
    pub(super) is_plain: bool,
}

/// Writes the question of a key as a message. With `mix`, each letter of the name is upper or lower
/// case as a bit of it says; bits are used again where a name has more letters.
pub(super) fn write(key: &Key, id: u16, dress: Dress) -> Vec<u8> {
    let mut message = Vec::with_capacity(12 + MAX_NAME + 15);
    message.extend_from_slice(&id.to_be_bytes());
    // RD, AD (RFC 6840, 5.7: tell us whether you checked), and CD as the asker has it.
    message.extend_from_slice(&[0x01, if key.is_unchecked() { 0x30 } else { 0x20 }]);
    message.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(!dress.is_plain)]);
    let letters = key.name().iter().zip((0..64).cycle());
    message.extend(letters.map(|(byte, place)| match dress.mix {
        // The lengths of labels are no letters.
        Some(mix) if mix >> place & 1 == 1 => byte.to_ascii_uppercase(),
        _ => *byte,
    }));
    message.extend_from_slice(&key.rtype().0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    if dress.is_plain {
        return message;
    }
    let [high, low] = (MAX_UDP as u16).to_be_bytes();
    let dnssec = if key.wants_dnssec() { 0x80 } else { 0 };
    message.extend_from_slice(&[0, 0, 41, high, low, 0, 0, dnssec, 0, 0, 0]);
    message
}
