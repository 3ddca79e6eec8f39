//! How a tokenizer's decoder spells one token.
//!
//! A decoder is a function of a whole sequence. Calling it again for every token would cost quadratic time, and on a
//! window it has to be asked whether text that ends in U+FFFD is final. The decoders of language models, however, map
//! every token to bytes of its own; only the first token and the start of the text are treated differently. So the
//! decoder is taken apart once, and a token then costs its own length.

use std::collections::HashMap;
use std::sync::LazyLock;

use tokenizers::{Decoder as _, DecoderWrapper};

use super::utf8::Replacement;

/// What the decoder does to a token.
#[derive(Debug)]
pub(super) enum Spelling {
    /// A token has bytes of its own.
    Bytes(ByteSpelling),
    /// What a token adds depends on the token before it (WordPiece, `</w>` suffixes, no decoder at all).
    AfterPrevious,
}

impl Spelling {
    pub(super) fn of(decoder: Option<&DecoderWrapper>) -> Self {
        decoder.and_then(ByteSpelling::of).map_or(Self::AfterPrevious, Self::Bytes)
    }
}

/// Whether a token opens the text; sentencepiece decoders drop the space that the encoder put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    First,
    Later,
}

/// A decoder that treats every token on its own.
#[derive(Debug)]
pub(super) struct ByteSpelling {
    /// Rewrites of single tokens, e.g. `▁` to a space.
    rewrites: Vec<DecoderWrapper>,
    alphabet: Alphabet,
    /// The character to strip from the start of the whole text, and how often.
    pub(super) leading: Option<(char, usize)>,
}

/// How the characters of a token stand for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    /// They are the text.
    Plain,
    /// Each stands for one byte, as in GPT-2.
    ByteLevel,
    /// They are the text, but `<0x0A>` stands for one byte.
    ByteFallback,
}

impl ByteSpelling {
    /// Takes `decoder` apart; none if it is not a chain that this type can follow.
    fn of(decoder: &DecoderWrapper) -> Option<Self> {
        let mut spelling = Self { rewrites: Vec::new(), alphabet: Alphabet::Plain, leading: None };
        let mut fused = false;
        let mut steps = vec![decoder];
        while let Some(step) = steps.pop() {
            match step {
                DecoderWrapper::Sequence(sequence) => steps.extend(sequence.get_decoders().iter().rev()),
                DecoderWrapper::Fuse(_) => fused = true,
                DecoderWrapper::ByteLevel(_) if !fused && spelling.alphabet == Alphabet::Plain => {
                    spelling.alphabet = Alphabet::ByteLevel;
                    fused = true;
                }
                DecoderWrapper::ByteFallback(_) if !fused => spelling.alphabet = Alphabet::ByteFallback,
                DecoderWrapper::Replace(_) | DecoderWrapper::Metaspace(_) | DecoderWrapper::Strip(_) if !fused => {
                    spelling.rewrites.push(step.clone());
                }
                DecoderWrapper::Strip(strip) if strip.stop == 0 && spelling.leading.is_none() => {
                    spelling.leading = Some((strip.content, strip.start));
                }
                _ => return None,
            }
        }
        Some(spelling)
    }

    pub(super) fn replacement(&self) -> Replacement {
        match self.alphabet {
            Alphabet::ByteFallback => Replacement::PerByte,
            Alphabet::ByteLevel | Alphabet::Plain => Replacement::PerSequence,
        }
    }

    /// Returns the bytes that `token`, as it stands in the vocabulary, adds to the text.
    pub(super) fn bytes(&self, token: String, place: Place) -> tokenizers::Result<Vec<u8>> {
        if self.alphabet == Alphabet::ByteFallback
            && let Some(byte) = fallback_byte(&token)
        {
            return Ok(vec![byte]);
        }
        let piece = self.rewrites.iter().try_fold(token, |piece, rewrite| {
            // Metaspace looks at the index, so a later token needs a token in front of it.
            let pieces = match place {
                Place::First => vec![piece],
                Place::Later => vec!["x".to_owned(), piece],
            };
            rewrite.decode_chain(pieces).map(|mut pieces| pieces.pop().unwrap_or_default())
        })?;
        Ok(match self.alphabet {
            Alphabet::ByteLevel => byte_level_bytes(&piece).unwrap_or_else(|| piece.into_bytes()),
            Alphabet::Plain | Alphabet::ByteFallback => piece.into_bytes(),
        })
    }
}

/// The byte that a token like `<0x0A>` stands for.
fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The bytes of a byte-level token; none for added tokens, whose characters need not be in the alphabet.
fn byte_level_bytes(piece: &str) -> Option<Vec<u8>> {
    static BYTES: LazyLock<HashMap<char, u8>> = LazyLock::new(|| byte_level_alphabet().collect());
    piece.chars().map(|c| BYTES.get(&c).copied()).collect()
}

/// GPT-2's alphabet: printable Latin-1 stands for itself, every other byte for the next free character from U+0100.
pub(super) fn byte_level_alphabet() -> impl Iterator<Item = (char, u8)> {
    let mut next_free = '\u{100}'..;
    (0..=u8::MAX).filter_map(move |byte| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => Some((char::from(byte), byte)),
        _ => next_free.next().map(|c| (c, byte)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn the_alphabet_is_the_one_of_the_library() {
        let ours: HashSet<char> = byte_level_alphabet().map(|(c, _)| c).collect();
        assert_eq!(ours, ByteLevel::alphabet().into_iter().collect());
        assert!(byte_level_alphabet().any(|pair| pair == ('Ġ', b' ')));
        assert!(byte_level_alphabet().any(|pair| pair == ('Ċ', b'\n')));
    }

    #[test]
    fn only_two_hexadecimal_digits_make_a_byte_token() {
        assert_eq!(fallback_byte("<0x0A>"), Some(b'\n'));
        for token in ["<0x0A", "0x0A>", "<0xA>", "<0x00A>", "<0xZZ>", "<0x>", ""] {
            assert_eq!(fallback_byte(token), None, "{token}");
        }
    }
}
