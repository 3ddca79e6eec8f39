//! Each token's share of the decoded text, one token at a time.

use tokenizers::Decoder as _;

use super::spelling::{ByteSpelling, Place, Spelling};
use super::tokenizer::{TextTokenizer, TokenizerError};
use super::utf8::{Replacement, Utf8Assembler};

/// Divides the decoded text among its tokens, byte for byte.
///
/// Concatenating all shares and the remainder gives [`TextTokenizer::decode`] of all ids, special tokens included. A token
/// that ends inside a character has an empty share; the one that completes it has the character. What a token costs
/// depends on its own length alone.
///
/// The text equals what the tokenizer library decodes, with one exception: a *byte-fallback* decoder (Llama 2, Phi-3)
/// looks at a whole run of byte tokens and replaces all of it, finished characters and newlines included, when one byte of
/// it is not UTF-8. Shares that have been handed out cannot be taken back, so here the finished characters stay and each
/// stray byte becomes one U+FFFD.
#[derive(Debug)]
pub struct TextShares<'t> {
    tokenizer: &'t TextTokenizer,
    utf8: Utf8Assembler,
    /// The token before, as it stands in the vocabulary; none at the start of the text.
    previous: Option<String>,
    /// What may still be stripped from the start of the text.
    leading: Option<(char, usize)>,
}

impl<'t> TextShares<'t> {
    /// Starts a new text.
    pub fn new(tokenizer: &'t TextTokenizer) -> Self {
        let (replacement, leading) = match tokenizer.spelling() {
            Spelling::Bytes(spelling) => (spelling.replacement(), spelling.leading),
            Spelling::AfterPrevious => (Replacement::PerSequence, None),
        };
        Self { tokenizer, utf8: Utf8Assembler::new(replacement), previous: None, leading }
    }

    /// Returns the share of the next token; an id that is not in the vocabulary adds nothing.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn push(&mut self, id: u32) -> Result<String, TokenizerError> {
        let Some(token) = self.tokenizer.token(id) else {
            return Ok(String::new());
        };
        let share = match self.tokenizer.spelling() {
            Spelling::Bytes(spelling) => self.own_share(spelling, token.clone()),
            Spelling::AfterPrevious => self.share_after_previous(token.clone()),
        };
        self.previous = Some(token);
        share.map_err(TokenizerError::Decode)
    }

    /// Returns the text still owed, which belongs to the last token: U+FFFD for a character that was never completed.
    pub fn finish(self) -> String {
        self.utf8.finish()
    }

    fn own_share(&mut self, spelling: &ByteSpelling, token: String) -> tokenizers::Result<String> {
        let place = match self.previous {
            None => Place::First,
            Some(_) => Place::Later,
        };
        let bytes = spelling.bytes(token, place)?;
        let mut share = self.utf8.push(&bytes);
        while let Some((unwanted, times)) = self.leading.filter(|_| !share.is_empty()) {
            match times > 0 && share.starts_with(unwanted) {
                true => {
                    share.remove(0);
                    self.leading = Some((unwanted, times - 1));
                }
                false => self.leading = None,
            }
        }
        Ok(share)
    }

    /// What `token` adds to the text of the token before it.
    fn share_after_previous(&self, token: String) -> tokenizers::Result<String> {
        let decode = |tokens: Vec<String>| match self.tokenizer.decoder() {
            Some(decoder) => decoder.decode(tokens),
            None => Ok(tokens.join(" ")),
        };
        let Some(previous) = &self.previous else {
            return decode(vec![token]);
        };
        let before = decode(vec![previous.clone()])?;
        let both = decode(vec![previous.clone(), token.clone()])?;
        match both.strip_prefix(&before) {
            Some(share) => Ok(share.to_owned()),
            None => decode(vec![token]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::samples;
    use crate::text::tokenizer::Specials;
    use proptest::prelude::*;

    fn shares(tokenizer: &TextTokenizer, ids: &[u32]) -> Vec<String> {
        let mut stream = TextShares::new(tokenizer);
        let mut shares: Vec<String> = ids.iter().map(|&id| stream.push(id).expect("the samples decode")).collect();
        let remainder = stream.finish();
        match shares.last_mut() {
            Some(last) => last.push_str(&remainder),
            None => assert_eq!(remainder, ""),
        }
        shares
    }

    fn library_text(tokenizer: &TextTokenizer, ids: &[u32]) -> String {
        tokenizer.library().decode(ids, false).expect("the samples decode")
    }

    /// The text by another route: all bytes first, then all replacements.
    fn fallback_text(tokenizer: &TextTokenizer, ids: &[u32]) -> String {
        let tokens = ids.iter().filter_map(|&id| tokenizer.token(id));
        let bytes: Vec<u8> = tokens
            .flat_map(|token| match token.strip_prefix("<0x") {
                Some(digits) => {
                    vec![u8::from_str_radix(&digits[..2], 16).expect("byte tokens are hexadecimal")]
                }
                None => token.replace('▁', " ").into_bytes(),
            })
            .collect();
        let text: String = bytes
            .utf8_chunks()
            .map(|chunk| chunk.valid().to_owned() + &"\u{fffd}".repeat(chunk.invalid().len()))
            .collect();
        text.strip_prefix(' ').unwrap_or(&text).to_owned()
    }

    /// Ids of any sample vocabulary, many of them added tokens, and some that no vocabulary has.
    fn any_ids() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(prop_oneof![4 => 0u32..300, 2 => 256u32..840, 1 => Just(u32::MAX)], 0..60)
    }

    #[test]
    fn a_character_belongs_to_the_token_that_completes_it() {
        for tokenizer in [samples::tiny(), samples::sentencepiece(), samples::byte_level()] {
            let ids: Vec<u32> =
                tokenizer.encode("a🙂b", Specials::AsWritten).expect("encodes").iter().map(|t| t.id).collect();
            let shares = shares(tokenizer, &ids);
            assert_eq!(shares.concat(), "a🙂b");
            let smile = shares.iter().position(|share| share.contains('🙂')).expect("somebody has the character");
            assert!(shares[..smile].contains(&String::new()), "{shares:?}");
        }
    }

    #[test]
    fn the_first_space_is_stripped_once() {
        let tokenizer = samples::sentencepiece();
        let [hello, bos] = ["▁Hello", "<s>"].map(|token| tokenizer.id_of(token).expect("in the vocabulary"));
        assert_eq!(shares(tokenizer, &[hello, hello]), ["Hello", " Hello"]);
        assert_eq!(shares(tokenizer, &[bos, hello]), ["<s>", " Hello"]);
    }

    #[test]
    fn a_newline_byte_has_its_own_share_even_before_a_stray_byte() {
        let tokenizer = samples::sentencepiece();
        let ids = ["<0x0A>", "<0xE5>", "<0x8F>", "<0xAB>", "<0x80>"]
            .map(|token| tokenizer.id_of(token).expect("a byte token"));
        assert_eq!(shares(tokenizer, &ids), ["\n", "", "", "叫", "\u{fffd}"]);
        assert_eq!(library_text(tokenizer, &ids), "\u{fffd}".repeat(5));
    }

    #[test]
    fn a_text_cut_inside_a_character_ends_in_a_replacement() {
        for (tokenizer, bytes, remainder) in [
            (samples::byte_level(), ["ð", "Ł"], "\u{fffd}"),
            (samples::sentencepiece(), ["<0xF0>", "<0x9F>"], "\u{fffd}\u{fffd}"),
        ] {
            let ids = bytes.map(|token| tokenizer.id_of(token).expect("a byte token"));
            assert_eq!(shares(tokenizer, &ids), ["", remainder]);
            assert_eq!(library_text(tokenizer, &ids), remainder);
        }
    }

    #[test]
    fn decoders_that_look_back_are_followed_too() {
        for (tokenizer, text) in [
            (
                samples::with_decoder(serde_json::json!({"type": "WordPiece", "prefix": "##", "cleanup": true})),
                "unknown!",
            ),
            (samples::with_decoder(serde_json::json!({"type": "BPEDecoder", "suffix": "known"})), "un## !"),
            (samples::with_decoder(serde_json::Value::Null), "un ##known !"),
        ] {
            let ids = ["un", "##known", "!"].map(|token| tokenizer.id_of(token).expect("in the vocabulary"));
            let shares = shares(&tokenizer, &ids);
            assert_eq!(shares.concat(), text);
            assert_eq!(library_text(&tokenizer, &ids), text);
        }
    }

    #[test]
    fn a_metaspace_decoder_drops_the_first_space_only() {
        let tokenizer = samples::with_decoder(
            serde_json::json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
        );
        let hello = tokenizer.id_of("▁Hello").expect("in the vocabulary");
        assert_eq!(shares(&tokenizer, &[hello, hello]), ["Hello", " Hello"]);
        assert_eq!(library_text(&tokenizer, &[hello, hello]), "Hello Hello");
    }

    proptest! {
        #[test]
        fn byte_level_shares_add_up_to_what_the_library_decodes(ids in any_ids()) {
            for tokenizer in [samples::tiny(), samples::byte_level()] {
                let shares = shares(tokenizer, &ids).concat();
                prop_assert_eq!(&shares, &library_text(tokenizer, &ids));
                prop_assert_eq!(shares, tokenizer.decode(&ids).expect("the samples decode"));
            }
        }

        #[test]
        fn byte_fallback_shares_keep_what_is_whole_and_replace_every_stray_byte(ids in any_ids()) {
            let tokenizer = samples::sentencepiece();
            let shares = shares(tokenizer, &ids).concat();
            prop_assert_eq!(&shares, &fallback_text(tokenizer, &ids));
            prop_assert_eq!(shares, tokenizer.decode(&ids).expect("the samples decode"));
        }

        #[test]
        fn byte_fallback_shares_of_valid_text_add_up_to_what_the_library_decodes(
            parts in prop::collection::vec(prop_oneof![
                (259u32..300).prop_map(Part::Token),
                any::<char>().prop_map(Part::Spelled),
                Just(Part::Spelled('\n')),
                Just(Part::Cut),
            ], 0..30),
        ) {
            let tokenizer = samples::sentencepiece();
            let byte = |byte: u8| tokenizer.id_of(&format!("<0x{byte:02X}>")).expect("a byte token");
            let word = tokenizer.id_of("▁Hello").expect("in the vocabulary");
            let ids: Vec<u32> = parts.iter().flat_map(|part| match part {
                Part::Token(id) => vec![*id],
                Part::Spelled(c) => c.to_string().bytes().map(byte).collect(),
                Part::Cut => vec![word, byte(0xf0), byte(0x9f), word],
            }).collect();
            prop_assert_eq!(shares(tokenizer, &ids).concat(), library_text(tokenizer, &ids));
        }

        #[test]
        fn encoding_and_decoding_give_the_text_back(text in "\\PC{0,40}") {
            for tokenizer in [samples::tiny(), samples::sentencepiece(), samples::byte_level()] {
                let ids: Vec<u32> = tokenizer.encode(&text, Specials::AsWritten).expect("encodes").iter().map(|t| t.id).collect();
                prop_assert_eq!(shares(tokenizer, &ids).concat(), text.clone());
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Part {
        Token(u32),
        Spelled(char),
        /// A character that is cut off between two words.
        Cut,
    }
}
