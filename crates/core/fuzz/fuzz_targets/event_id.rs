//! Event ids: whatever text comes in as Last-Event-ID, it is refused or read in
//! one way only.
#![no_main]

use hexagram_core::EventId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    if let Some(id) = EventId::parse(&text) {
        assert_eq!(id.to_string(), text);
        assert_eq!(EventId::parse(&id.stream.event(id.seq).to_string()), Some(id));
    }
});
