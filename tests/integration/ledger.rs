//! What the ledger promises whatever the scores: properties over random runs.

use proptest::prelude::*;
use trimkv_trace::cache::ledger::{Births, Ledger};
use trimkv_trace::policy::retention::Retention;
use trimkv_trace::policy::{CutRule, FloorCounting, Policy, Protect, Scope};
use trimkv_trace::trace::grid::Grid;
use trimkv_trace::trace::lifetimes::Lifetimes;
use trimkv_trace::trace::step::Shape;

const SHAPE: Shape = Shape { layers: 2, kv_heads: 3 };

/// A run: how many tokens each pass feeds, and the rule by which the cache is cut.
#[derive(Debug, Clone)]
struct Plan {
    passes: Vec<u32>,
    rule: CutRule,
    seed: u64,
}

fn plans() -> impl Strategy<Value = Plan> {
    let scopes = prop_oneof![Just(Scope::Head), Just(Scope::Layer), Just(Scope::Global)];
    let floors = prop_oneof![Just(0.0), Just(0.5), Just(1.0)];
    let counting = prop_oneof![Just(FloorCounting::Exact), Just(FloorCounting::Authors)];
    let protected = (0u32..3, 0u32..4);
    let passes = prop::collection::vec(1u32..9, 1..30);
    (passes, 0u32..9, 0u32..6, scopes, floors, counting, protected, any::<u64>()).prop_map(
        |(passes, extra, buffer, scope, floor, floor_counting, (sinks, recent), seed)| {
            let budget = 1.max(sinks + recent + extra);
            let floor = if scope == Scope::Global { floor } else { 0.0 };
            let protect = Protect { sinks, recent };
            let rule = CutRule { scope, floor, floor_counting, protect, ..CutRule::per_head(budget, buffer) };
            Plan { passes, rule, seed }
        },
    )
}

/// Log betas that follow from their place, many of them equal.
fn births(seed: u64, first: u32, count: u32) -> Grid<f32> {
    let beta = |head: usize, position: u32| {
        let mixed = (seed ^ (head as u64) << 32 ^ u64::from(position)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        -((mixed >> 60) as f32) / 8.0
    };
    let cells = (0..SHAPE.heads()).flat_map(|head| (first..first + count).map(move |position| beta(head, position)));
    Grid::from_cells(SHAPE.heads(), count as usize, cells.collect()).unwrap()
}

fn policy(rule: CutRule) -> Policy {
    Policy { scorer: Box::new(Retention::default()), rule: Some(rule) }
}

/// Tokens seen at the first cut.
fn first_cut(plan: &Plan) -> Option<u32> {
    let (policy, mut ledger) = (policy(plan.rule), Ledger::new(SHAPE));
    plan.passes.iter().find_map(|&count| {
        let grid = births(plan.seed, ledger.seen(), count);
        ledger.append(Births { count, log_beta: Some(&grid), key_norm: None });
        ledger.cut(&policy).unwrap().map(|decision| decision.cut.tokens_seen)
    })
}

proptest! {
    #[test]
    fn a_ledger_keeps_its_promises(plan in plans()) {
        let Plan { passes, rule, seed } = &plan;
        let (policy, mut ledger, mut lives) = (policy(*rule), Ledger::new(SHAPE), Lifetimes::new(SHAPE));
        let mut states = Vec::new();
        for &count in passes {
            let first = ledger.seen();
            let grid = births(*seed, first, count);
            ledger.append(Births { count, log_beta: Some(&grid), key_norm: None });
            lives.open(count, Some(&grid)).unwrap();
            let before: Vec<Vec<u32>> = SHAPE.iter().map(|head| ledger.positions(head).to_vec()).collect();
            // A new token's position is the number of tokens seen before it, however few are cached.
            prop_assert!(before.iter().all(|positions| positions.ends_with(&(first..first + count).collect::<Vec<_>>())));

            let decision = ledger.cut(&policy).unwrap();
            if let Some(decision) = &decision {
                // Refused if a token left twice or before it was born.
                lives.apply(&decision.cut).unwrap();
                prop_assert_eq!(decision.cut.tokens_seen, first + count);
            }
            for (head, before) in SHAPE.iter().zip(&before) {
                let after = ledger.positions(head);
                prop_assert!(after.is_sorted_by(|a, b| a < b));
                let recent = &before[before.len().saturating_sub(rule.protect.recent as usize)..];
                let mut protected = before.iter().filter(|&&p| p < rule.protect.sinks).chain(recent);
                prop_assert!(protected.all(|position| after.contains(position)), "{} lost a protected entry", head);
                let row = decision.as_ref().and_then(|d| d.cut.heads.iter().find(|row| row.head == head));
                prop_assert_eq!(row.is_some(), after.len() < before.len());
                if let Some(row) = row {
                    prop_assert_eq!((row.cached_before as usize, row.kept as usize), (before.len(), after.len()));
                }
                if rule.scope == Scope::Head {
                    let is_over = before.len() >= rule.limit() && before.len() > rule.budget as usize;
                    prop_assert_eq!(row.is_some(), is_over);
                    let most = if is_over { rule.budget as usize } else { rule.limit() };
                    prop_assert!(after.len() <= most);
                }
            }
            let all = SHAPE.heads() as u64;
            prop_assert!(decision.is_none() || rule.scope != Scope::Global || ledger.cached() <= all * u64::from(rule.budget));
            states.push((first + count, SHAPE.iter().map(|head| ledger.positions(head).to_vec()).collect::<Vec<_>>()));
        }
        // One interval per token is the whole history.
        for (seen, state) in states {
            for (head, positions) in SHAPE.iter().zip(state) {
                prop_assert_eq!(lives.cached_after(head, seen), positions);
            }
        }
    }

    #[test]
    fn a_larger_budget_is_never_cut_earlier(plan in plans(), more in 1u32..5) {
        let larger = Plan { rule: CutRule { budget: plan.rule.budget + more, ..plan.rule }, ..plan.clone() };
        if let Some(later) = first_cut(&larger) {
            prop_assert!(first_cut(&plan).is_some_and(|first| first <= later));
        }
    }
}
