//! From flags to a policy, with every impossible combination named.

use anyhow::{Result, bail, ensure};

use super::request::RunRequest;
use crate::model::gate_config::{GateConfig, GateKind};
use crate::policy::attention::Observed;
use crate::policy::keys::Redundancy;
use crate::policy::retention::Retention;
use crate::policy::{CutRule, EvictionPolicy, FloorCounting, Policy, PolicyKind, Protect, Scope};
use crate::trace::manifest::PolicyFacts;

/// Budget where neither the user nor the gates say.
pub const BUDGET: u32 = 256;
/// Buffer where neither the user nor the gates say.
pub const BUFFER: u32 = 32;

/// A policy and what the manifest says of it.
pub struct Chosen {
    /// The policy.
    pub policy: Policy,
    /// For the manifest.
    pub facts: PolicyFacts,
    /// What people should know about the choice.
    pub warnings: Vec<String>,
}

/// Chooses the policy that the flags describe.
///
/// # Errors
/// When they contradict each other, the gates or the model's context.
pub fn choose(args: &RunRequest, gates: Option<&GateConfig>, context: usize) -> Result<Chosen> {
    let default = if gates.is_some() { PolicyKind::TrimKv } else { PolicyKind::Full };
    let kind = args.policy.unwrap_or(default);
    if kind.needs_gates() && gates.is_none() {
        bail!(
            "policy {kind} ranks tokens by retention gates, and none are loaded; add --gates, or choose another, such as streaming-llm, snapkv or full"
        );
    }
    check_chunk(args)?;
    if kind == PolicyKind::Full {
        let flags = [
            ("--budget", args.budget.is_some()),
            ("--buffer", args.buffer.is_some()),
            ("--threshold", args.threshold.is_some()),
            ("--scope", args.scope.is_some()),
            ("--sinks", args.sinks.is_some()),
            ("--recent", args.recent > 0),
            ("--floor", args.floor != 0.0),
            ("--look-ahead", args.look_ahead != 1),
            ("--age-offset", args.age_offset != 1),
        ];
        if args.policy.is_some()
            && let Some((flag, _)) = flags.iter().find(|(_, given)| *given)
        {
            bail!("the full cache evicts nothing, so {flag} has no meaning with it");
        }
        if let Some((flag, _)) = flags.iter().find(|(_, given)| *given) {
            bail!(
                "{flag} needs a policy, and without gates there is no default: add --gates, or --policy window, snapkv or another"
            );
        }
        let facts = PolicyFacts { name: kind.to_string(), prefill_chunk: args.prefill_chunk, ..PolicyFacts::default() };
        return Ok(Chosen { policy: Policy::full(), facts, warnings: Vec::new() });
    }
    let rule = rule(args, kind, gates, context)?;
    let facts = facts(args, kind, &rule);
    Ok(Chosen {
        policy: Policy { scorer: scorer(args, kind)?, rule: Some(rule) },
        facts,
        warnings: warnings(kind, &rule, gates),
    })
}

fn check_chunk(args: &RunRequest) -> Result<()> {
    ensure!(args.prefill_chunk != Some(0), "--prefill-chunk 0 reads nothing; give at least 1");
    Ok(())
}

fn scorer(args: &RunRequest, kind: PolicyKind) -> Result<Box<dyn EvictionPolicy>> {
    ensure!(args.look_ahead >= 1, "--look-ahead 0 looks at no step; give at least 1");
    ensure!(
        kind.needs_gates() || (args.look_ahead == 1 && args.age_offset == 1),
        "--look-ahead and --age-offset shape learned retention, which policy {kind} does not use"
    );
    Ok(match kind {
        PolicyKind::TrimKv | PolicyKind::TrimKvKnorm => {
            let key_norm = kind == PolicyKind::TrimKvKnorm;
            Box::new(Retention { age_offset: args.age_offset, look_ahead: args.look_ahead, key_norm })
        }
        _ => kind.scorer(args.seed),
    })
}

fn rule(args: &RunRequest, kind: PolicyKind, gates: Option<&GateConfig>, context: usize) -> Result<CutRule> {
    let default = gates.and_then(|gates| gates.memory_size).unwrap_or(BUDGET);
    let budget = args.budget.unwrap_or(default.min(u32::try_from(context).unwrap_or(u32::MAX)));
    let buffer = args.buffer.or(gates.and_then(|gates| gates.buffer_size)).unwrap_or(BUFFER);
    let pooled_gates = gates.is_some_and(|gates| gates.kind == GateKind::Rg10) && kind.needs_gates();
    let scope = args.scope.unwrap_or(if pooled_gates { Scope::Global } else { Scope::Head });
    let own = kind.protect(budget);
    let protect = Protect { sinks: args.sinks.unwrap_or(own.sinks), recent: args.recent.max(own.recent) };
    ensure!(
        kind != PolicyKind::Tova || scope == Scope::Head,
        "policy tova keeps the same tokens in all heads of a layer, so heads cannot share a budget; leave out --scope"
    );
    if let Some(threshold) = args.threshold {
        ensure!(
            threshold > 0.0 && threshold < 1.0,
            "--threshold is a retention and must lie between 0 and 1, not {threshold}"
        );
        ensure!(kind.needs_gates(), "--threshold compares learned retention, which policy {kind} does not use");
        ensure!(args.floor == 0.0, "--floor shares out a budget, which --threshold replaces; leave one of them out");
        ensure!(
            args.budget.is_none() && args.buffer.is_none(),
            "--threshold replaces the budget; leave out --budget and --buffer"
        );
    } else {
        ensure!(budget > 0, "--budget 0 keeps nothing; give at least 1");
        kind.check_budget(budget)?;
        ensure!(
            budget as usize <= context,
            "--budget {budget} is more than the model's context of {context} tokens; nothing would ever be evicted (--policy full says so plainly)"
        );
        let held = u64::from(protect.sinks) + u64::from(protect.recent);
        ensure!(
            held <= u64::from(budget),
            "{} first and {} recent tokens are to be kept{}, but the budget is {budget}; raise --budget",
            protect.sinks,
            protect.recent,
            if own.recent > args.recent {
                format!(" (policy {kind} keeps {} recent ones itself)", own.recent)
            } else {
                String::new()
            }
        );
    }
    ensure!((0.0..=1.0).contains(&args.floor), "--floor is a share and must lie between 0 and 1, not {}", args.floor);
    ensure!(args.floor == 0.0 || scope == Scope::Global, "--floor needs --scope global, where heads compete");
    Ok(CutRule {
        budget,
        buffer,
        scope,
        floor: args.floor,
        floor_counting: if args.floor_counting == "authors" { FloorCounting::Authors } else { FloorCounting::Exact },
        threshold: args.threshold,
        protect,
    })
}

fn facts(args: &RunRequest, kind: PolicyKind, rule: &CutRule) -> PolicyFacts {
    let bounded = rule.threshold.is_none();
    let learned = kind.needs_gates();
    let evidence = kind.scorer(args.seed).evidence();
    let observed = matches!(kind, PolicyKind::SnapKv | PolicyKind::RKv);
    PolicyFacts {
        name: kind.to_string(),
        budget: bounded.then_some(rule.budget),
        buffer: bounded.then_some(rule.buffer),
        scope: bounded.then(|| rule.scope.to_string()),
        sinks: (rule.protect.sinks > 0).then_some(rule.protect.sinks),
        recent: (rule.protect.recent > 0).then_some(rule.protect.recent),
        floor: (rule.floor > 0.0).then_some(rule.floor),
        floor_counting: (rule.floor > 0.0).then(|| rule.floor_counting.as_str().to_owned()),
        threshold: rule.threshold,
        look_ahead: (learned && args.look_ahead > 1).then_some(args.look_ahead),
        age_offset: learned.then_some(args.age_offset),
        seed: (kind == PolicyKind::Random).then_some(args.seed),
        queries: (evidence.remembered() > 0).then_some(evidence.remembered() as u32),
        pool: observed.then_some(Observed::default().pool as u32),
        lambda: (kind == PolicyKind::RKv).then_some(Redundancy::default().lambda),
        prefill_chunk: args.prefill_chunk,
    }
}

fn warnings(kind: PolicyKind, rule: &CutRule, gates: Option<&GateConfig>) -> Vec<String> {
    let mut warnings = Vec::new();
    let calibrated = !kind.needs_gates() || gates.is_none_or(|gates| gates.kind == GateKind::Rg10);
    if kind == PolicyKind::Tova && rule.buffer > 1 {
        warnings.push(format!(
            "tova is meant to cut at every step (--buffer 1); with a buffer of {} it asks one query in as many",
            rule.buffer
        ));
    }
    if rule.threshold.is_none() && rule.scope != Scope::Head && !calibrated {
        warnings.push(
            "these gates were trained per head, so heads that share a budget are not calibrated against each other"
                .to_owned(),
        );
    }
    if rule.threshold.is_some() {
        warnings.push("a threshold does not bound the cache".to_owned());
    }
    warnings
}
