//! Planted roles are recovered, and where nothing is planted nothing is found.
//!
//! `cargo test --lib recovery -- --nocapture` prints the tables of `docs/roles.md`.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;

use super::plant::{HeadPlan, Plant};
use super::run::{Recipe, SyntheticRun};
use crate::analysis::category::{Categories, TokenFacts, categorise};
use crate::analysis::features::RunRule;
use crate::analysis::reading::measure;
use crate::analysis::roles::{Role, Thresholds, Verdict, classify};
use crate::policy::random::Random;
use crate::policy::retention::Retention;
use crate::policy::{CutRule, Policy};
use crate::trace::grid::Grid;
use crate::trace::recording::Recording;
use crate::trace::step::Shape;

/// Each plan, and the role it should give.
const PLANS: [(&str, Role); 10] = [
    ("sink", Role::Sink),
    ("window", Role::Window),
    ("double-window", Role::DoubleWindow),
    ("gist", Role::Gist),
    ("content:digit", Role::Content),
    ("content:name", Role::Content),
    ("selector", Role::Selector),
    ("front-loaded", Role::FrontLoaded),
    ("frozen", Role::Frozen),
    ("random", Role::Mixed),
];

/// Size of a run.
#[derive(Clone, Copy)]
struct Size {
    tokens: u32,
    prompt: u32,
    budget: u32,
    buffer: u32,
    noise: f64,
}

const USUAL: Size = Size { tokens: 1000, prompt: 300, budget: 32, buffer: 8, noise: 0.02 };

fn recipe(size: Size, seed: u64, plans: &[&str], heads: usize) -> Recipe {
    Recipe {
        shape: Shape { layers: 1, kv_heads: heads },
        tokens: size.tokens,
        prompt: size.prompt,
        chunk: u32::MAX,
        rule: CutRule::per_head(size.budget, size.buffer),
        seed,
        noise: size.noise,
        plans: plans.iter().map(|plan| plan.parse::<HeadPlan>().unwrap()).collect(),
    }
}

fn record(recipe: &Recipe, policy: &Policy) -> Recording {
    let mut recording = Recording::new(recipe.shape);
    for step in SyntheticRun::new(recipe, policy) {
        let (tokens, pass) = step.unwrap();
        recording.tokens.extend(tokens);
        recording.apply(&pass).unwrap();
    }
    recording
}

fn learned(recipe: &Recipe) -> Policy {
    Policy { scorer: Box::new(Retention::default()), rule: Some(recipe.rule) }
}

fn categories(recording: &Recording) -> Vec<Categories> {
    categorise(&recording.tokens.iter().map(TokenFacts::of).collect::<Vec<_>>())
}

fn verdicts(recording: &Recording, categories: &[Categories], size: Size) -> Vec<Verdict> {
    let rule = RunRule { budget: Some(size.budget), buffer: Some(size.buffer), protected_first: 0 };
    classify(&measure(&recording.lifetimes, categories, &rule), &Thresholds::default())
}

/// For each plan: how often each role was found, over `seeds` runs of all plans together.
fn confusion(size: Size, plans: &[&'static str], seeds: u64) -> BTreeMap<&'static str, BTreeMap<Role, usize>> {
    let mut counts: BTreeMap<&str, BTreeMap<Role, usize>> = BTreeMap::new();
    for seed in 0..seeds {
        let recipe = recipe(size, seed, plans, plans.len());
        let recording = record(&recipe, &learned(&recipe));
        for (plan, verdict) in plans.iter().zip(verdicts(&recording, &categories(&recording), size)) {
            *counts.entry(plan).or_default().entry(verdict.role).or_default() += 1;
        }
    }
    counts
}

fn print(title: &str, counts: &BTreeMap<&str, BTreeMap<Role, usize>>) {
    println!("\n{title}");
    for (plan, found) in counts {
        let found: Vec<_> = found.iter().map(|(role, n)| format!("{} {n}", role.as_str())).collect();
        println!("  {plan:<22} {}", found.join(", "));
    }
}

fn hits(counts: &BTreeMap<&str, BTreeMap<Role, usize>>, plan: &str, role: Role) -> usize {
    counts[plan].get(&role).copied().unwrap_or(0)
}

#[test]
fn planted_roles_are_recovered() {
    let plans = PLANS.map(|(plan, _)| plan);
    let counts = confusion(USUAL, &plans, 10);
    print("1000 tokens, 300 of prompt, M 32, buffer 8, noise 2 %, 10 seeds", &counts);
    for (plan, role) in PLANS {
        assert!(hits(&counts, plan, role) >= 9, "{plan} is not recovered");
    }
}

#[test]
fn one_large_cut_of_a_prompt_is_enough_for_what_stands_in_it() {
    let size = Size { tokens: 1050, prompt: 1000, ..USUAL };
    let counts = confusion(size, &["window", "gist", "content:digit", "content:name", "sink", "random"], 10);
    print("1000 of prompt cut at once, 50 more", &counts);
    for (plan, role) in [
        ("window", Role::Window),
        ("gist", Role::Gist),
        ("content:digit", Role::Content),
        ("content:name", Role::Content),
    ] {
        assert!(hits(&counts, plan, role) >= 9, "{plan} is not recovered");
    }
    assert!(hits(&counts, "random", Role::Mixed) >= 9);
}

#[test]
fn tiny_budgets_short_runs_and_noise_cost_recall_but_give_no_wrong_class() {
    for (title, size) in [
        ("M 16, buffer 4", Size { budget: 16, buffer: 4, ..USUAL }),
        ("M 8, buffer 2", Size { budget: 8, buffer: 2, ..USUAL }),
        ("250 tokens, 100 of prompt", Size { tokens: 250, prompt: 100, ..USUAL }),
        ("noise 20 %", Size { noise: 0.2, ..USUAL }),
        ("M 128, buffer 32", Size { budget: 128, buffer: 32, ..USUAL }),
    ] {
        let counts = confusion(size, &PLANS.map(|(plan, _)| plan), 5);
        print(title, &counts);
        for (plan, role) in PLANS {
            for wrong in [Role::Gist, Role::Content] {
                assert!(
                    wrong == role || hits(&counts, plan, wrong) == 0,
                    "{title}: {plan} taken for {}",
                    wrong.as_str()
                );
            }
        }
        assert!(hits(&counts, "window", Role::Window) >= 4, "{title}");
    }
}

#[test]
fn a_selector_shows_where_its_tokens_fill_the_budget_for_half_the_text_and_only_there() {
    for size in [
        USUAL,
        Size { budget: 64, ..USUAL },
        Size { tokens: 2048, prompt: 614, budget: 64, ..USUAL },
        Size { tokens: 250, prompt: 100, ..USUAL },
        Size { budget: 128, buffer: 32, ..USUAL },
    ] {
        let counts = confusion(size, &["selector", "random"], 5);
        let needed = Plant::Selector.tokens_to_show(size.budget).unwrap();
        let found = hits(&counts, "selector", Role::Selector);
        let expected = if size.tokens >= needed { 4..=5 } else { 0..=1 };
        assert!(expected.contains(&found), "{} tokens, M {}: {found} of 5", size.tokens, size.budget);
    }
}

#[test]
fn of_two_roles_in_one_head_both_are_told() {
    for (plan, roles) in [
        ("sink+gist", [Role::Sink, Role::Gist]),
        ("sink+window", [Role::Sink, Role::Window]),
        ("gist+content:digit", [Role::Gist, Role::Content]),
    ] {
        let size = Size { budget: 64, ..USUAL };
        let mut told = 0;
        for seed in 0..5 {
            let recipe = recipe(size, seed, &[plan], 4);
            let recording = record(&recipe, &learned(&recipe));
            let found = verdicts(&recording, &categories(&recording), size);
            println!("{plan} {seed}: {:?} also {:?}", found[0].role, found[0].also);
            told += found.iter().filter(|verdict| roles.iter().all(|&role| verdict.holds(role))).count();
        }
        assert!(told >= 16, "{plan}: {told} of 20");
    }
}

#[test]
fn random_eviction_gives_no_role() {
    let mut found: BTreeMap<Role, usize> = BTreeMap::new();
    for seed in 0..4 {
        // Gates with roles are recorded, but what is evicted does not follow them.
        let recipe = recipe(USUAL, seed, &PLANS.map(|(plan, _)| plan), 40);
        let policy = Policy { scorer: Box::new(Random { seed }), rule: Some(recipe.rule) };
        let recording = record(&recipe, &policy);
        for verdict in verdicts(&recording, &categories(&recording), USUAL) {
            *found.entry(verdict.role).or_default() += 1;
        }
    }
    println!("random eviction, 160 heads: {found:?}");
    let named: usize = found.iter().filter(|(role, _)| **role != Role::Mixed).map(|(_, n)| n).sum();
    assert!(named <= 2, "{found:?}");
}

/// Gates dealt to other tokens keep their distribution, so a window stays one and a selector still selects; but what a
/// head cares about is gone.
#[test]
fn gates_dealt_to_other_tokens_leave_no_gist_content_or_sink() {
    let mut found: BTreeMap<Role, usize> = BTreeMap::new();
    for seed in 0..4u64 {
        let recipe = recipe(USUAL, seed, &["sink", "gist", "content:digit", "content:name"], 20);
        let recorded = record(&recipe, &learned(&recipe));
        let cells = recipe.shape.iter().flat_map(|head| {
            let mut gates = recorded.lifetimes.log_beta(head).to_vec();
            for place in (1..gates.len()).rev() {
                let draw = super::dice::Dice::new(seed).at(head.head.into()).at(place as u64).even();
                gates.swap(place, (draw * (place + 1) as f64) as usize);
            }
            gates
        });
        let grid = Grid::from_cells(20, USUAL.tokens as usize, cells.collect());
        let mut shuffled = crate::trace::lifetimes::Lifetimes::new(recipe.shape);
        shuffled.open(USUAL.tokens, grid.as_ref()).unwrap();
        let passes: Vec<u32> = recorded.steps.iter().map(|step| step.tokens_seen).collect();
        let lifetimes = crate::cache::replay::replay(&shuffled, &passes, &learned(&recipe)).unwrap();
        let recording = Recording { lifetimes, ..recorded };
        for verdict in verdicts(&recording, &categories(&recording), USUAL) {
            *found.entry(verdict.role).or_default() += 1;
        }
    }
    println!("shuffled gates, 80 heads: {found:?}");
    let meaning: usize = [Role::Sink, Role::Gist, Role::Content].iter().filter_map(|role| found.get(role)).sum();
    assert!(meaning <= 1, "{found:?}");
}

#[test]
fn a_run_that_was_never_cut_says_so() {
    let size = Size { budget: 2000, ..USUAL };
    let recipe = recipe(size, 1, &["gist"], 2);
    let recording = record(&recipe, &learned(&recipe));
    for verdict in verdicts(&recording, &categories(&recording), size) {
        assert_eq!(
            (verdict.role, verdict.lacking),
            (Role::NotEnoughEvidence, Some(crate::analysis::roles::Lacking::NeverCut))
        );
    }
}
