//! One line of the list of traces.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::library::{Entry, Library, Source};
use crate::trace::files::name;
use crate::trace::manifest::Status;
use crate::trace::read::{read_manifest, standing, tables_are_there};
use crate::trace::tables::parquet_rows;

/// What the list says of a trace. What is not known is null; of a directory without a manifest that can be read nothing
/// is but why.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Its name here.
    pub key: String,
    /// Its name for people.
    pub title: String,
    /// Where it comes from.
    pub source: Source,
    /// Its directory.
    pub path: String,
    /// How far the run got.
    pub status: Option<Status>,
    /// When it began, RFC 3339.
    pub created: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// The policy's name.
    pub policy: Option<String>,
    /// Entries that a KV head keeps.
    pub budget: Option<u32>,
    /// How far it may overrun.
    pub buffer: Option<u32>,
    /// Tokens of prompt and continuation.
    pub tokens: Option<u32>,
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u32>,
    /// Layers of the model.
    pub layers: Option<usize>,
    /// KV heads per layer.
    pub kv_heads: Option<usize>,
    /// Size on disk.
    pub bytes: Option<u64>,
    /// Whether it can be deleted.
    pub deletable: bool,
    /// What is to be seen in it, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why it cannot be read, or not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A name for people.
pub fn title(entry: &Entry) -> String {
    let name = entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.is_empty() { entry.key.clone() } else { name }
}

/// A directory as people read it. Bundled traces have none of their own.
pub fn shown_path(entry: &Entry) -> String {
    match entry.source {
        Source::Bundled => format!("bundled:{}", entry.key),
        Source::Dropped => format!("dropped:{}", entry.key),
        Source::Local | Source::Live => standing(&entry.path).display().to_string(),
    }
}

/// Every trace: bundled ones first, then the newest.
pub fn list(library: &Library) -> Vec<Listed> {
    library.rescan();
    let mut all: Vec<Listed> = library.entries().iter().map(|entry| listed(library, entry)).collect();
    let place = |listed: &Listed| listed.source != Source::Bundled;
    all.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| b.created.cmp(&a.created)).then_with(|| a.key.cmp(&b.key)));
    all
}

fn listed(library: &Library, entry: &Entry) -> Listed {
    let unknown = |error| Listed {
        key: entry.key.clone(),
        title: title(entry),
        source: entry.source,
        path: shown_path(entry),
        status: None,
        created: None,
        model: None,
        policy: None,
        budget: None,
        buffer: None,
        tokens: None,
        prompt_tokens: None,
        layers: None,
        kv_heads: None,
        bytes: None,
        deletable: entry.source != Source::Bundled,
        note: None,
        error,
    };
    let directory = standing(&entry.path);
    let unfinished = directory.join(name::JOURNAL).exists();
    // A run that is not finished tells in its journal how far it has come.
    let manifest = if unfinished {
        library.reader(entry).map(|reader| reader.manifest().clone()).map_err(|error| error.to_string())
    } else {
        read_manifest(&directory).map_err(|error| error.to_string())
    };
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(error) => return unknown(Some(error)),
    };
    // Whose tables are damaged is found out when they are read; that one is not there is seen at once.
    let missing = tables_are_there(&directory, &manifest).err().filter(|_| !unfinished).map(|error| error.to_string());
    let counted = manifest.prompt.tokens + manifest.generated.tokens;
    let tokens = match counted {
        0 => parquet_rows(&directory.join(name::TOKENS)).ok().and_then(|rows| u32::try_from(rows).ok()),
        counted => Some(counted),
    };
    let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    Listed {
        status: Some(manifest.status),
        created: named(&manifest.created),
        model: named(&manifest.model.name),
        policy: named(&manifest.policy.name),
        budget: manifest.policy.budget,
        buffer: manifest.policy.buffer,
        tokens,
        prompt_tokens: (counted > 0).then_some(manifest.prompt.tokens),
        layers: Some(manifest.model.layers),
        kv_heads: Some(manifest.model.kv_heads),
        bytes: Some(bytes_in(&directory)),
        deletable: entry.source != Source::Bundled && manifest.status != Status::Running,
        note: manifest.note,
        ..unknown(missing)
    }
}

fn bytes_in(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    files.filter_map(|file| file.metadata().ok()).filter(|about| about.is_file()).map(|about| about.len()).sum()
}
