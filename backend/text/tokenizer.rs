//! Text to tokens and back.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tokenizers::{DecoderWrapper, Tokenizer};

use super::spelling::Spelling;
use super::stream::TextShares;

/// Why a tokenizer could not be loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file is not there.
    #[error("there is no tokenizer at {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is there but cannot be read.
    #[error("cannot read the tokenizer {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not a tokenizer.
    #[error("{} is damaged or not a tokenizer; fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the tokenizer library says.
        source: tokenizers::Error,
    },
    /// The text could not be split into tokens.
    #[error("the tokenizer cannot encode this text")]
    Encode(#[source] tokenizers::Error),
    /// The tokens could not be turned into text.
    #[error("the tokenizer cannot decode these tokens")]
    Decode(#[source] tokenizers::Error),
}

/// Whether encoding adds the tokens that the model expects around a text, e.g. a first `<s>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specials {
    /// Add them: for plain text.
    Add,
    /// Add none: for text that a chat template has rendered, which already spells them out.
    AsWritten,
}

/// A token of an encoded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Its id in the vocabulary.
    pub id: u32,
    /// The bytes of the text that it covers. Empty for a token that [`Specials::Add`] put there; the same for all tokens
    /// that share one character.
    pub bytes: Range<usize>,
}

/// A model's tokenizer, as its `tokenizer.json` describes it.
#[derive(Debug)]
pub struct TextTokenizer {
    inner: Tokenizer,
    special: HashSet<u32>,
    spelling: Spelling,
}

impl TextTokenizer {
    /// Loads a `tokenizer.json`.
    ///
    /// # Errors
    /// When the file is missing, unreadable or not a tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let path_buf = || path.to_path_buf();
        let json = std::fs::read(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => TokenizerError::Missing { path: path_buf() },
            _ => TokenizerError::Read { path: path_buf(), source },
        })?;
        Self::parse(&json).map_err(|source| TokenizerError::Damaged { path: path_buf(), source })
    }

    /// Reads the contents of a `tokenizer.json`.
    ///
    /// # Errors
    /// When they do not describe a tokenizer.
    pub fn from_bytes(json: &[u8]) -> Result<Self, TokenizerError> {
        Self::parse(json).map_err(|source| TokenizerError::Damaged { path: "tokenizer.json".into(), source })
    }

    fn parse(json: &[u8]) -> tokenizers::Result<Self> {
        let mut inner = Tokenizer::from_bytes(json)?;
        // Left over from training in many published files; a trace must not lose or invent tokens.
        inner.with_truncation(None)?;
        inner.with_padding(None);
        let added = inner.get_added_tokens_decoder();
        let special = added.into_iter().filter(|(_, token)| token.special).map(|(id, _)| id).collect();
        let spelling = Spelling::of(inner.get_decoder());
        Ok(Self { inner, special, spelling })
    }

    /// Splits `text` into tokens.
    ///
    /// # Errors
    /// When the tokenizer's model fails, e.g. on a character that it has no token for.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<Encoded>, TokenizerError> {
        let encoding = self.inner.encode(text, specials == Specials::Add).map_err(TokenizerError::Encode)?;
        let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
        Ok(tokens.map(|(&id, &(start, end))| Encoded { id, bytes: start..end }).collect())
    }

    /// Returns the text of `ids`, special tokens included and nothing cleaned up. See [`TextShares`] for the details.
    ///
    /// # Errors
    /// When the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let mut shares = TextShares::new(self);
        let mut text = String::new();
        for &id in ids {
            text.push_str(&shares.push(id)?);
        }
        text.push_str(&shares.finish());
        Ok(text)
    }

    /// Tells whether `id` is a control token.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// Looks a token up by its spelling in the vocabulary.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Returns the number of tokens, added ones included. The model's own vocabulary may be padded beyond it.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    pub(super) fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    pub(super) fn spelling(&self) -> &Spelling {
        &self.spelling
    }

    pub(super) fn decoder(&self) -> Option<&DecoderWrapper> {
        self.inner.get_decoder()
    }

    #[cfg(test)]
    pub(super) fn library(&self) -> &Tokenizer {
        &self.inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::samples;
    use std::error::Error as _;

    #[test]
    fn byte_ranges_point_into_the_text() -> anyhow::Result<()> {
        let text = "<|im_start|>user\nGrüße, 世界!<|im_end|>";
        let tokens = samples::tiny().encode(text, Specials::AsWritten)?;
        assert_eq!(&text[tokens[0].bytes.clone()], "<|im_start|>");
        assert_eq!(tokens.last().map(|token| &text[token.bytes.clone()]), Some("<|im_end|>"));
        assert!(tokens.windows(2).all(|pair| pair[0].bytes.start <= pair[1].bytes.start));
        assert!(
            tokens.iter().all(|token| { text.get(token.bytes.clone()).is_some_and(|covered| !covered.is_empty()) })
        );
        Ok(())
    }

    #[test]
    fn a_first_token_is_added_only_when_asked_for() -> anyhow::Result<()> {
        let tokenizer = samples::sentencepiece();
        let bos = tokenizer.id_of("<s>");
        let added = tokenizer.encode("Hello", Specials::Add)?;
        assert_eq!((Some(added[0].id), added[0].bytes.clone()), (bos, 0..0));
        let written = tokenizer.encode("<s>Hello", Specials::AsWritten)?;
        assert_eq!(Some(written[0].id), bos);
        assert_eq!(
            tokenizer.encode("Hello", Specials::AsWritten)?.iter().filter(|token| Some(token.id) == bos).count(),
            0
        );
        Ok(())
    }

    #[test]
    fn truncation_and_padding_in_the_file_are_ignored() -> anyhow::Result<()> {
        let mut json = samples::tiny_json();
        json["truncation"] =
            serde_json::json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
        json["padding"] = serde_json::json!({
            "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"
        });
        let tokenizer = TextTokenizer::from_bytes(json.to_string().as_bytes())?;
        let text = "one two three four five";
        assert_eq!(tokenizer.encode(text, Specials::Add)?, samples::tiny().encode(text, Specials::Add)?);
        Ok(())
    }

    #[test]
    fn special_tokens_are_known_by_id_and_by_name() {
        let tokenizer = samples::byte_level();
        let id = |token| tokenizer.id_of(token).expect("in the vocabulary");
        assert!(tokenizer.is_special(id("<|begin_of_text|>")));
        assert!(!tokenizer.is_special(id("<think>")));
        assert!(!tokenizer.is_special(id("Ġ")));
        assert_eq!(tokenizer.id_of("no such token"), None);
        assert_eq!(samples::tiny().vocab_size(), 822);
    }

    #[test]
    fn a_missing_or_damaged_file_is_named() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("tokenizer.json");
        let missing = TextTokenizer::from_file(&path).err().map(|error| error.to_string());
        assert_eq!(missing, Some(format!("there is no tokenizer at {}", path.display())));

        std::fs::write(&path, b"{\"version\": ")?;
        let damaged = TextTokenizer::from_file(&path).err();
        assert!(damaged.as_ref().is_some_and(|error| error.source().is_some()));
        assert_eq!(
            damaged.map(|e| e.to_string()),
            Some(format!("{} is damaged or not a tokenizer; fetch it again", path.display()))
        );

        let other = TextTokenizer::from_bytes(b"[1, 2]").err().map(|error| error.to_string());
        assert_eq!(other.as_deref(), Some("tokenizer.json is damaged or not a tokenizer; fetch it again"));
        Ok(())
    }
}
