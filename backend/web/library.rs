//! The traces that this server knows: where they are, under which key, and what was read of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use rust_embed::RustEmbed;
use tempfile::TempDir;

use super::bin;
use super::cache::Lru;
use super::error::ApiError;
use crate::trace::files::{checksum, name};
use crate::trace::journal::is_being_written;
use crate::trace::read::{Trace, read_manifest, standing};
use crate::trace::reader::TraceReader;
use crate::trace::recording::CutRow;

/// Most bytes of ready answers that are kept.
const ANSWER_BYTES: usize = 192 << 20;
/// Most bytes of runs in progress and of cuts that are kept.
const READ_BYTES: usize = 256 << 20;
/// Most (layer, head, token) entries of a trace that is looked at as a whole: 12 bytes each, and twice that while it is
/// read.
const MOST_WHOLE: u64 = 1 << 27;
/// Ending of the name of a run that is not finished.
const PARTIAL: &str = ".partial";

#[derive(RustEmbed)]
#[folder = "traces/"]
#[include = "codes/*"]
#[include = "sums/*"]
#[include = "long/*"]
struct Bundled;

/// Where a trace comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The program itself.
    Bundled,
    /// A directory of this machine.
    Local,
    /// A run that this server started.
    Live,
    /// The page; it goes with the server.
    Dropped,
}

/// A trace that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name here.
    pub key: String,
    /// Its directory when it is finished.
    pub path: PathBuf,
    /// Where it comes from.
    pub source: Source,
}

/// What tells that a trace's files are still the same and where they were: lengths and times of those that change, and
/// whether it has its name yet. A run that ends moves its trace, which changes none of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    is_named: bool,
    files: [(u64, u128); 3],
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let directory = standing(path);
        let files = [name::MANIFEST, name::JOURNAL, name::LIFETIMES].map(|file| {
            let about = fs::metadata(directory.join(file)).ok();
            let changed = about.as_ref().and_then(|about| about.modified().ok());
            let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
            (about.map_or(0, |about| about.len()), changed.map_or(0, since))
        });
        Self { is_named: directory == path, files }
    }
}

/// A trace's cuts, shared by the requests that look at them.
pub type Cuts = Arc<Vec<CutRow>>;
type Reading = (Stamp, Arc<TraceReader>);
type Answered = (String, Stamp, String);

/// Every trace, behind one lock that is never held while files are read.
#[derive(Debug)]
pub struct Library {
    roots: Vec<PathBuf>,
    shelf: Mutex<BTreeMap<String, Entry>>,
    deleted: Mutex<BTreeMap<String, (Entry, PathBuf)>>,
    readers: Mutex<Lru<String, Reading>>,
    cuts: Mutex<Lru<(String, Stamp), Cuts>>,
    answers: Mutex<Lru<Answered, Bytes>>,
    dropped: TempDir,
    _bundled: TempDir,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the lock guards is whole between any two statements.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Library {
    /// Knows the bundled traces, those in `roots`, and `single` ones.
    ///
    /// # Errors
    /// When there is no room for the bundled ones.
    pub fn new(roots: Vec<PathBuf>, single: Vec<PathBuf>) -> io::Result<Self> {
        let bundled = tempfile::Builder::new().prefix("trimkv-trace-bundled-").tempdir()?;
        unpack(bundled.path())?;
        let library = Self {
            roots,
            shelf: Mutex::default(),
            deleted: Mutex::default(),
            readers: Mutex::new(Lru::new(READ_BYTES)),
            cuts: Mutex::new(Lru::new(READ_BYTES)),
            answers: Mutex::new(Lru::new(ANSWER_BYTES)),
            dropped: tempfile::Builder::new().prefix("trimkv-trace-dropped-").tempdir()?,
            _bundled: bundled,
        };
        for path in traces_in(library._bundled.path()) {
            library.add(&path, Source::Bundled);
        }
        for path in single {
            library.add(&path, Source::Local);
        }
        library.rescan();
        let folders = library.entries().into_iter().filter_map(|entry| Some(entry.path.parent()?.to_owned()));
        folders.chain(library.roots.clone()).collect::<BTreeSet<_>>().iter().for_each(|folder| bin::purge(folder));
        Ok(library)
    }

    /// Where dropped traces are kept.
    pub fn dropped(&self) -> &Path {
        self.dropped.path()
    }

    /// Where runs started here are written: the first directory of traces, or `traces`.
    pub fn home(&self) -> PathBuf {
        self.roots.first().cloned().unwrap_or_else(|| PathBuf::from("traces"))
    }

    /// Puts a trace on the shelf and gives its key. One that is there already keeps its own.
    pub fn add(&self, path: &Path, source: Source) -> String {
        let path = finished_name(path);
        let mut shelf = lock(&self.shelf);
        if let Some(known) = shelf.values().find(|entry| entry.path == path) {
            return known.key.clone();
        }
        let slug = slug(&path);
        let again = (2..).map(|count| format!("{slug}-{count}"));
        let free = std::iter::once(slug.clone()).chain(again).find(|key| !shelf.contains_key(key));
        let key = free.unwrap_or(slug);
        shelf.insert(key.clone(), Entry { key: key.clone(), path, source });
        key
    }

    /// Looks again at what is in the roots. What is gone leaves the shelf.
    pub fn rescan(&self) {
        lock(&self.shelf).retain(|_, entry| standing(&entry.path).is_dir());
        let bundled = traces_in(self._bundled.path());
        for path in self.roots.iter().flat_map(|root| traces_in(root)) {
            // The project's own folder of traces holds those that the program brings along.
            if !bundled.iter().any(|known| is_copy(&standing(&path), known)) {
                self.add(&path, Source::Local);
            }
        }
    }

    /// All traces, by source and key.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = lock(&self.shelf).values().cloned().collect();
        entries.sort_by(|a, b| a.source.cmp(&b.source).then_with(|| a.key.cmp(&b.key)));
        entries
    }

    /// The trace of a key.
    ///
    /// # Errors
    /// When there is none.
    pub fn entry(&self, key: &str) -> Result<Entry, ApiError> {
        let known = || lock(&self.shelf).get(key).filter(|entry| standing(&entry.path).is_dir()).cloned();
        if let Some(entry) = known() {
            return Ok(entry);
        }
        self.rescan();
        known().ok_or_else(|| ApiError::no_trace(key))
    }

    /// What tells whether a trace has changed.
    pub fn stamp(&self, entry: &Entry) -> Stamp {
        Stamp::of(&entry.path)
    }

    /// Does work on a trace, and once more when it fails while the trace changes: a run that ends moves its files.
    ///
    /// # Errors
    /// When there is no such trace, or the work fails on one that stays as it is.
    pub fn steadily<T>(&self, key: &str, work: impl Fn(&Entry) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let entry = self.entry(key)?;
        let stamp = self.stamp(&entry);
        match work(&entry) {
            Err(_) if self.stamp(&entry) != stamp => work(&self.entry(key)?),
            done => done,
        }
    }

    /// Whether a process is still writing the trace.
    pub fn is_running(&self, entry: &Entry) -> bool {
        is_being_written(&standing(&entry.path).join(name::JOURNAL))
    }

    /// A reader of a trace, as it is now.
    ///
    /// # Errors
    /// When the trace cannot be read.
    pub fn reader(&self, entry: &Entry) -> Result<Arc<TraceReader>, ApiError> {
        let stamp = self.stamp(entry);
        let known = lock(&self.readers).get(&entry.key);
        if let Some((_, reader)) = known.filter(|(of, _)| *of == stamp) {
            return Ok(reader);
        }
        let reader = Arc::new(TraceReader::open(&entry.path)?);
        lock(&self.readers).insert(entry.key.clone(), (stamp, reader.clone()), reader.resident_bytes());
        Ok(reader)
    }

    /// A trace's cuts.
    ///
    /// # Errors
    /// When the trace cannot be read.
    pub fn cuts(&self, entry: &Entry) -> Result<Cuts, ApiError> {
        let name = (entry.key.clone(), self.stamp(entry));
        let known = lock(&self.cuts).get(&name);
        if let Some(cuts) = known {
            return Ok(cuts);
        }
        let cuts = Arc::new(self.reader(entry)?.cuts()?);
        lock(&self.cuts).insert(name, cuts.clone(), cuts.len() * size_of::<CutRow>());
        Ok(cuts)
    }

    /// A trace as a whole, for what compares its heads.
    ///
    /// # Errors
    /// When it cannot be read, or is too large for that.
    pub fn whole(&self, entry: &Entry) -> Result<Trace, ApiError> {
        let manifest = self.reader(entry)?.manifest().clone();
        let entries = manifest.shape().heads() as u64 * u64::from(manifest.seen);
        if entries > MOST_WHOLE {
            return Err(ApiError::TooLarge(format!(
                "{} has {entries} entries, and heads are compared up to {MOST_WHOLE}; look at it layer by layer",
                entry.key
            )));
        }
        Ok(Trace::open(&entry.path)?)
    }

    /// An answer that was given before, about files that have not changed since.
    pub fn known_answer(&self, entry: &Entry, what: &str) -> Option<Bytes> {
        lock(&self.answers).get(&(entry.key.clone(), self.stamp(entry), what.to_owned()))
    }

    /// Keeps an answer about a trace whose files had `stamp` before it was worked out.
    pub fn remember(&self, entry: &Entry, stamp: Stamp, what: &str, answer: &Bytes) {
        let bytes = answer.len() + what.len();
        lock(&self.answers).insert((entry.key.clone(), stamp, what.to_owned()), answer.clone(), bytes);
    }

    /// Moves a trace to its folder's `.deleted`.
    ///
    /// # Errors
    /// When it comes with the program, is being written, or cannot be moved.
    pub fn delete(&self, key: &str) -> Result<(), ApiError> {
        let entry = self.entry(key)?;
        if entry.source == Source::Bundled {
            return Err(ApiError::Conflict(format!("{key} comes with the program and cannot be deleted")));
        }
        if self.is_running(&entry) {
            return Err(ApiError::Conflict(format!("{key} is still being written; stop the run first")));
        }
        let moved = bin::put(&standing(&entry.path))
            .map_err(|error| ApiError::Conflict(format!("{key} cannot be moved ({error}); delete its directory")))?;
        lock(&self.shelf).remove(key);
        lock(&self.deleted).insert(key.to_owned(), (entry, moved));
        Ok(())
    }

    /// Brings back what was deleted under a key.
    ///
    /// # Errors
    /// When nothing was, something else stands in its place, or it cannot be moved.
    pub fn restore(&self, key: &str) -> Result<(), ApiError> {
        let found = lock(&self.deleted).get(key).cloned();
        let (entry, moved) = found.ok_or_else(|| ApiError::NotFound(format!("no trace {key:?} was deleted here")))?;
        // An unfinished run keeps its working name.
        let back = entry.path.with_file_name(bin::name_before(&moved));
        if back.exists() || lock(&self.shelf).contains_key(key) {
            return Err(ApiError::Conflict(format!("another trace is called {key} by now")));
        }
        fs::rename(&moved, &back)
            .map_err(|error| ApiError::Conflict(format!("{key} cannot be brought back ({error})")))?;
        lock(&self.deleted).remove(key);
        lock(&self.shelf).insert(key.to_owned(), entry);
        Ok(())
    }
}

fn unpack(target: &Path) -> io::Result<()> {
    for file in Bundled::iter() {
        let path = target.join(file.as_ref());
        fs::create_dir_all(path.parent().unwrap_or(target))?;
        fs::write(path, Bundled::get(&file).map(|file| file.data).unwrap_or_default())?;
    }
    Ok(())
}

/// Whether a directory is a trace, finished or not.
pub fn is_trace(path: &Path) -> bool {
    standing(path).join(name::MANIFEST).is_file()
}

/// Directories right below `root` that are traces; those with a dot in front are not looked at.
fn traces_in(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
    let is_hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| !is_hidden(path) && is_trace(path)).collect();
    found.sort();
    found
}

/// Whether a directory holds a bundled trace as it was packed: its manifest, and the tables of which that has checksums.
fn is_copy(path: &Path, bundled: &Path) -> bool {
    let text = |directory: &Path| fs::read(directory.join(name::MANIFEST)).ok();
    let is_same = || text(path).is_some_and(|text_here| text(bundled) == Some(text_here));
    is_same()
        && read_manifest(path).is_ok_and(|manifest| {
            manifest.crc32.iter().all(|(table, sum)| checksum(&path.join(table)).ok() == Some(*sum))
        })
}

/// The name that a trace has, or will have when it is finished.
fn finished_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.strip_suffix(PARTIAL) {
        Some(finished) if !finished.is_empty() => path.with_file_name(finished),
        _ => path.to_owned(),
    }
}

/// A directory's name as a key: letters, digits, `.`, `_` and `-`.
fn slug(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let slug: String = name.chars().map(plain).collect();
    let slug = slug.trim_start_matches(['.', '-']).to_owned();
    if slug.is_empty() { "trace".to_owned() } else { slug }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_and_never_a_path() {
        assert_eq!(slug(Path::new("/a/codes")), "codes");
        assert_eq!(slug(Path::new("/a/..hidden")), "hidden");
        assert_eq!(slug(Path::new("/a/ä b/")), "b");
        assert_eq!(slug(Path::new("/")), "trace");
    }

    #[test]
    fn the_bundled_traces_come_first_and_keep_their_names() {
        let root = tempfile::tempdir().unwrap();
        let other = root.path().join("codes");
        fs::create_dir(&other).unwrap();
        fs::write(other.join(name::MANIFEST), "{}").unwrap();
        let library = Library::new(vec![root.path().to_owned()], Vec::new()).unwrap();
        let keys: Vec<_> = library.entries().into_iter().map(|entry| entry.key).collect();
        assert_eq!(keys, ["codes", "long", "sums", "codes-2"]);
        assert_eq!(library.entry("codes-2").unwrap().path, other);
    }

    #[test]
    fn a_run_keeps_its_key_when_it_is_finished() {
        let root = tempfile::tempdir().unwrap();
        let running = root.path().join("run.partial");
        fs::create_dir(&running).unwrap();
        fs::write(running.join(name::MANIFEST), "{}").unwrap();
        let library = Library::new(vec![root.path().to_owned()], Vec::new()).unwrap();
        assert_eq!(library.entry("run").unwrap().path, root.path().join("run"));
        fs::rename(&running, root.path().join("run")).unwrap();
        assert!(library.entry("run").is_ok());
        fs::remove_dir_all(root.path().join("run")).unwrap();
        assert!(library.entry("run").is_err());
    }
}
