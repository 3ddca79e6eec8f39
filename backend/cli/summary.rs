//! What a run has come to, for people and for machines.

use std::path::Path;

use serde::Serialize;

use super::printer::Printer;
use crate::model::builtin;
use crate::run::session::Progress;
use crate::size::size;
use crate::trace::manifest::Manifest;

/// The one object that `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    trace: String,
    complete: bool,
    error: Option<String>,
    text: Option<&'a str>,
    token_ids: &'a [u32],
    prompt_tokens: u32,
    generated_tokens: usize,
    tokens_seen: u32,
    stop: Option<&'static str>,
    evicted: u64,
    cuts: u32,
    cached: u64,
    cache_bytes: u64,
    cache_peak_bytes: u64,
    cache_full_bytes: u64,
    prefill_tokens_per_second: Option<f64>,
    decode_tokens_per_second: Option<f64>,
    load_seconds: f64,
    model: &'a crate::trace::manifest::ModelFacts,
    gates: &'a Option<crate::trace::manifest::GateFacts>,
    policy: &'a crate::trace::manifest::PolicyFacts,
    device: &'a str,
}

/// A run to tell about.
pub struct Summary<'a> {
    /// As it was when the run began.
    pub manifest: &'a Manifest,
    /// How far it got.
    pub progress: &'a Progress,
    /// Where the trace is.
    pub trace: &'a Path,
    /// Whether tokens have text.
    pub has_text: bool,
}

impl Summary<'_> {
    /// One JSON object.
    pub fn json(&self, error: Option<&anyhow::Error>) -> String {
        let Self { manifest, progress, .. } = self;
        let report = Report {
            trace: self.trace.display().to_string(),
            complete: error.is_none() && progress.stop.is_some_and(|stop| stop.as_str() != "interrupted"),
            error: error.map(ToString::to_string),
            text: self.has_text.then_some(progress.text.as_str()),
            token_ids: &progress.ids,
            prompt_tokens: manifest.prompt.tokens,
            generated_tokens: progress.ids.len(),
            tokens_seen: progress.seen,
            stop: progress.stop.map(|stop| stop.as_str()),
            evicted: progress.evicted,
            cuts: progress.cuts,
            cached: progress.cached,
            cache_bytes: progress.cache_bytes,
            cache_peak_bytes: progress.cache_peak_bytes,
            cache_full_bytes: self.progress.full_bytes,
            prefill_tokens_per_second: rate(manifest.prompt.tokens.min(progress.seen), progress.prefill_seconds),
            decode_tokens_per_second: rate(progress.decode_passes, progress.decode_seconds),
            load_seconds: manifest.seconds.load,
            model: &manifest.model,
            gates: &manifest.gates,
            policy: &manifest.policy,
            device: &manifest.device,
        };
        serde_json::to_string_pretty(&report).unwrap_or_default()
    }

    /// The rows people read.
    pub fn print(&self, printer: &Printer) {
        let Self { manifest, progress, .. } = self;
        printer.row("model", &self.model());
        let stop = match progress.stop.map(|stop| stop.as_str()) {
            Some("eos") => "the model ended its text",
            Some("length") => "as many as asked for",
            Some("context") => "the model's context is full",
            _ => "interrupted",
        };
        let (prompt, generated) = (manifest.prompt.tokens, progress.ids.len());
        printer.row("tokens", &format!("{} of prompt, {} generated ({stop})", count(prompt), count(generated)));
        printer.row("policy", &self.policy());
        printer.row("evicted", &self.evictions());
        printer.row("cache", &self.cache());
        printer.row("speed", &self.speed());
        printer.row("trace", &self.trace.display().to_string());
        if manifest.model.source == builtin::NAME {
            printer.row("note", builtin::CAVEAT);
        }
        printer.note("");
        let program = std::env::args_os().next().unwrap_or_else(|| "trimkv-trace".into());
        printer.row("next", &format!("{} heads {}", shell_word(Path::new(&program)), shell_word(self.trace)));
    }

    fn model(&self) -> String {
        let model = &self.manifest.model;
        let gates = self.manifest.gates.as_ref().map_or("no gates".to_owned(), |gates| format!("{} gates", gates.kind));
        let heads = format!("{} layers x {} KV heads", model.layers, model.kv_heads);
        format!("{} ({heads}, {}, {}), {gates}", model.name, model.dtype, self.manifest.device)
    }

    /// What is allocated: a cache grows by more than the next token fills.
    fn cache(&self) -> String {
        let Progress { cache_bytes, cache_peak_bytes, full_bytes, evicted, .. } = *self.progress;
        let [now, peak, full] = [cache_bytes, cache_peak_bytes, full_bytes].map(size);
        if evicted == 0 && cache_bytes > full_bytes {
            return format!("{now} with room to grow, {full} of it filled");
        }
        format!("{now} now, {peak} at its peak, {full} had it been full")
    }

    fn policy(&self) -> String {
        let policy = &self.manifest.policy;
        let mut parts = vec![policy.name.clone()];
        if let (Some(budget), Some(buffer), Some(scope)) = (policy.budget, policy.buffer, policy.scope.as_deref()) {
            let shared = match scope {
                "head" => "per KV head",
                "layer" => "per KV head, shared within a layer",
                _ => "per KV head, shared by all",
            };
            parts.push(format!("budget {} + buffer {} tokens {shared}", count(budget), count(buffer)));
        }
        let extras = [
            policy.threshold.map(|threshold| format!("threshold {threshold}")),
            policy.sinks.map(|sinks| format!("first {sinks} kept")),
            policy.recent.map(|recent| format!("newest {recent} kept")),
            policy.floor.map(|floor| format!("floor {floor}")),
            policy.prefill_chunk.map(|chunk| format!("prompt in passes of {}", count(chunk))),
        ];
        parts.extend(extras.into_iter().flatten());
        parts.join(", ")
    }

    fn evictions(&self) -> String {
        let (evicted, cached) = (self.progress.evicted, self.progress.cached);
        if evicted == 0 {
            return format!("nothing: all {} entries fit", count(cached));
        }
        let share = 100.0 * evicted as f64 / (evicted + cached) as f64;
        let cuts =
            if self.progress.cuts == 1 { "1 cut".to_owned() } else { format!("{} cuts", count(self.progress.cuts)) };
        format!(
            "{} of {} entries ({share:.0} %) in {cuts}; {} stay",
            count(evicted),
            count(evicted + cached),
            count(cached)
        )
    }

    fn speed(&self) -> String {
        let tokens = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| count(rate.round() as u64));
        let prefill = rate(self.manifest.prompt.tokens.min(self.progress.seen), self.progress.prefill_seconds);
        let decode = rate(self.progress.decode_passes, self.progress.decode_seconds);
        format!("{} tokens/s reading, {} tokens/s writing", tokens(prefill), tokens(decode))
    }
}

fn rate(tokens: u32, seconds: f64) -> Option<f64> {
    (tokens > 0 && seconds > 0.0).then(|| f64::from(tokens) / seconds)
}

/// Digits in groups of three.
fn count<T: TryInto<u64>>(number: T) -> String {
    let digits = number.try_into().map_or(String::new(), |number: u64| number.to_string());
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// A path as a shell reads it.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+=:@,".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_easily() {
        assert_eq!([count(7u32), count(1234u32), count(1_234_567u64)], ["7", "1,234", "1,234,567"]);
    }

    #[test]
    fn a_suggested_command_survives_the_shell() {
        assert_eq!(shell_word(Path::new("traces/a-1")), "traces/a-1");
        assert_eq!(shell_word(Path::new("my traces/it's")), r"'my traces/it'\''s'");
    }
}
