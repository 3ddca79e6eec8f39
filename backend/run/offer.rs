//! What a run can be given without a download.

use std::path::Path;

use super::policy::{BUDGET, BUFFER};
use crate::engine::device::{DeviceChoice, device_name};
use crate::model::builtin;
use crate::model::gate_config::GateConfig;
use crate::policy::PolicyKind;

/// A model that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedModel {
    /// As a request names it.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Budget its gates were made for.
    pub budget: u32,
    /// Buffer they were made for.
    pub buffer: u32,
}

/// Models that come with the program.
pub fn models() -> Vec<OfferedModel> {
    let gates = builtin::gates().ok();
    let config = gates.and_then(|gates| GateConfig::parse(gates.config, Path::new("builtin/gates/config.json")).ok());
    let said = |value: fn(&GateConfig) -> Option<u32>| config.as_ref().and_then(value);
    let (budget, buffer) = (said(|gates| gates.memory_size), said(|gates| gates.buffer_size));
    vec![OfferedModel {
        name: builtin::NAME,
        title: "Built-in demonstration model",
        budget: budget.unwrap_or(BUDGET),
        buffer: buffer.unwrap_or(BUFFER),
    }]
}

/// A policy for people.
pub fn policy_title(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::TrimKv => "TRIM-KV: learned retention",
        PolicyKind::TrimKvKnorm => "TRIM-KV with key norms",
        PolicyKind::Full => "Full cache: evict nothing",
        PolicyKind::Window => "Window: keep the newest",
        PolicyKind::StreamingLlm => "StreamingLLM: keep the first and the newest",
        PolicyKind::H2o => "H2O: attention received so far",
        PolicyKind::SnapKv => "SnapKV: what the newest queries attend to",
        PolicyKind::RKv => "R-KV: the same, less what repeats",
        PolicyKind::Tova => "TOVA: what the newest query attends to",
        PolicyKind::KeyDiff => "KeyDiff: keys unlike the others",
        PolicyKind::Knorm => "Key norm: the smallest",
        PolicyKind::Random => "Random",
    }
}

/// Where a run would be computed, or why it cannot be.
///
/// # Errors
/// When there is a GPU that cannot be used.
pub fn device() -> Result<&'static str, String> {
    DeviceChoice::Auto.open().map(|opened| device_name(&opened.device)).map_err(|error| error.to_string())
}
