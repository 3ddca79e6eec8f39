//! What looks wrong with a run, or with what it can show.

use std::collections::HashMap;

use super::features::RunRule;
use super::kept::HeadHistory;
use super::reading::HeadReading;
use super::roles::Role;
use crate::trace::recording::Recording;
use crate::trace::step::{KvHead, Shape};

/// Share of evicted entries that tied with one that stayed, from which the order of ties shapes the kept sets.
const MANY_TIES: f64 = 0.1;
/// Share of what was seen that the first cut may remove before it is said.
const MOST_AT_FIRST: f64 = 0.9;
/// Share of heads that may lose position 0 before it is said.
const MOST_WITHOUT_START: f64 = 0.5;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; the trace is sound.
    Note,
    /// The run did not do what it was asked to, or shows nothing.
    Problem,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// A stable name, e.g. `never-cut`.
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// The heads concerned; empty when it is the run.
    pub heads: Vec<KvHead>,
}

/// The run as its manifest describes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Described<'a> {
    /// Policy name.
    pub policy: &'a str,
    /// Budget and buffer.
    pub rule: RunRule,
    /// Whether every head has the budget for itself and no fixed threshold decides.
    pub has_own_budgets: bool,
    /// Whether neighbours share scores, so that ties are what the policy means.
    pub shares_scores: bool,
}

/// Looks at a whole run.
pub fn diagnose(recording: &Recording, heads: &[HeadReading], described: &Described<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |code, severity, message: String, heads: Vec<KvHead>| {
        findings.push(Finding { code, severity, message, heads });
    };
    let all = heads.len();
    let those = |is: &dyn Fn(&HeadReading) -> bool| -> Vec<KvHead> {
        heads.iter().filter(|head| is(head)).map(|head| head.facts.head).collect()
    };
    let lives = &recording.lifetimes;
    if heads.iter().all(|head| head.facts.evicted == 0) {
        let severity = if described.policy == "full" { Severity::Note } else { Severity::Problem };
        let message = format!("nothing was evicted in {} tokens, so the trace shows no choice", lives.seen());
        add("never-cut", severity, message, Vec::new());
    }
    if let Some(budget) = described.rule.budget {
        sizes(recording, budget, described, &mut add);
    }
    let empty = those(&|head| head.facts.kept == 0 && lives.seen() > 0);
    if !empty.is_empty() {
        add("empty-head", Severity::Problem, format!("{} of {all} heads hold nothing at the end", empty.len()), empty);
    }
    let twins = identical(recording, heads);
    if !twins.is_empty() && !is_blind(described.policy) {
        let message = format!("{} of {all} heads evict exactly as another head does", twins.len());
        add("identical-heads", Severity::Problem, message, twins);
    }
    let evicted: u64 = heads.iter().map(|head| u64::from(head.facts.evicted)).sum();
    let ties: u64 = recording.cuts.iter().map(|row| u64::from(row.head.ties)).sum();
    if evicted > 0 && ties as f64 / evicted as f64 > MANY_TIES {
        let share = 100.0 * ties as f64 / evicted as f64;
        let (severity, why) = match described.shares_scores {
            true => (Severity::Note, ", as neighbours may under this policy"),
            false => (Severity::Problem, ": the newer of equals stays"),
        };
        let message = format!("{share:.0} % of the evicted entries tied with one that stayed{why}");
        add("many-ties", severity, message, Vec::new());
    }
    let infinite = lives.shape().iter().filter(|&head| lives.log_beta(head).iter().any(|beta| !beta.is_finite()));
    let infinite: Vec<KvHead> = infinite.collect();
    if !infinite.is_empty() {
        let message = format!("{} of {all} heads have gates that are not finite", infinite.len());
        add("gates-not-finite", Severity::Problem, message, infinite);
    }
    let frozen = those(&|head| head.verdict.holds(Role::Frozen));
    if !frozen.is_empty() {
        let message = format!("the kept set of {} of {all} heads no longer changes", frozen.len());
        add("frozen", Severity::Note, message, frozen);
    }
    let lost = those(&|head| head.facts.evicted > 0 && lives.evicted_at(head.facts.head, 0).is_some());
    if lost.len() as f64 > MOST_WITHOUT_START * all as f64 {
        let message = format!("{} of {all} heads evicted position 0, where attention sinks usually are", lost.len());
        add("sink-evicted", Severity::Note, message, lost);
    }
    first_cut(recording, heads, &mut add);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Policies whose heads agree by design.
fn is_blind(policy: &str) -> bool {
    matches!(policy, "window" | "streaming-llm" | "full" | "tova")
}

fn sizes(
    recording: &Recording,
    budget: u32,
    described: &Described<'_>,
    add: &mut impl FnMut(&'static str, Severity, String, Vec<KvHead>),
) {
    let Shape { layers, kv_heads } = recording.lifetimes.shape();
    if !described.has_own_budgets {
        let total = budget as u64 * (layers * kv_heads) as u64;
        let limit = total + u64::from(described.rule.buffer.unwrap_or(0)) * (layers * kv_heads) as u64;
        let over = recording.steps.iter().filter(|step| step.cached > limit).count();
        if over > 0 {
            let message = format!("{over} passes ended with more than the {limit} entries that all heads share");
            add("over-budget", Severity::Problem, message, Vec::new());
        }
        return;
    }
    let (mut over, mut under) = (Vec::new(), Vec::new());
    for head in recording.lifetimes.shape().iter() {
        let history = HeadHistory::of(&recording.lifetimes, head);
        let Some(&last) = history.cuts.last() else { continue };
        let kept = (0..last).filter(|&position| history.is_kept(position, last)).count() as u32;
        if kept > budget {
            over.push(head);
        } else if kept < budget {
            under.push(head);
        }
    }
    if !over.is_empty() {
        let message = format!("{} heads hold more than their budget of {budget} after a cut", over.len());
        add("over-budget", Severity::Problem, message, over);
    }
    if !under.is_empty() {
        let message = format!("{} heads hold less than their budget of {budget} after a cut", under.len());
        add("under-budget", Severity::Problem, message, under);
    }
}

/// Heads whose evictions are those of a head before them.
fn identical(recording: &Recording, heads: &[HeadReading]) -> Vec<KvHead> {
    let mut first: HashMap<Vec<Option<u32>>, KvHead> = HashMap::new();
    let mut twins = Vec::new();
    for head in heads.iter().filter(|head| head.facts.evicted > 0).map(|head| head.facts.head) {
        let departures: Vec<Option<u32>> = recording.lifetimes.departures(head).collect();
        if first.insert(departures, head).is_some() {
            twins.push(head);
        }
    }
    twins
}

fn first_cut(
    recording: &Recording,
    heads: &[HeadReading],
    add: &mut impl FnMut(&'static str, Severity, String, Vec<KvHead>),
) {
    let mut gone: Vec<f64> = Vec::new();
    for head in heads.iter().filter(|head| head.facts.evicted > 0) {
        let departures = recording.lifetimes.departures(head.facts.head);
        let Some(first) = recording.lifetimes.departures(head.facts.head).flatten().min() else { continue };
        let left = departures.filter(|at| *at == Some(first)).count();
        gone.push(left as f64 / f64::from(first));
    }
    gone.sort_unstable_by(f64::total_cmp);
    if let Some(&median) = gone.get(gone.len() / 2).filter(|median| **median > MOST_AT_FIRST) {
        let message = format!(
            "the first cut removed {:.0} % of what was read (median over heads): the budget is small for this prompt",
            median * 100.0
        );
        add("prompt-lost", Severity::Note, message, Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::category::TokenFacts;
    use crate::analysis::reading::read_heads;
    use crate::analysis::roles::Thresholds;
    use crate::trace::grid::Grid;
    use crate::trace::recording::CutRow;
    use crate::trace::step::{Eviction, HeadCut};

    const SHAPE: Shape = Shape { layers: 1, kv_heads: 2 };

    /// Two heads of 40 tokens; each drops what `leaves` says when the 40th is seen.
    fn run(leaves: impl Fn(u16, u32) -> bool, beta: f32) -> Recording {
        let mut recording = Recording::new(SHAPE);
        let grid = Grid::from_cells(2, 40, vec![beta; 80]);
        recording.lifetimes.open(40, grid.as_ref()).unwrap();
        for head in SHAPE.iter() {
            for position in (0..40).filter(|&position| leaves(head.head, position)) {
                recording.lifetimes.close(Eviction { head, position, at: 40, score: -1.0 }).unwrap();
            }
        }
        recording
    }

    fn codes(recording: &Recording, policy: &str, budget: u32) -> Vec<&'static str> {
        found(recording, policy, budget, false).iter().map(|finding| finding.code).collect()
    }

    fn found(recording: &Recording, policy: &str, budget: u32, shares_scores: bool) -> Vec<Finding> {
        let rule = RunRule { budget: Some(budget), buffer: Some(4), ..RunRule::default() };
        let tokens: [TokenFacts<'_>; 0] = [];
        let heads = read_heads(&recording.lifetimes, &tokens, &rule, &Thresholds::default());
        let described = Described { policy, rule, has_own_budgets: true, shares_scores };
        diagnose(recording, &heads, &described)
    }

    #[test]
    fn each_fault_is_found_and_a_sound_run_has_none() {
        let sound = |head: u16, position: u32| {
            position % 2 == 1 && !(head == 0 && position == 1) && !(head == 1 && position == 3)
        };
        assert_eq!(codes(&run(sound, -0.1), "trimkv", 21), Vec::<&str>::new());
        assert_eq!(codes(&run(|_, _| false, -0.1), "trimkv", 21), ["never-cut"]);
        assert_eq!(codes(&run(sound, -0.1), "trimkv", 20), ["over-budget"]);
        assert_eq!(codes(&run(sound, -0.1), "trimkv", 22), ["under-budget"]);
        assert_eq!(codes(&run(|_, position| position % 2 == 1, -0.1), "trimkv", 20), ["identical-heads"]);
        assert_eq!(codes(&run(|_, position| position % 2 == 1, -0.1), "window", 20), Vec::<&str>::new());
        assert_eq!(codes(&run(sound, f32::NEG_INFINITY), "trimkv", 21), ["gates-not-finite"]);
        let late = codes(&run(|head, position| position < 37 + u32::from(head), -0.1), "trimkv", 3);
        assert!(late.contains(&"sink-evicted") && late.contains(&"prompt-lost"), "{late:?}");
        assert!(codes(&run(|head, _| head == 1, -0.1), "trimkv", 40).contains(&"empty-head"));
    }

    #[test]
    fn many_ties_are_a_problem_and_few_are_not() {
        let with_ties = |ties: u32| {
            let mut recording = run(|head, position| position % 2 == 1 && position != u32::from(head) * 2 + 1, -0.1);
            let head = HeadCut { head: SHAPE.head(0), cached_before: 40, kept: 21, threshold: Some(-1.0), ties };
            recording.cuts.push(CutRow { tokens_seen: 40, head });
            recording
        };
        let (few, many) = (with_ties(2), with_ties(9));
        assert_eq!((codes(&few, "trimkv", 21), codes(&many, "trimkv", 21)), (vec![], vec!["many-ties"]));
        let severity = |shares_scores| found(&many, "snapkv", 21, shares_scores)[0].severity;
        assert_eq!([severity(false), severity(true)], [Severity::Problem, Severity::Note]);
    }
}
