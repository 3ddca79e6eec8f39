//! What one head does over several runs: is its role general, or that of one text?

use std::collections::BTreeMap;

use super::reading::HeadReading;
use super::roles::Role;
use super::statistics::{mean_interval, wilson_interval};
use crate::trace::step::KvHead;

/// A score over several runs: mean and half-width of its 95 % interval (Student's t), `None` for a single run.
pub type Interval = (f64, Option<f64>);

/// One head over several runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// The head.
    pub head: KvHead,
    /// Runs with enough evidence.
    pub told: usize,
    /// Runs.
    pub runs: usize,
    /// The role it has most often among those, the first in order of equals; `None` when no run tells.
    pub role: Option<Role>,
    /// Runs with that role.
    pub with_role: usize,
    /// 95 % interval (Wilson) of the share of runs with that role.
    pub share: Option<(f64, f64)>,
    /// How often each role holds, be it the main one or another.
    pub holds: BTreeMap<Role, usize>,
    /// Scores by name.
    pub scores: Vec<(&'static str, Option<Interval>)>,
}

/// One head's readings, one per run, put together.
pub fn agreement(readings: &[&HeadReading]) -> Option<Agreement> {
    let head = readings.first()?.facts.head;
    let told: Vec<&HeadReading> =
        readings.iter().copied().filter(|reading| reading.verdict.role != Role::NotEnoughEvidence).collect();
    let mut main: BTreeMap<Role, usize> = BTreeMap::new();
    let mut holds: BTreeMap<Role, usize> = BTreeMap::new();
    for reading in &told {
        *main.entry(reading.verdict.role).or_default() += 1;
        for role in std::iter::once(reading.verdict.role).chain(reading.verdict.also.iter().copied()) {
            *holds.entry(role).or_default() += 1;
        }
    }
    let most = main.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0))).map(|(&role, &runs)| (role, runs));
    let over = |value: fn(&HeadReading) -> f64| mean_interval(&told.iter().map(|r| value(r)).collect::<Vec<_>>());
    Some(Agreement {
        head,
        told: told.len(),
        runs: readings.len(),
        role: most.map(|(role, _)| role),
        with_role: most.map_or(0, |(_, runs)| runs),
        share: wilson_interval(most.map_or(0, |(_, runs)| runs), told.len()),
        holds,
        scores: vec![
            ("purity", over(|r| r.features.window.purity)),
            ("width", over(|r| f64::from(r.features.window.width))),
            ("sink_survival", over(|r| r.features.sink.mean_survival())),
            ("old_share", over(|r| r.features.old_share)),
            ("admission", over(|r| r.features.admission.share)),
            ("birth_percentile", over(|r| r.features.front.birth_percentile)),
        ],
    })
}
