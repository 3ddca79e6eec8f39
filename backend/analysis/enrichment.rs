//! Whether the old tokens of a head are of one kind more often than the text around them.
//!
//! The text is dealt into blocks of [`BLOCK`] consecutive tokens. Had the head no preference, those it keeps in a block
//! would be a random draw from it, so a head that likes a *place* (the start, one paragraph) shows no enrichment unless
//! it also chooses within it. Spans are places: for them the whole text is one block, and only the entries that the last
//! cut left count, because an early token has had more cuts at which to be held for a while, whatever the head likes.

use super::category::{Categories, Category};

/// Tokens among which a survivor is compared: long enough to hold several sentences.
pub const BLOCK: usize = 128;

/// A token old enough to count, and for how long it was held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its position.
    pub position: u32,
    /// Observed cuts at which it was held although older than the head's window; 0 when it was not.
    pub dwell: f64,
    /// Whether the last cut found it held.
    pub at_end: bool,
}

/// One category among a head's old tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Enrichment {
    /// Of what.
    pub category: Category,
    /// Share of the old entries, over all observed cuts, in [0, 1].
    pub share: f64,
    /// The share that no preference would give, from the blocks the entries stand in.
    pub expected: f64,
    /// `share / expected`; `None` when the text has none.
    pub ratio: Option<f64>,
    /// Old tokens (each counted once) of the category.
    pub kept: u32,
    /// Old tokens, each counted once.
    pub survivors: u32,
    /// Tokens of the category that could have become old.
    pub present: u32,
    /// `P(at least kept)` without preference: a bound on the tail of the sum of the blocks' hypergeometric counts.
    ///
    /// Each of those is a sum of independent yes-or-no draws (Vatutin and Mikhailov 1982), so the whole is, and
    /// Hoeffding (1956) bounds its tail above the mean by that of the binomial with the same mean.
    pub p: f64,
}

/// The enrichment of every category among `candidates`, which ascend in position.
pub fn enrichments(candidates: &[Candidate], categories: &[Categories]) -> Vec<Enrichment> {
    Category::ALL.into_iter().map(|category| enrichment(candidates, categories, category, &[category])).collect()
}

/// The same for a union of categories, under the name of `category`.
pub fn enrichment(
    candidates: &[Candidate],
    categories: &[Categories],
    category: Category,
    union: &[Category],
) -> Enrichment {
    let is_one =
        |candidate: &Candidate| categories.get(candidate.position as usize).is_some_and(|own| own.has_any(union));
    let held = |candidate: &Candidate| match category.is_span() {
        true => f64::from(u8::from(candidate.at_end)),
        false => candidate.dwell,
    };
    let block = if category.is_span() { candidates.len().max(1) } else { BLOCK };
    let (mut share, mut expected, mut dwell, mut mean) = (0.0, 0.0, 0.0, 0.0);
    let (mut kept, mut survivors, mut present) = (0u32, 0u32, 0u32);
    for block in blocks(candidates, block) {
        let here = block.iter().filter(|candidate| is_one(candidate)).count();
        let rate = here as f64 / block.len() as f64;
        present += here as u32;
        for (candidate, held) in block.iter().map(|one| (one, held(one))).filter(|(_, held)| *held > 0.0) {
            let hit = is_one(candidate);
            share += if hit { held } else { 0.0 };
            expected += held * rate;
            dwell += held;
            mean += rate;
            survivors += 1;
            kept += u32::from(hit);
        }
    }
    let of_dwell = |sum: f64| if dwell > 0.0 { sum / dwell } else { 0.0 };
    let p = super::statistics::binomial_tail(survivors.into(), mean / f64::from(survivors.max(1)), kept.into());
    Enrichment {
        category,
        share: of_dwell(share),
        expected: of_dwell(expected),
        ratio: (expected > 0.0).then(|| share / expected),
        kept,
        survivors,
        present,
        // Below the mean the bound does not hold, and there is nothing to find.
        p: if f64::from(kept) >= mean + 1.0 { p } else { 1.0 },
    }
}

/// Blocks of at least `length`, the remainder with the last.
fn blocks(candidates: &[Candidate], length: usize) -> impl Iterator<Item = &[Candidate]> {
    let whole = (candidates.len() / length).max(1);
    (0..whole).map(move |index| {
        let end = if index + 1 == whole { candidates.len() } else { (index + 1) * length };
        &candidates[(index * length).min(end)..end]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::category::{categorise, tests::facts};
    use crate::analysis::statistics::hypergeometric_tail;

    /// Every fifth token ends a sentence.
    fn text(tokens: usize) -> Vec<Categories> {
        let pieces: Vec<&str> = (0..tokens).map(|index| if index % 5 == 4 { "." } else { " a" }).collect();
        categorise(&facts(&pieces))
    }

    fn candidates(tokens: u32, dwell: impl Fn(u32) -> f64) -> Vec<Candidate> {
        (0..tokens).map(|position| Candidate { position, dwell: dwell(position), at_end: false }).collect()
    }

    #[test]
    fn a_head_of_full_stops_is_as_enriched_as_the_text_allows() {
        let found = enrichments(&candidates(100, |p| f64::from(u8::from(p % 10 == 9))), &text(100))[0];
        assert_eq!((found.category, found.kept, found.survivors, found.present), (Category::SentenceEnd, 10, 10, 20));
        assert!((found.ratio.unwrap() - 5.0).abs() < 1e-9 && (found.share - 1.0).abs() < 1e-9);
        let exact = hypergeometric_tail(100, 20, 10, 10);
        assert!(found.p >= exact && found.p < 30.0 * exact, "{} for {exact}", found.p);
    }

    #[test]
    fn keeping_one_place_whole_is_no_preference_for_what_stands_there() {
        // Digits only in the first block; the head keeps that block and nothing else.
        let pieces: Vec<&str> = (0..512).map(|index| if index < 128 && index % 2 == 0 { "3" } else { " a" }).collect();
        let found = enrichments(&candidates(512, |p| f64::from(u8::from(p < 128))), &categorise(&facts(&pieces)));
        let digits = found.iter().find(|found| found.category == Category::Digit).unwrap();
        assert_eq!((digits.kept, digits.ratio, digits.p), (64, Some(1.0), 1.0));
    }

    #[test]
    fn time_held_weighs_shares_but_not_counts() {
        let found = enrichments(&candidates(20, |p| [0.0, 0.0, 0.0, 1.0, 3.0][p as usize % 5]), &text(20))[0];
        assert_eq!((found.kept, found.survivors), (4, 8));
        assert!((found.share - 0.75).abs() < 1e-9);
    }

    #[test]
    fn nothing_kept_and_nothing_there_are_not_errors() {
        assert_eq!(enrichments(&[], &[])[0].p, 1.0);
        let found = enrichments(&candidates(30, |_| 0.0), &text(30))[0];
        assert_eq!((found.survivors, found.ratio, found.share), (0, None, 0.0));
    }
}
