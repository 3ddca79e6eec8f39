//! Training data: texts and conversations as rows of tokens, and the order in which a run takes them.

use std::fs;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::Deserialize;

use super::error::TrainingError;
use super::settings::LossOn;
use crate::corpus::{self, Plan};
use crate::text::{ChatError, ChatTemplate, Message, Role, Speaker, Specials, TextTokenizer};

/// One row of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Positions that count for the quality loss, ascending, and the token that follows each.
    pub targets: Vec<(u32, u32)>,
}

/// How texts become rows.
pub struct Reader<'a> {
    /// The model's tokenizer.
    pub tokenizer: Option<&'a TextTokenizer>,
    /// The model's chat template, or why there is none.
    pub template: &'a Result<ChatTemplate, ChatError>,
    /// The model's vocabulary.
    pub vocab: usize,
    /// Which positions count.
    pub loss_on: LossOn,
    /// Join documents to rows of the full context.
    pub pack: bool,
    /// Most tokens of a row; longer documents become several rows.
    pub context: usize,
    /// Documents used, from the first on.
    pub max_documents: Option<usize>,
}

/// Name under which the documents of the built-in model's world are asked for.
pub const BUILTIN: &str = "builtin";
/// How many of them, unless the run says.
const DOCUMENTS: usize = 2000;
/// Seed of the first: away from those of base training, and below those of examinations.
const FIRST_SEED: u64 = 500_000_000_000;
/// Most facts of each kind in the documents, in turn, from much filler to little.
const FACTS: [usize; 5] = [3, 4, 6, 8, 12];
/// Tokens that a document gives each of these facts at least, so that there is filler to forget.
const TOKENS_PER_FACT: usize = 56;

/// A line of a JSONL file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Chat { messages: Vec<Message> },
    Text { text: String },
    Ids { ids: Vec<u32> },
}

/// Tokens, and of each whether it counts when it is to be predicted.
type Marked = Vec<(u32, bool)>;

impl Reader<'_> {
    /// Reads a JSONL file, or the text files of a directory in the order of their names; `builtin` generates documents.
    ///
    /// # Errors
    /// When there is nothing to learn from, or a file or line cannot be used; it is named.
    pub fn read(&self, path: &Path) -> Result<Vec<Document>, TrainingError> {
        let marked = match path {
            path if path == Path::new(BUILTIN) => self.generated()?,
            path if path.is_dir() => self.directory(path)?,
            path => self.lines(path)?,
        };
        let rows: Vec<Marked> = if self.pack {
            let all: Marked = marked.into_iter().flatten().collect();
            all.chunks(self.context).map(<[_]>::to_vec).collect()
        } else {
            marked.iter().flat_map(|document| document.chunks(self.context)).map(<[_]>::to_vec).collect()
        };
        let documents: Vec<Document> = rows.iter().map(|row| Document::new(row)).filter(Document::counts).collect();
        if documents.is_empty() {
            let problem = match self.loss_on {
                LossOn::Answers => "no token of it is an assistant's answer; give conversations, or --loss-on all",
                LossOn::All => "it holds no document of two tokens or more; give texts to learn from",
            };
            return Err(TrainingError::Data { path: path.to_owned(), problem: problem.to_owned() });
        }
        Ok(documents)
    }

    fn lines(&self, path: &Path) -> Result<Vec<Marked>, TrainingError> {
        let text = read_text(path)?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let most = self.max_documents.unwrap_or(usize::MAX);
        lines
            .take(most)
            .map(|(index, line)| {
                let failed = |problem| TrainingError::Line { path: path.to_owned(), line: index + 1, problem };
                let line = serde_json::from_str::<Line>(line).map_err(|error| failed(complaint(line, &error)))?;
                self.encode(line).map_err(failed)
            })
            .collect()
    }

    fn generated(&self) -> Result<Vec<Marked>, TrainingError> {
        let facts: Vec<usize> =
            FACTS.into_iter().filter(|facts| *facts == FACTS[0] || facts * TOKENS_PER_FACT <= self.context).collect();
        let document = |index: usize| {
            let plan =
                Plan { tokens: self.context, turns: 6, fewest_facts: 1, facts: facts[index % facts.len()], only: None };
            let document = corpus::Document::new(plan, FIRST_SEED + index as u64);
            let message = |message: corpus::document::Message| {
                let speaker = if message.role == "user" { Speaker::User } else { Speaker::Assistant };
                Message::new(speaker, message.content)
            };
            let messages = document.messages().into_iter().map(message).collect();
            let failed = |problem| TrainingError::Data { path: BUILTIN.into(), problem };
            self.encode(Line::Chat { messages }).map_err(failed)
        };
        (0..self.max_documents.unwrap_or(DOCUMENTS)).map(document).collect()
    }

    fn directory(&self, path: &Path) -> Result<Vec<Marked>, TrainingError> {
        let failed = |source| TrainingError::Read { path: path.to_owned(), source };
        let entries = fs::read_dir(path).map_err(failed)?;
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
        files.retain(|file| file.is_file());
        files.sort();
        files.truncate(self.max_documents.unwrap_or(usize::MAX));
        let encode = |file: &PathBuf| {
            let text = read_text(file)?;
            self.encode(Line::Text { text }).map_err(|problem| TrainingError::Data { path: file.clone(), problem })
        };
        files.iter().map(encode).collect()
    }

    fn encode(&self, line: Line) -> Result<Marked, String> {
        let tokenizer = || {
            self.tokenizer
                .ok_or("the model has no tokenizer.json, so it cannot read text; give {\"ids\": [...]} instead")
        };
        let marked: Marked = match line {
            Line::Ids { ids } => ids.into_iter().map(|id| (id, self.loss_on == LossOn::All)).collect(),
            Line::Text { text } => {
                let tokens = tokenizer()?.encode(&text, Specials::Add).map_err(|error| error.to_string())?;
                tokens.into_iter().map(|token| (token.id, self.loss_on == LossOn::All)).collect()
            }
            Line::Chat { messages } => self.conversation(tokenizer()?, &messages)?,
        };
        match marked.iter().find(|(id, _)| *id as usize >= self.vocab) {
            Some((id, _)) => Err(format!(
                "token {id} is outside the model's vocabulary of {}; use this model's own tokenizer",
                self.vocab
            )),
            None => Ok(marked),
        }
    }

    fn conversation(&self, tokenizer: &TextTokenizer, messages: &[Message]) -> Result<Marked, String> {
        let template = self.template.as_ref().map_err(|error| {
            format!("the model's chat template cannot be used ({error}); give {{\"text\": ...}} instead")
        })?;
        let prompt = template.prompt(messages, false, None).map_err(|error| error.to_string())?;
        let tokens = tokenizer.encode(&prompt.text, Specials::AsWritten).map_err(|error| error.to_string())?;
        if self.loss_on == LossOn::All {
            return Ok(tokens.into_iter().map(|token| (token.id, true)).collect());
        }
        let Some(roles) = prompt.roles(&tokens) else {
            return Err(
                "the chat template changes messages beyond recognition, so answers cannot be told; use --loss-on all"
                    .to_owned(),
            );
        };
        let spoken = |role: Option<&Role>| matches!(role, Some(Role::Assistant | Role::Think));
        // What the template puts right after an answer is how the model says that it has ended.
        let counts = |place: usize| {
            spoken(roles.get(place)) || (place > 0 && roles[place] == Role::Template && spoken(roles.get(place - 1)))
        };
        Ok(tokens.iter().enumerate().map(|(place, token)| (token.id, counts(place))).collect())
    }
}

impl Document {
    fn new(row: &[(u32, bool)]) -> Self {
        let targets = row.iter().enumerate().skip(1).filter(|(_, (_, counts))| *counts);
        Self {
            tokens: row.iter().map(|(id, _)| *id).collect(),
            targets: targets.map(|(place, (id, _))| (place as u32 - 1, *id)).collect(),
        }
    }

    fn counts(&self) -> bool {
        !self.targets.is_empty()
    }
}

fn read_text(path: &Path) -> Result<String, TrainingError> {
    let bytes = fs::read(path).map_err(|source| TrainingError::Read { path: path.to_owned(), source })?;
    String::from_utf8(bytes).map_err(|_| TrainingError::Data {
        path: path.to_owned(),
        problem: "it is not text (not UTF-8); give JSONL, or a directory of text files".to_owned(),
    })
}

/// What is wrong with a line, in the words of its own mistake rather than of all forms that it does not have.
fn complaint(line: &str, error: &serde_json::Error) -> String {
    match serde_json::from_str::<serde_json::Value>(line) {
        Err(error) => format!("it is not JSON ({error})"),
        Ok(_) if error.is_data() => "it needs {\"text\": \"...\"}, {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}, ...]} with the roles system, user and assistant, or {\"ids\": [...]}".to_owned(),
        Ok(_) => error.to_string(),
    }
}

/// The documents of the run's `step`-th step, from 1 on, by number: every document once, in an order of the seed's, then
/// again in another. A function of its arguments alone, so that a resumed run goes on exactly.
pub fn rows_of_step(documents: usize, rows: usize, seed: u64, step: u64) -> Vec<usize> {
    let first = (step - 1) * rows as u64;
    let mut orders: Vec<(u64, Vec<usize>)> = Vec::new();
    let taken = (first..first + rows as u64).map(|place| {
        let (epoch, at) = (place / documents as u64, (place % documents as u64) as usize);
        if orders.last().is_none_or(|(known, _)| *known != epoch) {
            orders.push((epoch, order(documents, seed, epoch)));
        }
        orders.last().map_or(at, |(_, order)| order[at])
    });
    taken.collect()
}

fn order(documents: usize, seed: u64, epoch: u64) -> Vec<usize> {
    // An odd factor, so that no two epochs of one seed begin alike.
    let mut random = StdRng::seed_from_u64(seed ^ (epoch + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut order: Vec<usize> = (0..documents).collect();
    order.shuffle(&mut random);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_holds_every_document_once_and_the_next_is_another() {
        let taken: Vec<usize> = (1..=6).flat_map(|step| rows_of_step(9, 3, 7, step)).collect();
        let sorted = |rows: &[usize]| {
            let mut rows = rows.to_vec();
            rows.sort_unstable();
            rows
        };
        assert_eq!(sorted(&taken[..9]), (0..9).collect::<Vec<_>>());
        assert_eq!(sorted(&taken[9..]), (0..9).collect::<Vec<_>>());
        assert_ne!(taken[..9], taken[9..]);
        assert_ne!(taken[..3], rows_of_step(9, 3, 8, 1)[..]);
    }

    #[test]
    fn a_step_may_span_epochs() {
        assert_eq!(rows_of_step(2, 5, 0, 1).len(), 5);
        assert_eq!(rows_of_step(1, 3, 0, 4), [0, 0, 0]);
    }

    #[test]
    fn only_marked_tokens_are_targets_and_the_first_never_is() {
        let document = Document::new(&[(5, true), (6, false), (7, true)]);
        assert_eq!(document.targets, [(1, 7)]);
        assert!(!Document::new(&[(5, true)]).counts());
    }
}
