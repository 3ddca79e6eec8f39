//! Where a run's trace is written.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::trace::files::partial;

/// Directory of traces unless told otherwise.
pub const TRACES: &str = "traces";

/// A directory below `parent` that does not exist yet, named after `stem` and the time.
///
/// # Errors
/// When a thousand runs of that name began in this second.
pub fn free_target(parent: &Path, stem: &str) -> Result<PathBuf> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let slug: String = stem.chars().map(plain).collect();
    let slug = slug.trim_start_matches(['.', '-']);
    let time = chrono::Utc::now().format("%Y%m%d-%H%M%S");
    let base = format!("{}-{time}", if slug.is_empty() { "prompt" } else { slug });
    let names = std::iter::once(base.clone()).chain((2..1000).map(|again| format!("{base}-{again}")));
    let free = names.map(|name| parent.join(name)).find(|path| !path.exists() && !partial(path).exists());
    free.context("too many runs in one second; name the trace with --out")
}
