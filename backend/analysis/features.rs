//! The named scores of a head, each with its sample. Formulas and ranges are in `docs/roles.md`.

use super::category::{Categories, Category};
use super::enrichment::{Candidate, Enrichment, enrichments};
use super::facts::FIRST;
use super::kept::{AgeProfile, HeadHistory, Observations};
use super::modes::{Mode, two_modes};
use super::place::{Front, Frozen, Sink};
use super::statistics::{hypergeometric_tail, quantile};
use super::survival::SurvivalCurve;
use crate::trace::manifest::Manifest;
use crate::trace::step::KvHead;

/// Steps beyond its buffer that a token must outlive to count as admitted.
pub const ADMISSION_STEPS: u32 = 8;
/// Admissions are counted over tokens first weighed at their proper age, if there are this many.
const FEWEST_TIMELY: usize = 32;

/// What the run did to every head.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunRule {
    /// Entries a head keeps, where the run says so.
    pub budget: Option<u32>,
    /// How far a head may overrun, where the run says so.
    pub buffer: Option<u32>,
    /// First positions that no cut removes.
    pub protected_first: u32,
}

impl RunRule {
    /// What a manifest says about cuts.
    pub fn of(manifest: &Manifest) -> Self {
        let policy = &manifest.policy;
        Self { budget: policy.budget, buffer: policy.buffer, protected_first: policy.sinks.unwrap_or(0) }
    }
}

/// The recent window of a head.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Window {
    /// Of the entries kept, the share among the newest that many positions; mean over the observed cuts; in [0, 1].
    pub purity: f64,
    /// Purity of a random choice: mean of kept / tokens seen.
    pub purity_by_chance: f64,
    /// Age at which half of the tokens is gone.
    pub width: u32,
    /// Ages over which the share held falls from 3/4 to 1/4, over the width; `None` when it never falls so far.
    pub crispness: Option<f64>,
    /// Two ages at which tokens leave, if there are two.
    pub modes: Option<[Mode; 2]>,
    /// Share of kept entries no older than the older mode and a quarter.
    pub within_modes: f64,
}

/// How choosy a head is about new tokens.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Admission {
    /// Share kept at the first cut that weighs them at an age of at least buffer + [`ADMISSION_STEPS`]; in [0, 1].
    pub share: f64,
    /// Tokens counted.
    pub tokens: u32,
    /// How far apart the gates put two kinds of tokens: the distance of the means of `ln(-log_beta)` left and right of
    /// the best split, over the root mean square of their spreads (Ashman's D). 2.7 for a normal distribution, 3.5 for
    /// an even one. `None` where what is taken in does not follow the split: most of it must lie on the slow
    /// side, with a chance (hypergeometric) of at most 1e-4.
    pub gate_split: Option<f64>,
}

/// Everything measured about one head.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadFeatures {
    /// The head.
    pub head: KvHead,
    /// Tokens seen.
    pub seen: u32,
    /// Tokens that left.
    pub evicted: u32,
    /// Cuts that removed something.
    pub cuts: u32,
    /// Mean number of entries right after a cut.
    pub occupancy: f64,
    /// 1 - mean of kept / tokens seen right after a cut: how much of the text is gone.
    pub sparsity: f64,
    /// Mean share of the entries of one cut that the next removes.
    pub turnover: Option<f64>,
    /// Quantiles 0.1, 0.25, 0.5, 0.75, 0.9 of `ln 2 / -log_beta`.
    pub half_life: Option<[f64; 5]>,
    /// Ages by which 25, 50 and 75 % of the tokens had left (Kaplan-Meier); `None` when fewer did.
    pub lifetime: [Option<u32>; 3],
    /// The first positions.
    pub sink: Sink,
    /// The recent ones.
    pub window: Window,
    /// Old entries (older than the window's width, first positions aside) over all entries.
    pub old_share: f64,
    /// What the old entries are, per category.
    pub enrichment: Vec<Enrichment>,
    /// How choosy it is.
    pub admission: Admission,
    /// Age from which a token counts as settled: buffer + [`ADMISSION_STEPS`].
    pub settled_age: u32,
    /// Where its last kept set was born.
    pub front: Front,
    /// Since when it no longer changes.
    pub frozen: Frozen,
}

impl HeadFeatures {
    /// Measures one head.
    pub fn of(head: KvHead, history: &HeadHistory<'_>, categories: &[Categories], rule: &RunRule) -> Self {
        let observed = Observations::of(history);
        let profile = AgeProfile::of(history, &observed);
        let buffer = rule.buffer.unwrap_or_else(|| typical_gap(&history.cuts));
        let settled = buffer + ADMISSION_STEPS;
        let candidates = candidates(history, &observed, profile.window().0);
        let entries: f64 = observed.kept.iter().map(|&kept| f64::from(kept)).sum();
        let old: f64 = candidates.iter().map(|candidate| candidate.dwell).sum();
        let reachable: f64 = candidates
            .iter()
            .map(|candidate| observed.cached_from(candidate.position + profile.window().0 + 1, None).len() as f64)
            .sum();
        let kept_per_seen =
            mean(observed.kept.iter().zip(&observed.cuts).map(|(&kept, &cut)| f64::from(kept) / f64::from(cut.max(1))));
        let mut gates: Vec<f64> = history.log_beta.iter().map(|&beta| f64::from(beta).abs()).collect();
        gates.sort_unstable_by(f64::total_cmp);
        Self {
            head,
            seen: history.seen,
            evicted: history.departures.iter().flatten().count() as u32,
            cuts: history.cuts.len() as u32,
            occupancy: mean(observed.kept.iter().map(|&kept| f64::from(kept))),
            sparsity: if observed.cuts.is_empty() { 0.0 } else { 1.0 - kept_per_seen },
            turnover: turnover(history),
            half_life: half_lives(&gates),
            lifetime: {
                let curve = SurvivalCurve::of(&history.departures, history.seen);
                [0.25, 0.5, 0.75].map(|gone| curve.quantile(gone))
            },
            sink: Sink {
                by_rule: rule.protected_first > 0,
                ..Sink::of(history, &observed, if reachable > 0.0 { old / reachable } else { 0.0 })
            },
            window: window(history, &observed, &profile, kept_per_seen, buffer),
            old_share: if entries > 0.0 { old / entries } else { 0.0 },
            enrichment: enrichments(&candidates, categories),
            admission: admission(history, settled, gate_split(&gates)),
            settled_age: settled,
            front: Front::of(history),
            frozen: Frozen::of(history, settled),
        }
    }

    /// The enrichment of one category.
    pub fn enriched(&self, category: Category) -> Option<&Enrichment> {
        self.enrichment.iter().find(|found| found.category == category)
    }

    /// Share of the sentences that could have become old whose end was held beyond the window.
    pub fn sentence_coverage(&self) -> Option<f64> {
        let ends = self.enriched(Category::SentenceEnd)?;
        (ends.present > 0).then(|| f64::from(ends.kept) / f64::from(ends.present))
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    if n > 0.0 { sum / n } else { 0.0 }
}

/// Median distance of cuts: the buffer of a run that does not say.
fn typical_gap(cuts: &[u32]) -> u32 {
    let mut gaps: Vec<u32> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or(1)
}

/// Tokens past the first positions that were, at some observed cut, older than the window.
fn candidates(history: &HeadHistory<'_>, observed: &Observations, width: u32) -> Vec<Candidate> {
    let last = observed.cuts.last().copied().unwrap_or(0);
    let old = |position: u32| {
        let from = position + width.max(1) + 1;
        (from <= last).then(|| Candidate {
            position,
            dwell: observed.cached_from(from, history.departures[position as usize]).len() as f64,
            at_end: history.is_kept(position, last),
        })
    };
    (FIRST..history.seen).map_while(old).collect()
}

fn window(
    history: &HeadHistory<'_>,
    observed: &Observations,
    profile: &AgeProfile,
    by_chance: f64,
    buffer: u32,
) -> Window {
    let (width, crispness) = profile.window();
    let modes = two_modes(history, buffer);
    let reach = modes.map_or(0, |[_, far]| (far.age * 1.25) as u32);
    let mut recent = vec![0u32; observed.cuts.len()];
    let (mut within, mut entries) = (0.0, 0.0);
    for (position, at) in (0u32..).zip(&history.departures) {
        for index in observed.cached_from(position + 1, *at) {
            let age = observed.cuts[index] - position;
            recent[index] += u32::from(age <= observed.kept[index]);
            within += f64::from(u8::from(age <= reach));
            entries += 1.0;
        }
    }
    let purity = recent.iter().zip(&observed.kept).filter(|(_, kept)| **kept > 0);
    Window {
        purity: mean(purity.map(|(&recent, &kept)| f64::from(recent) / f64::from(kept))),
        purity_by_chance: by_chance,
        width,
        crispness,
        modes,
        within_modes: if entries > 0.0 { within / entries } else { 0.0 },
    }
}

fn turnover(history: &HeadHistory<'_>) -> Option<f64> {
    let cuts = &history.cuts;
    let mut entries = vec![0i64; cuts.len() + 1];
    let mut left = vec![0u32; cuts.len()];
    for (position, at) in (0u32..).zip(&history.departures) {
        let born = cuts.partition_point(|&cut| cut <= position);
        entries[born] += 1;
        if let Some(at) = at {
            let index = cuts.partition_point(|cut| cut < at);
            entries[index] -= 1;
            // It stood in the kept set of the cut before only if it was born by then.
            left[index] += u32::from(index > born);
        }
    }
    let mut kept = 0;
    let shares = entries.iter().zip(left.iter().skip(1)).map(|(entered, &left)| {
        kept += entered;
        if kept > 0 { f64::from(left) / kept as f64 } else { 0.0 }
    });
    (cuts.len() > 1).then(|| mean(shares))
}

/// From ascending `-log_beta`; the largest half-life comes from the smallest.
fn half_lives(gates: &[f64]) -> Option<[f64; 5]> {
    let at = |share: f64| quantile(gates, 1.0 - share).map(|beta| std::f64::consts::LN_2 / beta);
    Some([at(0.1)?, at(0.25)?, at(0.5)?, at(0.75)?, at(0.9)?])
}

/// Gates below this never fade within any context there is.
const NEVER_FADES: f64 = 1e-9;

/// Ashman's D of the best split of ascending `-log_beta`, and the largest on its slow side.
fn gate_split(gates: &[f64]) -> Option<(f64, f64)> {
    let logs: Vec<f64> = gates.iter().map(|beta| beta.max(NEVER_FADES).ln()).collect();
    // A side with fewer than 2 % of the tokens is a tail, not a kind of token.
    let side = (logs.len() / 50).max(4);
    if logs.len() < 2 * side {
        return None;
    }
    let (sum, squares) = logs.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    let (mut low, mut low_squares, mut best) = (0.0, 0.0, (0.0, 0.0, 0.0));
    for (index, x) in logs.iter().enumerate().take(logs.len() - side) {
        low += x;
        low_squares += x * x;
        if index + 1 < side {
            continue;
        }
        let (n, m) = ((index + 1) as f64, (logs.len() - index - 1) as f64);
        let (left, right) = (low / n, (sum - low) / m);
        let spread = (low_squares / n - left * left).max(0.0) + ((squares - low_squares) / m - right * right).max(0.0);
        let between = n * m * (right - left).powi(2);
        if between > best.0 {
            best = (between, (right - left) / (spread / 2.0).sqrt().max(1e-3), gates[index]);
        }
    }
    Some((best.1, best.2))
}

/// Chance below which what is taken in follows the gates' split.
const FOLLOWS_P: f64 = 1e-4;

fn admission(history: &HeadHistory<'_>, settled: u32, split: Option<(f64, f64)>) -> Admission {
    let weighed = |position: u32| history.first_cut_from_age(position, settled).map(|cut| (position, cut));
    let all: Vec<(u32, u32)> = (0..history.seen).filter_map(weighed).collect();
    // The cut of a prompt weighs most tokens far too late; it counts only where there is nothing better.
    let timely: Vec<_> = all.iter().copied().filter(|(position, cut)| cut - position <= 2 * settled).collect();
    let counted = if timely.len() >= FEWEST_TIMELY { timely } else { all };
    let taken_in: Vec<u32> = counted
        .iter()
        .filter(|&&(position, cut)| history.is_kept(position, cut))
        .map(|&(position, _)| position)
        .collect();
    let (tokens, kept) = (counted.len(), taken_in.len());
    let follows = |slowest: f64| {
        let is_slow = |position: u32| f64::from(history.log_beta[position as usize]).abs() <= slowest;
        let slow = counted.iter().filter(|(position, _)| is_slow(*position)).count();
        let slow_kept = taken_in.iter().filter(|position| is_slow(**position)).count();
        2 * slow_kept > kept
            && hypergeometric_tail(tokens as u64, slow as u64, kept as u64, slow_kept as u64) <= FOLLOWS_P
    };
    Admission {
        share: if tokens > 0 { kept as f64 / tokens as f64 } else { 0.0 },
        tokens: tokens as u32,
        gate_split: split.filter(|&(_, slowest)| follows(slowest)).map(|(distance, _)| distance),
    }
}
