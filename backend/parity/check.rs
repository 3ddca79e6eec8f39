//! Replays a recorded run on a device: its tokens are fed, not drawn, and what comes out is held against the record.

use candle_core::{DType, Tensor};
use serde::Serialize;

use crate::cache::bounded::SequenceCache;
use crate::cache::ledger::{Births, Ledger};
use crate::engine::captured::{asked, entries, stay};
use crate::engine::generation::EngineError;
use crate::model::decoder::{CapturedStep, Decoder, Feed, Input, Want};
use crate::trace::grid::Grid;
use crate::trace::step::{Cut, KvHead, Shape};

use super::recorded::{Case, Numbers};

/// How far a device may be off. The record is f32.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tolerance {
    /// On logits.
    pub logits: f32,
    /// On log beta.
    pub log_beta: f32,
    /// How differences are told.
    pub measure: Measure,
}

/// How differences are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The largest of a run: logits as they are, log beta in nats.
    Largest,
    /// Root mean square over a run: of logits as a share of the root mean square recorded, of log beta as a share of 1
    /// plus its size. Single numbers in narrow types are far off where large terms cancel, and say little.
    MeanShare,
}

impl Tolerance {
    /// In f32, what the record states for other implementations in f32. In f16 and bf16, about twice what this program's
    /// own CPU path shows in these types (logits 0.048 and 0.006, log beta 0.012 and 0.0012): rounding that nothing avoids.
    pub fn of(dtype: DType) -> Self {
        match dtype {
            DType::BF16 => Self { logits: 0.1, log_beta: 0.025, measure: Measure::MeanShare },
            DType::F16 => Self { logits: 0.012, log_beta: 0.0025, measure: Measure::MeanShare },
            _ => Self { logits: 5e-4, log_beta: 1e-4, measure: Measure::Largest },
        }
    }

    /// What the score of a token of this age may be off by.
    fn of_score(self, age: f32, score: f32) -> f32 {
        match self.measure {
            Measure::Largest => self.log_beta * age,
            // A few times the mean: a score is one number.
            Measure::MeanShare => 4.0 * self.log_beta * (age + score.abs()),
        }
    }
}

/// A cut after which a head kept other tokens than recorded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Parting {
    /// Tokens seen at the cut.
    pub tokens_seen: u32,
    /// Heads that differ.
    pub heads: usize,
    /// How far beyond the threshold the scores lay that were wrongly kept or evicted, at most, as a share of what the
    /// tolerance on log beta leaves open. At most 1: a tie within the tolerance.
    pub gap: f32,
}

/// What came out of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outcome {
    /// Difference of logits, as the tolerance tells it.
    pub logits: f32,
    /// Difference of log betas, as the tolerance tells it.
    pub log_beta: f32,
    /// Passes compared, of [`Outcome::passes`].
    pub compared: usize,
    /// Of those, captured steps.
    pub captured: usize,
    /// Passes of the run.
    pub passes: usize,
    /// Where kept tokens first differed. What follows is another run, so comparison ends there.
    pub parting: Option<Parting>,
    /// Positions at which the likeliest next token is another than recorded.
    pub other_tokens: usize,
}

impl Outcome {
    /// Whether all of it is within `tolerance`, ties apart.
    pub fn is_within(&self, tolerance: Tolerance) -> bool {
        // NaN is within nothing.
        self.logits <= tolerance.logits
            && self.log_beta <= tolerance.log_beta
            && self.parting.is_none_or(|parting| parting.gap <= 1.0)
    }
}

/// Differences as they come in.
#[derive(Debug, Default)]
struct Differences {
    largest: f64,
    squares: f64,
    count: f64,
}

impl Differences {
    fn add(&mut self, off: f32) {
        let off = f64::from(off);
        // NaN stays.
        self.largest = if off.is_nan() || self.largest.is_nan() { f64::NAN } else { self.largest.max(off) };
        self.squares += off * off;
        self.count += 1.0;
    }

    fn told(&self, measure: Measure) -> f32 {
        match measure {
            Measure::Largest => self.largest as f32,
            Measure::MeanShare => (self.squares / self.count.max(1.0)).sqrt() as f32,
        }
    }
}

/// Runs `case` on the device of `model`.
///
/// # Errors
/// When the model fails or its shape is not the record's.
pub fn check(model: &Decoder, case: &Case, recorded: &Numbers) -> Result<Outcome, EngineError> {
    let tolerance = Tolerance::of(model.dtype());
    let policy = case.policy();
    let want = Want { key_norm: policy.evidence().key_norm, ..Want::default() };
    let text: Vec<u32> = case.prompt.iter().chain(&case.tokens).copied().collect();
    let scale = match tolerance.measure {
        Measure::Largest => 1.0,
        Measure::MeanShare => root_mean_square(&recorded.logits),
    };
    let mut cache = model.new_cache(0)?;
    let mut ledger = Ledger::new(model.shape());
    let mut expected: Vec<Vec<u32>> = vec![Vec::new(); model.shape().heads()];
    let (mut logits, mut log_beta) = (Differences::default(), Differences::default());
    let (mut compared, mut captured, mut other_tokens, mut parting) = (0, 0, 0, None);
    let mut capture = CapturedStep::new(asked(model, &policy));
    for (&seen, kept) in case.seen.iter().zip(&case.kept) {
        let fed = ledger.seen() as usize..seen as usize;
        let tokens = &text[fed.clone()];
        let is_captured = tokens.len() == 1 && model.captures(want);
        captured += usize::from(is_captured);
        let pass = match is_captured {
            true => step(model, &mut capture, tokens, &mut cache, &ledger)?,
            false => {
                let output = model.forward(&mut [Input { tokens, cache: &mut cache }], want)?.swap_remove(0);
                let logits = model.logits(&output.hidden)?;
                PassResult { log_beta: output.log_beta, key_norm: output.key_norm, logits }
            }
        };
        ledger.append(Births {
            count: tokens.len() as u32,
            log_beta: pass.log_beta.as_ref(),
            key_norm: pass.key_norm.as_ref(),
        });
        let rows = pass.logits.to_vec2::<f32>()?;
        for (found, expected) in rows.iter().zip(&recorded.logits[fed.clone()]) {
            found.iter().zip(expected).for_each(|(f, e)| logits.add((f - e).abs() / scale));
            other_tokens += usize::from(likeliest(found) != likeliest(expected));
        }
        if let Some(grid) = &pass.log_beta {
            for (head, row) in recorded.log_beta.iter().enumerate() {
                for (found, expected) in grid.row(head).iter().zip(&row[fed.clone()]) {
                    let unit = if tolerance.measure == Measure::Largest { 1.0 } else { 1.0 + expected.abs() };
                    log_beta.add((found - expected).abs() / unit);
                }
            }
        }
        match kept {
            Some(kept) => expected = kept.concat(),
            None => expected.iter_mut().for_each(|head| head.extend(fed.start as u32..seen)),
        }
        // Where the device can cut by itself it must come to the same as the ledger, or the next logits are others.
        let by_device = policy.rule.as_ref().filter(|_| is_captured && capture.can_cut() && ledger.is_due(&policy));
        if let Some(rule) = by_device {
            let seen = cache.seen();
            capture.cut(cache.layers_mut(), &[seen], stay(model.shape(), rule, &[&ledger]))?;
        }
        let decision = ledger.cut(&policy)?;
        if let Some(decision) = decision.as_ref().filter(|_| by_device.is_none()) {
            cache.keep(&decision.kept)?;
        }
        compared += 1;
        let differs = |(head, expected): &(KvHead, &Vec<u32>)| ledger.positions(*head) != expected.as_slice();
        let heads = model.shape().iter().zip(&expected).filter(differs).count();
        if heads > 0 {
            let cut = decision.map(|decision| decision.cut).unwrap_or_default();
            let threshold = policy.rule.as_ref().and_then(|rule| rule.threshold).map(|alpha| alpha.ln() as f32);
            parting = Some(Parting {
                tokens_seen: seen,
                heads,
                gap: gap(&ledger, model.shape(), &cut, threshold, &expected, tolerance),
            });
            break;
        }
    }
    Ok(Outcome {
        logits: logits.told(tolerance.measure),
        log_beta: log_beta.told(tolerance.measure),
        compared,
        captured,
        passes: case.seen.len(),
        parting,
        other_tokens,
    })
}

/// What a pass made of the one sequence.
struct PassResult {
    log_beta: Option<Grid<f32>>,
    key_norm: Option<Grid<f32>>,
    /// `(tokens, vocab)`.
    logits: Tensor,
}

/// A pass of one token by a captured step.
fn step(
    model: &Decoder,
    step: &mut CapturedStep,
    token: &[u32],
    cache: &mut SequenceCache,
    ledger: &Ledger,
) -> candle_core::Result<PassResult> {
    let seen = cache.seen();
    let entries = |layer, head| entries(&[ledger], model.shape(), layer, head);
    step.start(model, cache.layers_mut(), Feed { seen: &[seen], tokens: token, entries: &entries })?;
    let mut made = step.finish(model)?;
    cache.stepped();
    let [log_beta, key_norm] = [made.log_beta.swap_remove(0), made.key_norm.swap_remove(0)];
    Ok(PassResult { log_beta, key_norm, logits: step.logits()? })
}

/// The largest share that a wrongly kept or evicted score needs of what it and its head's threshold may be off by.
/// `fixed` is the threshold of heads that lost nothing, where there is one.
fn gap(
    ledger: &Ledger,
    shape: Shape,
    cut: &Cut,
    fixed: Option<f32>,
    expected: &[Vec<u32>],
    tolerance: Tolerance,
) -> f32 {
    let now = (ledger.seen() + 1) as f32;
    let threshold = |head| cut.heads.iter().find(|cut| cut.head == head).and_then(|cut| cut.threshold).or(fixed);
    let is_expected = |head, position| expected[shape.index(head)].binary_search(&position).is_ok();
    let evicted = cut.evictions.iter().map(|eviction| (eviction.head, eviction.position, eviction.score));
    let wrongly_evicted = evicted.filter(|&(head, position, _)| is_expected(head, position));
    let wrongly_kept = ledger.last_scores().filter(|&(head, position, _)| !is_expected(head, position));
    let shares = wrongly_evicted.chain(wrongly_kept).map(|(head, position, score)| {
        let Some(threshold) = threshold(head) else { return f32::INFINITY };
        let open = tolerance.of_score(now - position as f32, score) + tolerance.of_score(now, threshold);
        (threshold - score).abs() / open
    });
    // Something differs, so there is something to measure, unless no cut was made where one was due.
    shares.reduce(f32::max).unwrap_or(f32::INFINITY)
}

fn root_mean_square(rows: &[Vec<f32>]) -> f32 {
    let squares: f64 = rows.iter().flatten().map(|&x| f64::from(x) * f64::from(x)).sum();
    (squares / rows.iter().map(Vec::len).sum::<usize>().max(1) as f64).sqrt() as f32
}

fn likeliest(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).reduce(|best, i| if logits[i] > logits[best] { i } else { best })
}
