//! What both targets try on a token: every text is opened as it is, and a
//! genuine token is damaged as the input says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hexagram_core::{KeyRing, Sealer};

const KEY: u8 = 9;

pub fn sealer() -> Sealer {
    Sealer::new(&KeyRing::generate(KEY, [7; 32]), "fuzz")
}

/// Texts that are no token of ours: the input as text, and as what stands behind
/// a good format and key, where only the seal can refuse it.
pub fn forged(input: &[u8]) -> [String; 2] {
    let framed = URL_SAFE_NO_PAD.encode([&[1, KEY], input].concat());
    [String::from_utf8_lossy(input).into_owned(), framed]
}

/// The token with pairs of (place, byte) written into its bytes, if that changed it.
pub fn damaged(token: &str, edits: &[u8]) -> Option<String> {
    let mut bytes = URL_SAFE_NO_PAD.decode(token).expect("a token of ours");
    let length = bytes.len();
    for edit in edits.chunks_exact(2) {
        bytes[usize::from(edit[0]) % length] = edit[1];
    }
    Some(URL_SAFE_NO_PAD.encode(bytes)).filter(|damaged| damaged != token)
}
