//! One document under every policy and budget at once: they share what they read before the first cut.

use std::fmt;
use std::str::FromStr;

use super::sequence::{Sequence, read};
use crate::corpus::Document;
use crate::engine::generation::EngineError;
use crate::model::decoder::{Decoder, Input, Want};
use crate::policy::{Policy, PolicyKind};
use crate::text::{ChatError, ChatTemplate, Message, Speaker, Specials, TextTokenizer, TokenizerError};

/// When the cache is cut while the prompt is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// After the story, before the question is known; then after every pass.
    Unseen,
    /// After every this many tokens: the cache never holds more than the budget and one such pass.
    Streamed(usize),
    /// After the whole prompt, as the authors' code does.
    Whole,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unseen => f.write_str("unseen"),
            Self::Streamed(chunk) => write!(f, "streamed:{chunk}"),
            Self::Whole => f.write_str("whole"),
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.split_once(':').unwrap_or((name, "")) {
            ("unseen", "") => Ok(Self::Unseen),
            ("whole", "") => Ok(Self::Whole),
            ("streamed", "") => Ok(Self::Streamed(64)),
            ("streamed", chunk) => match chunk.parse() {
                Ok(chunk) if chunk > 0 => Ok(Self::Streamed(chunk)),
                _ => Err(format!("streamed:{chunk} names no number of tokens; write streamed:64")),
            },
            _ => Err(format!("there is no protocol {name:?}; choose unseen, streamed:TOKENS or whole")),
        }
    }
}

/// A policy at a budget.
pub struct Cell {
    /// Which policy.
    pub kind: PolicyKind,
    /// M; `None` for the full cache.
    pub budget: Option<u32>,
    /// The two together.
    pub policy: Policy,
}

/// How one document went in one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Whether every token of the answer was the most likely one.
    pub right: bool,
    /// Mean negative log-likelihood of the answer's tokens, nats.
    pub nll: f64,
}

/// Why a document could not be examined.
#[derive(Debug, thiserror::Error)]
pub enum ExamError {
    /// The model failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The text could not be encoded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The template failed.
    #[error("the model's chat template cannot be used: {0}")]
    Chat(#[from] ChatError),
    /// The tokenizer joins what must be told apart.
    #[error("the tokenizer joins the {0} with what follows it, so the two cannot be read apart; use --protocol whole")]
    Joined(&'static str),
    /// The document does not fit.
    #[error("a document of {tokens} tokens does not fit the model's context of {context}; lower --tokens")]
    TooLong {
        /// Its length.
        tokens: usize,
        /// The model's context.
        context: usize,
    },
}

impl From<candle_core::Error> for ExamError {
    fn from(error: candle_core::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// A model under examination.
pub struct Exam<'a> {
    /// The model, with the gates that the TRIM-KV cells use.
    pub model: &'a Decoder,
    /// Its tokenizer.
    pub tokenizer: &'a TextTokenizer,
    /// Its chat template.
    pub template: &'a ChatTemplate,
    /// When to cut.
    pub protocol: Protocol,
    /// Policies and budgets.
    pub cells: &'a [Cell],
}

/// A document as the model reads it.
struct Paper {
    /// Pieces of the prompt, a cut after each.
    passes: Vec<Vec<u32>>,
    answer: Vec<u32>,
}

impl Exam<'_> {
    /// Examines one document, whose first turn is asked: a result per cell, and the prompt's length in tokens.
    ///
    /// # Errors
    /// When the document cannot be encoded or the model fails.
    pub fn take(&self, document: &Document) -> Result<(Vec<Outcome>, usize), ExamError> {
        let Paper { passes, answer } = self.paper(document)?;
        let prompt = passes.iter().map(Vec::len).sum::<usize>();
        let (tokens, context) = (prompt + answer.len(), self.model.config().context);
        if tokens > context {
            return Err(ExamError::TooLong { tokens, context });
        }
        let policies: Vec<&Policy> = self.cells.iter().map(|cell| &cell.policy).collect();
        // The first pass is the same everywhere: nothing is evicted before its end.
        let mut first = [Sequence::new(self.model)?];
        let mut logits = read(self.model, &policies, &mut first, &passes[0], 1)?;
        let mut sequences = policies.iter().map(|_| first[0].fork()).collect::<Result<Vec<_>, EngineError>>()?;
        logits = logits.repeat((sequences.len(), 1, 1))?;
        let cut = |sequences: &mut [Sequence]| {
            sequences.iter_mut().zip(&policies).try_for_each(|(sequence, policy)| sequence.cut(self.model, policy))
        };
        cut(&mut sequences)?;
        for pass in &passes[1..] {
            logits = read(self.model, &policies, &mut sequences, pass, 1)?;
            cut(&mut sequences)?;
        }
        let mut results = vec![Outcome { right: true, nll: 0.0 }; sequences.len()];
        for (index, &token) in answer.iter().enumerate() {
            for (result, row) in results.iter_mut().zip(logits.squeeze(1)?.to_vec2::<f32>()?) {
                let (right, nll) = compare(&row, token);
                result.right &= right;
                result.nll += nll / answer.len() as f64;
            }
            if index + 1 < answer.len() {
                logits = read(self.model, &policies, &mut sequences, &[token], 1)?;
                cut(&mut sequences)?;
            }
        }
        Ok((results, prompt))
    }

    /// Mean attention that token 0 receives in each KV head (mean over its query group and over the queries of the
    /// prompt after the first), with the full cache.
    ///
    /// # Errors
    /// When the document cannot be encoded or the model fails.
    pub fn attention_on_first(&self, document: &Document) -> Result<Vec<f64>, ExamError> {
        let tokens = self.paper(document)?.passes.concat();
        let mut cache = self.model.new_cache(0)?;
        let want = Want { attention: true, ..Want::default() };
        let mut input = [Input { tokens: &tokens, cache: &mut cache }];
        let outputs = self.model.forward(&mut input, want).map_err(EngineError::from)?;
        let received = outputs.into_iter().next().and_then(|output| output.attention).unwrap_or_default();
        // The first query can see nothing else, which says nothing about a sink.
        let later = (tokens.len() - 1).max(1) as f64;
        Ok(received.iter().map(|columns| (f64::from(columns[0]) - 1.0) / later).collect())
    }

    fn paper(&self, document: &Document) -> Result<Paper, ExamError> {
        let user = Message::new(Speaker::User, document.prompt());
        let answer = document.turns.first().map(|turn| turn.answer.clone()).unwrap_or_default();
        let asked = self.template.render(std::slice::from_ref(&user), true, None)?;
        let told = self.template.render(&[user, Message::new(Speaker::Assistant, &answer)], false, None)?;
        let encode = |text: &str| -> Result<Vec<u32>, TokenizerError> {
            Ok(self.tokenizer.encode(text, Specials::AsWritten)?.iter().map(|token| token.id).collect())
        };
        let (prompt, whole) = (encode(&asked)?, encode(&told)?);
        let rest = whole.strip_prefix(prompt.as_slice()).ok_or(ExamError::Joined("prompt"))?;
        // The template's text after the answer holds the token that ends it, and perhaps a newline that nobody generates.
        let length = encode(&answer)?.len() + 1;
        let answer = rest[..length.min(rest.len())].to_vec();
        let passes = match self.protocol {
            Protocol::Whole => vec![prompt],
            Protocol::Streamed(chunk) => prompt.chunks(chunk).map(<[u32]>::to_vec).collect(),
            Protocol::Unseen => {
                let end = asked.find(&document.story).map_or(0, |at| at + document.story.len());
                let story = encode(&asked[..end])?;
                let question = prompt.strip_prefix(story.as_slice()).ok_or(ExamError::Joined("story"))?.to_vec();
                vec![story, question]
            }
        };
        Ok(Paper { passes, answer })
    }
}

/// Whether `token` is the most likely one, and its negative log-likelihood in nats.
fn compare(logits: &[f32], token: u32) -> (bool, f64) {
    let own = logits[token as usize];
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - highest).exp()).sum();
    // As in greedy sampling, the first of equals wins.
    let best = logits.iter().position(|&logit| logit == highest);
    (best == Some(token as usize), f64::from(highest - own) + sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_likelihood_is_a_softmax_and_the_first_of_equals_is_the_choice() {
        let (right, nll) = compare(&[0.0, 1.0, 1.0], 1);
        let sum = 1.0 + 2.0 * 1f64.exp();
        assert!(right);
        assert!((nll - (sum.ln() - 1.0)).abs() < 1e-9);
        assert!(!compare(&[0.0, 1.0, 1.0], 2).0);
        assert!(compare(&[1e30, -1e30], 0).1.abs() < 1e-9);
    }

    #[test]
    fn protocols_answer_to_their_names() {
        assert_eq!("unseen".parse(), Ok(Protocol::Unseen));
        assert_eq!("streamed:32".parse(), Ok(Protocol::Streamed(32)));
        assert_eq!("whole".parse(), Ok(Protocol::Whole));
        for bad in ["streamed:0", "streamed:x", "later"] {
            assert!(bad.parse::<Protocol>().is_err(), "{bad}");
        }
    }
}
