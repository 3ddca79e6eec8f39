//! Everything about the heads of one run, together.

use super::category::{Categories, TokenFacts, categorise};
use super::facts::{HeadFacts, head_facts};
use super::features::{HeadFeatures, RunRule};
use super::kept::HeadHistory;
use super::roles::{Thresholds, Verdict, classify};
use crate::trace::lifetimes::Lifetimes;
use crate::trace::manifest::Manifest;
use crate::trace::recording::Recording;
use crate::trace::step::KvHead;

/// One head: plain facts, scores and role.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadReading {
    /// Plain facts.
    pub facts: HeadFacts,
    /// Scores.
    pub features: HeadFeatures,
    /// Role.
    pub verdict: Verdict,
}

/// Reads every head of a run as its manifest describes it.
pub fn read_run(manifest: &Manifest, recording: &Recording) -> Vec<HeadReading> {
    let tokens: Vec<TokenFacts<'_>> = recording.tokens.iter().map(TokenFacts::of).collect();
    read_heads(&recording.lifetimes, &tokens, &RunRule::of(manifest), &Thresholds::default())
}

/// Reads every head of a run, layer by layer. `tokens` are the run's, from position 0; those past the end are ignored.
pub fn read_heads(
    lives: &Lifetimes,
    tokens: &[TokenFacts<'_>],
    rule: &RunRule,
    thresholds: &Thresholds,
) -> Vec<HeadReading> {
    let categories = categorise(tokens);
    let features = measure(lives, &categories, rule);
    let verdicts = classify(&features, thresholds);
    let facts = head_facts(lives, rule.budget);
    let parts = facts.into_iter().zip(features).zip(verdicts);
    parts.map(|((facts, features), verdict)| HeadReading { facts, features, verdict }).collect()
}

/// The scores of every head, layer by layer, on all processors: heads do not know of each other.
pub fn measure(lives: &Lifetimes, categories: &[Categories], rule: &RunRule) -> Vec<HeadFeatures> {
    let heads: Vec<KvHead> = lives.shape().iter().collect();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let share = heads.len().div_ceil(workers).max(1);
    let one = |head: &KvHead| HeadFeatures::of(*head, &HeadHistory::of(lives, *head), categories, rule);
    std::thread::scope(|scope| {
        let running: Vec<_> =
            heads.chunks(share).map(|part| scope.spawn(move || part.iter().map(one).collect::<Vec<_>>())).collect();
        // A panic there is a panic here.
        running
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
