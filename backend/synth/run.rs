//! A run without a model: prose is read, planted gates rank it, the real ledger cuts.

use super::dice::Dice;
use super::plant::{HeadPlan, Kind, Planted};
use super::prose::Prose;
use crate::cache::ledger::{Births, Ledger, ScoreError};
use crate::policy::{CutRule, Policy};
use crate::text::{TokenClass, classify};
use crate::trace::grid::Grid;
use crate::trace::step::{KvHead, Origin, Pass, Phase, Shape, TokenRecord};

/// What to make.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Layers and heads.
    pub shape: Shape,
    /// Tokens of prompt and text together.
    pub tokens: u32,
    /// The first of them, read in passes of `chunk` tokens; the others are fed one by one.
    pub prompt: u32,
    /// Tokens per prompt pass, at least 1.
    pub chunk: u32,
    /// When and how much to cut.
    pub rule: CutRule,
    /// Chooses text and gates.
    pub seed: u64,
    /// Share of tokens whose half-life is chance, in [0, 1].
    pub noise: f64,
    /// Plans, dealt to the heads in turn; not empty.
    pub plans: Vec<HeadPlan>,
}

impl Recipe {
    /// The plan of a head.
    pub fn plan(&self, head: usize) -> &HeadPlan {
        &self.plans[head % self.plans.len()]
    }
}

/// The passes of a run, each with the tokens it fed. Holds no more than the caches and one pass.
pub struct SyntheticRun<'a> {
    recipe: &'a Recipe,
    policy: &'a Policy,
    prose: Prose,
    ledger: Ledger,
}

impl<'a> SyntheticRun<'a> {
    /// A run under a policy, whose rule is the recipe's.
    pub fn new(recipe: &'a Recipe, policy: &'a Policy) -> Self {
        Self { recipe, policy, prose: Prose::new(recipe.seed), ledger: Ledger::new(recipe.shape) }
    }

    /// Scores of the survivors at the last cut.
    pub fn last_scores(&self) -> impl Iterator<Item = (KvHead, u32, f32)> + '_ {
        self.ledger.last_scores()
    }

    fn gates(&self, tokens: &[TokenRecord]) -> Option<Grid<f32>> {
        let (recipe, first) = (self.recipe, self.ledger.seen());
        let planted: Vec<Planted> = tokens
            .iter()
            .zip(first..)
            .map(|(token, position)| planted(token.text.as_deref().unwrap_or(""), position, recipe.tokens))
            .collect();
        let dice = Dice::new(recipe.seed).at(0x6a7e);
        let row = |head: usize| {
            let (plan, dice) = (recipe.plan(head), dice.at(head as u64));
            planted.iter().map(move |token| plan.log_beta(token, recipe.noise, dice))
        };
        Grid::from_cells(recipe.shape.heads(), planted.len(), (0..recipe.shape.heads()).flat_map(row).collect())
    }
}

fn planted(text: &str, position: u32, tokens: u32) -> Planted {
    let class = classify(text, false);
    let kind = match class {
        TokenClass::Digit => Some(Kind::Digit),
        TokenClass::Operator => Some(Kind::Operator),
        // In this prose only names have capitals after a blank.
        TokenClass::Word if text.starts_with(' ') && text.trim_start().starts_with(char::is_uppercase) => {
            Some(Kind::Name)
        }
        _ => None,
    };
    Planted { position, tokens, is_boundary: matches!(class, TokenClass::SentenceEnd | TokenClass::Newline), kind }
}

impl Iterator for SyntheticRun<'_> {
    type Item = Result<(Vec<TokenRecord>, Pass), ScoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (recipe, seen) = (self.recipe, self.ledger.seen());
        if seen >= recipe.tokens {
            return None;
        }
        let prompt = recipe.prompt.min(recipe.tokens);
        let (phase, origin, fed) = match prompt.checked_sub(seen).filter(|left| *left > 0) {
            Some(left) => (Phase::Prefill, Origin::Prompt, left.min(recipe.chunk.max(1))),
            None => (Phase::Decode, Origin::Generated, 1),
        };
        let tokens: Vec<TokenRecord> = self.prose.by_ref().take(fed as usize).map(|text| token(text, origin)).collect();
        let log_beta = self.gates(&tokens);
        self.ledger.append(Births { count: fed, log_beta: log_beta.as_ref(), key_norm: None });
        let cut = match self.ledger.cut(self.policy) {
            Ok(decision) => decision.map(|decision| decision.cut),
            Err(error) => return Some(Err(error)),
        };
        let (tokens_seen, cached) = (self.ledger.seen(), self.ledger.cached());
        Some(Ok((tokens, Pass { phase, fed, tokens_seen, elapsed_us: 0, cached, log_beta, cut, attention: None })))
    }
}

fn token(text: &str, origin: Origin) -> TokenRecord {
    // Ids of a vocabulary that does not exist: a hash, so that equal texts have equal ids.
    let id = text.bytes().fold(0u32, |id, byte| id.wrapping_mul(31).wrapping_add(byte.into())) % 65_536;
    TokenRecord {
        id,
        text: Some(text.to_owned()),
        origin,
        role: None,
        class: classify(text, false).as_str(),
        logprob: None,
        entropy: None,
    }
}
