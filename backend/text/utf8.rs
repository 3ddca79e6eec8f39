//! UTF-8 that arrives in pieces.

/// How many U+FFFD stand for bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replacement {
    /// One for each broken character, as byte-level decoders (and [`String::from_utf8_lossy`]) do.
    PerSequence,
    /// One for each byte, as byte-fallback decoders do.
    PerByte,
}

/// Turns chunks of bytes into text as soon as it is certain, whatever the chunk boundaries.
///
/// It never holds back more than the three bytes that can begin a character; a byte that cannot be part of one is
/// replaced at once.
#[derive(Debug)]
pub(super) struct Utf8Assembler {
    replacement: Replacement,
    pending: Vec<u8>,
}

impl Utf8Assembler {
    pub(super) fn new(replacement: Replacement) -> Self {
        Self { replacement, pending: Vec::new() }
    }

    /// Adds `bytes` and returns the text that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.pending);
        let mut text = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            match chunks.peek().is_none() && may_be_completed(chunk.invalid()) {
                true => self.pending = chunk.invalid().to_vec(),
                false => self.replace(chunk.invalid(), &mut text),
            }
        }
        text
    }

    /// Returns what stands for a character that was never completed.
    pub(super) fn finish(self) -> String {
        let mut text = String::new();
        self.replace(&self.pending, &mut text);
        text
    }

    fn replace(&self, invalid: &[u8], text: &mut String) {
        let count = match self.replacement {
            Replacement::PerSequence => usize::from(!invalid.is_empty()),
            Replacement::PerByte => invalid.len(),
        };
        text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, count));
    }
}

/// True for the first bytes of a character whose last bytes are missing.
fn may_be_completed(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|broken| broken.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assemble<'a>(replacement: Replacement, chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut utf8 = Utf8Assembler::new(replacement);
        let mut text: String = chunks.into_iter().map(|chunk| utf8.push(chunk)).collect();
        text.push_str(&utf8.finish());
        text
    }

    #[test]
    fn the_last_byte_of_a_character_brings_it() {
        let mut utf8 = Utf8Assembler::new(Replacement::PerSequence);
        assert_eq!(["é".as_bytes()[0], "é".as_bytes()[1]].map(|byte| utf8.push(&[byte])), ["", "é"]);
    }

    #[test]
    fn lone_continuation_bytes_are_not_held_back() {
        let mut utf8 = Utf8Assembler::new(Replacement::PerByte);
        for _ in 0..1000 {
            assert_eq!(utf8.push(&[0x80]), "\u{fffd}");
            assert!(utf8.pending.is_empty());
        }
    }

    #[test]
    fn a_broken_character_counts_once_or_once_for_each_byte() {
        let chunks = [&[b'a', 0xe5][..], &[0x8f], b"b", &[0xf0, 0x9f]];
        assert_eq!(assemble(Replacement::PerSequence, chunks), "a\u{fffd}b\u{fffd}");
        assert_eq!(assemble(Replacement::PerByte, chunks), "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}");
    }

    /// Bytes that are likely to meet as characters, whole or broken.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![any::<u8>(), 0x80u8..0xc0, 0xe0u8..0xf5, Just(b'a')]
    }

    proptest! {
        #[test]
        fn chunk_boundaries_do_not_matter(chunks in prop::collection::vec(prop::collection::vec(byte(), 0..5), 0..20)) {
            let whole = chunks.concat();
            let streamed = assemble(Replacement::PerSequence, chunks.iter().map(Vec::as_slice));
            prop_assert_eq!(streamed, String::from_utf8_lossy(&whole));
        }
    }
}
