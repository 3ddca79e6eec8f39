//! Scores of tokens as they fade, and what their head demanded at its cuts: pure, for the life lines.
//!
//! The score of position `i` at `t` tokens seen is `log_beta_i (t + offset - i)` in nats; the token leaves at the first
//! cut whose threshold is above it.

use super::FigureError;
use crate::trace::manifest::Manifest;
use crate::trace::recording::Recording;
use crate::trace::step::KvHead;

/// Added to tokens seen to form an age, where the manifest does not say: as in the authors' code.
const AGE_OFFSET: i32 = 1;
/// Largest relative difference of a recorded score from the formula.
const ROUNDING: f32 = 1e-3;
/// How often a chosen token's score at its eviction may be below the threshold: steeper lines leave the picture.
const STEEPEST: f64 = 2.0;
/// Tokens chosen: the oldest held, and evicted ones of a third of the age each.
const CHOSEN: usize = 4;

/// One head's scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Fading {
    /// The head.
    pub head: KvHead,
    /// Tokens seen and lowest score that stayed, at every cut of the head.
    pub thresholds: Vec<(u32, f64)>,
    /// Tokens seen at every cut of the head, in order; where only protected tokens stayed it has no threshold.
    cuts: Vec<u32>,
    /// Tokens seen at the end.
    pub seen: u32,
    offset: f64,
    log_beta: Vec<f32>,
    departures: Vec<Option<u32>>,
}

/// One token's life in a head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Life {
    /// Its position.
    pub position: u32,
    /// Nats per token.
    pub log_beta: f32,
    /// Tokens seen when it left.
    pub evicted_at: Option<u32>,
}

impl Fading {
    /// Reads one head of a run.
    ///
    /// # Errors
    /// When the run has no gates or no thresholds, or its scores are not `log_beta x age`.
    pub fn of(manifest: &Manifest, recording: &Recording, head: KvHead) -> Result<Self, FigureError> {
        let lives = &recording.lifetimes;
        let log_beta = lives.log_beta(head).to_vec();
        if log_beta.is_empty() {
            return Err(FigureError::NoGates("budget or grid"));
        }
        let rows = || recording.cuts.iter().filter(|cut| cut.head.head == head);
        let cuts: Vec<u32> = rows().map(|cut| cut.tokens_seen).collect();
        let thresholds: Vec<(u32, f64)> =
            rows().filter_map(|cut| Some((cut.tokens_seen, f64::from(cut.head.threshold?)))).collect();
        if thresholds.is_empty() {
            return Err(FigureError::Lacks(format!(
                "{head} has no recorded threshold (it was never cut, or the trace has no cuts table); choose another \
                 with --heads"
            )));
        }
        let offset = f64::from(manifest.policy.age_offset.unwrap_or(AGE_OFFSET));
        let departures: Vec<Option<u32>> = lives.departures(head).collect();
        let found = Self { head, thresholds, cuts, seen: lives.seen(), offset, log_beta, departures };
        let recorded = lives.last_scores(head).zip(0u32..).filter_map(|(score, position)| {
            let at = found.departures[position as usize]?;
            Some((score?, found.score(position, at) as f32))
        });
        let differs = |(score, formula): (f32, f32)| (score - formula).abs() > ROUNDING * score.abs().max(1e-3);
        let (all, other) = recorded.fold((0, 0), |(all, other), pair| (all + 1, other + usize::from(differs(pair))));
        if other * 100 > all {
            return Err(FigureError::Lacks(format!(
                "the scores of this run ({}) are not log beta x age, so no threshold can stand beside them; try budget \
                 or fig4",
                manifest.policy.name
            )));
        }
        Ok(found)
    }

    /// The score of a position at `t` tokens seen.
    pub fn score(&self, position: u32, t: u32) -> f64 {
        f64::from(self.log_beta[position as usize]) * (f64::from(t) + self.offset - f64::from(position))
    }

    /// The threshold as it stands, a line of steps: that of a cut holds until the next, where it breaks off if that one
    /// has none (NaN).
    pub fn standing(&self) -> Vec<(u32, f64)> {
        let of = |cut: u32| {
            let found = self.thresholds.binary_search_by_key(&cut, |known| known.0);
            found.map_or(f64::NAN, |place| self.thresholds[place].1)
        };
        let ends = self.cuts.iter().skip(1).copied().chain([self.seen]);
        self.cuts.iter().zip(ends).flat_map(|(&cut, end)| [(cut, of(cut)), (end, of(cut))]).collect()
    }

    /// A token's life.
    pub fn life(&self, position: u32) -> Life {
        let at = position as usize;
        Life { position, log_beta: self.log_beta[at], evicted_at: self.departures[at] }
    }

    /// Tokens to show when nobody says, by position: the oldest token held at the end; and of those that left not far
    /// below the threshold, the ones whose ages were nearest to the greatest age A, to A/3 and to A/9. Of ages that
    /// differ by less than a tenth, the token nearer to one, two, three quarters of the text.
    pub fn telling(&self) -> Vec<u32> {
        let mut chosen: Vec<u32> =
            (0..self.seen).find(|&p| self.departures[p as usize].is_none()).into_iter().collect();
        let left = || (0u32..).zip(&self.departures).filter_map(|(position, at)| Some((position, (*at)?)));
        let threshold = |at: u32| self.thresholds.iter().find(|cut| cut.0 == at).map(|cut| cut.1);
        let is_near = |(position, at): &(u32, u32)| {
            threshold(*at).is_some_and(|threshold| self.score(*position, *at) >= STEEPEST * threshold)
        };
        let mut near: Vec<(u32, u32)> = left().filter(is_near).collect();
        if near.is_empty() {
            near = left().collect();
        }
        let age = |&(position, at): &(u32, u32)| f64::from(at - position);
        let greatest = near.iter().map(age).fold(0.0, f64::max);
        for rank in 0..CHOSEN - 1 {
            let wanted = greatest / 3f64.powi(rank as i32);
            let place = f64::from(self.seen) * (rank + 1) as f64 / CHOSEN as f64;
            let distance = |one: &(u32, u32)| {
                let tenths = ((age(one) / wanted).ln().abs() * 10.0).floor();
                (tenths, (f64::from(one.0) - place).abs())
            };
            let free = near.iter().filter(|(position, _)| !chosen.contains(position));
            let best = free.min_by(|a, b| {
                let (a, b) = (distance(a), distance(b));
                a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
            });
            chosen.extend(best.map(|(position, _)| *position));
        }
        chosen.sort_unstable();
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_stands_until_the_next_cut_and_breaks_off_where_that_has_none() {
        let fading = Fading {
            head: KvHead { layer: 0, head: 0 },
            thresholds: vec![(4, -2.0), (8, -1.0), (16, -0.5)],
            cuts: vec![4, 8, 12, 16],
            seen: 20,
            offset: 1.0,
            log_beta: Vec::new(),
            departures: Vec::new(),
        };
        let steps = fading.standing();
        assert_eq!(steps[..4], [(4, -2.0), (8, -2.0), (8, -1.0), (12, -1.0)]);
        assert!(steps[4..6].iter().all(|step| step.1.is_nan()), "{steps:?}");
        assert_eq!(steps[6..], [(16, -0.5), (20, -0.5)]);
    }
}
