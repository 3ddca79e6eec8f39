//! Reads the prompt, whatever it is, and says plainly when it cannot be one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::text::{
    ChatError, ChatTemplate, GeneratedRoles, Message, Speaker, Specials, TextShares, TextTokenizer, classify,
};
use crate::trace::step::{Origin, TokenRecord};

/// More than any model's context in text; a larger file is surely not a prompt.
const LARGEST_FILE: u64 = 64 << 20;

/// A prompt as tokens.
pub struct Prompt {
    /// Token ids.
    pub ids: Vec<u32>,
    /// The tokens as they go into the trace.
    pub records: Vec<TokenRecord>,
    /// What the model sees, for roles of what it adds.
    pub rendered: String,
}

/// Reads a text prompt from a file, or from standard input when the path is `-`.
///
/// # Errors
/// When it is missing, empty, too large or not text.
pub fn read_text(path: &Path) -> Result<String> {
    let from_stdin = path == Path::new("-");
    let name = if from_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let source: Box<dyn Read> = if from_stdin {
        Box::new(std::io::stdin())
    } else {
        ensure!(!path.is_dir(), "{name} is a directory; give a text file with the prompt");
        Box::new(File::open(path).with_context(|| format!("cannot read the prompt {name}"))?)
    };
    let mut bytes = Vec::new();
    source.take(LARGEST_FILE + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read the prompt {name}"))?;
    ensure!(
        bytes.len() as u64 <= LARGEST_FILE,
        "{name} is over {} MiB, more than any model reads; give a shorter prompt",
        LARGEST_FILE >> 20
    );
    let Ok(text) = String::from_utf8(bytes) else {
        bail!("{name} is not text (it is not UTF-8); give a text file with the prompt");
    };
    ensure!(!text.contains('\0'), "{name} is not text (it holds NUL bytes); give a text file with the prompt");
    ensure!(!text.trim().is_empty(), "{name} is empty; write a prompt into it");
    Ok(text)
}

/// Reads a JSON list of token ids.
///
/// # Errors
/// When it is missing, not a list of ids, empty, or has an id outside the vocabulary.
pub fn read_ids(path: &Path, vocab: usize) -> Result<Vec<u32>> {
    let name = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("cannot read the prompt {name}"))?.len();
    ensure!(
        size <= LARGEST_FILE,
        "{name} is over {} MiB, more than any model reads; give a shorter prompt",
        LARGEST_FILE >> 20
    );
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the prompt {name}"))?;
    let ids: Vec<u32> = serde_json::from_slice(&bytes).map_err(|error| {
        anyhow::anyhow!("{name} is not a JSON list of token ids ({error}); write one such as [1, 2, 3]")
    })?;
    ensure!(!ids.is_empty(), "{name} is an empty list; write token ids into it");
    check_vocab(&ids, vocab)?;
    Ok(ids)
}

fn check_vocab(ids: &[u32], vocab: usize) -> Result<()> {
    match ids.iter().enumerate().find(|(_, id)| **id as usize >= vocab) {
        Some((place, id)) => bail!(
            "token {id} at place {place} of the prompt is outside the model's vocabulary of {vocab}; use this model's own tokenizer"
        ),
        None => Ok(()),
    }
}

/// Turns text into the tokens that the model reads, wrapped in its chat template unless `raw`.
///
/// # Errors
/// When there is no tokenizer, no template, or the template refuses.
pub fn encode(
    text: &str,
    raw: bool,
    tokenizer: Option<&TextTokenizer>,
    template: &Result<ChatTemplate, ChatError>,
    vocab: usize,
) -> Result<Prompt> {
    let Some(tokenizer) = tokenizer else {
        bail!("the model has no tokenizer.json, so it cannot read text; give token ids with --prompt-ids");
    };
    let (rendered, tokens, roles) = if raw {
        (text.to_owned(), tokenizer.encode(text, Specials::Add)?, None)
    } else {
        let template = match template {
            Ok(template) => template,
            Err(ChatError::Missing) => {
                bail!("the model's tokenizer has no chat template; add --raw to send the prompt as it is")
            }
            Err(error) => bail!("the model's chat template cannot be used ({error}); add --raw to do without it"),
        };
        let prompt = template.prompt(&[Message::new(Speaker::User, text.trim_end())], true, None)?;
        let tokens = tokenizer.encode(&prompt.text, Specials::AsWritten)?;
        let roles = prompt.roles(&tokens);
        (prompt.text, tokens, roles)
    };
    let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
    ensure!(!ids.is_empty(), "the prompt has no tokens; write something into it");
    check_vocab(&ids, vocab)?;
    let roles = roles.unwrap_or_default();
    let records = ids
        .iter()
        .enumerate()
        .map(|(place, &id)| record(id, Origin::Prompt, roles.get(place).map(|role| role.as_str())))
        .collect();
    Ok(Prompt { ids, records, rendered })
}

/// A prompt that is token ids already.
pub fn from_ids(ids: Vec<u32>) -> Prompt {
    let records = ids.iter().map(|&id| record(id, Origin::Prompt, None)).collect();
    Prompt { ids, records, rendered: String::new() }
}

fn record(id: u32, origin: Origin, role: Option<&'static str>) -> TokenRecord {
    TokenRecord { id, text: None, origin, role, class: "other", logprob: None, entropy: None }
}

/// Gives tokens their text, class and role, in order, prompt first.
pub struct Labeller<'t> {
    parts: Option<(&'t TextTokenizer, TextShares<'t>)>,
    roles: Option<GeneratedRoles>,
}

impl<'t> Labeller<'t> {
    /// For a run whose prompt is `prompt`; without a tokenizer nothing can be said. Roles exist only in a chat.
    pub fn new(tokenizer: Option<&'t TextTokenizer>, prompt: &Prompt) -> Self {
        let is_chat = prompt.records.iter().any(|token| token.role.is_some());
        Self {
            parts: tokenizer.map(|tokenizer| (tokenizer, TextShares::new(tokenizer))),
            roles: is_chat.then(|| GeneratedRoles::after(&prompt.rendered)),
        }
    }

    /// Completes a token's record.
    ///
    /// # Errors
    /// When the tokenizer cannot decode it.
    pub fn label(&mut self, token: &mut TokenRecord) -> Result<()> {
        let Some((tokenizer, shares)) = &mut self.parts else { return Ok(()) };
        let share = shares.push(token.id)?;
        let special = tokenizer.is_special(token.id);
        token.class = classify(&share, special).as_str();
        if let (Origin::Generated, Some(roles)) = (token.origin, &mut self.roles) {
            token.role = Some(roles.next(&share, special).as_str());
        }
        token.text = Some(share);
        Ok(())
    }

    /// Text that no token completed.
    pub fn finish(self) -> String {
        self.parts.map(|(_, shares)| shares.finish()).unwrap_or_default()
    }
}

/// A record for a token the model drew.
pub fn drawn_record(drawn: crate::engine::sampling::Drawn) -> TokenRecord {
    TokenRecord {
        logprob: Some(drawn.logprob),
        entropy: Some(drawn.entropy),
        ..record(drawn.id, Origin::Generated, None)
    }
}
