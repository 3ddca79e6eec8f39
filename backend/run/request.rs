//! What may be asked of a run: the same for a command and for the dashboard.

use clap::{Args, Parser};

/// Model, cache and generation of one run. Its defaults are those of the command line.
#[derive(Debug, Clone, Args)]
pub struct RunRequest {
    /// Model: builtin, a directory, or owner/name on the Hugging Face hub [default: builtin]
    #[arg(long, value_name = "NAME|DIR|REPO", help_heading = "Model")]
    pub model: Option<String>,
    /// Retention gates: a directory or a repository; alone, their own base model is used
    #[arg(long, value_name = "DIR|REPO", help_heading = "Model")]
    pub gates: Option<String>,
    /// Branch, tag or commit of what comes from the hub
    #[arg(long, value_name = "REV", help_heading = "Model")]
    pub revision: Option<String>,
    /// Where to run: auto, cpu or cuda:N
    #[arg(long, default_value = "auto", help_heading = "Model")]
    pub device: crate::engine::device::DeviceChoice,
    /// Number type: auto, f32, f16 or bf16
    #[arg(long, default_value = "auto", help_heading = "Model")]
    pub dtype: crate::engine::device::DTypeChoice,

    /// What to evict: trimkv, trimkv-knorm, full, window, streaming-llm, h2o, snapkv, r-kv, tova, keydiff, knorm or random [default: trimkv with gates, else full]
    #[arg(long, value_name = "NAME", help_heading = "Cache")]
    pub policy: Option<crate::policy::PolicyKind>,
    /// Tokens each KV head keeps [default: what the gates were made for, else 256]
    #[arg(long, value_name = "TOKENS", help_heading = "Cache")]
    pub budget: Option<u32>,
    /// Tokens it may overrun before a cut [default: what the gates were made for, else 32]
    #[arg(long, value_name = "TOKENS", help_heading = "Cache")]
    pub buffer: Option<u32>,
    /// Who shares a budget: head, layer or global [default: head; global for rg10 gates]
    #[arg(long, value_name = "WHO", help_heading = "Cache")]
    pub scope: Option<crate::policy::Scope>,
    /// Newest tokens that are never evicted; h2o (M/2), snapkv and r-kv (8) keep some anyway
    #[arg(long, value_name = "TOKENS", default_value_t = 0, help_heading = "Cache")]
    pub recent: u32,
    /// First tokens that are never evicted [default: 4 for streaming-llm, else 0]
    #[arg(long, value_name = "TOKENS", help_heading = "Cache")]
    pub sinks: Option<u32>,
    /// Share of the budget every head keeps when all heads compete
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Cache")]
    pub floor: f64,
    /// Count winners under a floor exactly, or as the authors' first release did
    #[arg(long, value_name = "HOW", default_value = "exact", value_parser = ["exact", "authors"], help_heading = "Cache")]
    pub floor_counting: String,
    /// Keep tokens whose retention is at least this, in (0, 1), instead of a budget
    #[arg(long, value_name = "RETENTION", help_heading = "Cache")]
    pub threshold: Option<f64>,
    /// Future steps over which retention is summed
    #[arg(long, value_name = "STEPS", default_value_t = 1, help_heading = "Cache")]
    pub look_ahead: u32,
    /// Added to tokens seen to form a token's age: 1 as in the authors' code, -1 as in their paper
    #[arg(long, value_name = "TOKENS", default_value_t = 1, help_heading = "Cache")]
    pub age_offset: i32,
    /// Read the prompt in passes of this many tokens, with a cut after each
    #[arg(long, value_name = "TOKENS", help_heading = "Cache")]
    pub prefill_chunk: Option<u32>,

    /// Tokens to generate at most
    #[arg(long, value_name = "TOKENS", default_value_t = 256, help_heading = "Generation")]
    pub max_new_tokens: u32,
    /// Always take the most likely token (the default unless --temperature is given)
    #[arg(long, conflicts_with_all = ["temperature", "top_p"], help_heading = "Generation")]
    pub greedy: bool,
    /// Sample at this temperature
    #[arg(long, value_name = "T", help_heading = "Generation")]
    pub temperature: Option<f64>,
    /// Sample from the most likely tokens that hold this mass
    #[arg(long, value_name = "P", help_heading = "Generation")]
    pub top_p: Option<f64>,
    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Generation")]
    pub seed: u64,
    /// Wrap the prompt in the model's chat template (the default)
    #[arg(long, conflicts_with = "raw", help_heading = "Generation")]
    pub chat: bool,
    /// Send the prompt as it is, without a chat template
    #[arg(long, help_heading = "Generation")]
    pub raw: bool,
    /// Go on after tokens that end a text
    #[arg(long, help_heading = "Generation")]
    pub ignore_eos: bool,

    /// Record more: attention (mass each entry received), logits (of every position; 4 bytes x vocabulary each)
    #[arg(long, value_name = "WHAT,...", value_delimiter = ',', value_parser = ["attention", "logits"], help_heading = "Output")]
    pub record: Vec<String>,
}

impl Default for RunRequest {
    fn default() -> Self {
        #[derive(Parser)]
        struct NothingTyped {
            #[command(flatten)]
            request: RunRequest,
        }
        NothingTyped::parse_from(["trimkv-trace"]).request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_starts_from_what_nothing_typed_means() {
        let request = RunRequest::default();
        assert_eq!((request.max_new_tokens, request.look_ahead, request.age_offset), (256, 1, 1));
        assert!(request.model.is_none() && request.budget.is_none() && !request.raw);
    }
}
