//! Where deleted traces wait: `.deleted` beside them, under the time and their name, for a day at least.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use super::library::is_trace;

/// The folder's name.
const DELETED: &str = ".deleted";
/// How long a trace can be brought back.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Moves a trace's directory to `.deleted` and says where it is now.
///
/// # Errors
/// When it cannot be moved.
pub fn put(directory: &Path) -> io::Result<PathBuf> {
    let name = directory.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
    let deleted = directory.with_file_name(DELETED);
    fs::create_dir_all(&deleted)?;
    let moved = deleted.join(format!("{}-{name}", now().as_millis()));
    fs::rename(directory, &moved)?;
    Ok(moved)
}

/// The name that a deleted directory had.
pub fn name_before(moved: &Path) -> String {
    let name = moved.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split_once('-').map_or(name.clone(), |(_, name)| name.to_owned())
}

/// Removes what has been in a folder's `.deleted` for a day. Nothing but traces that were put there is touched.
pub fn purge(folder: &Path) {
    let entries = fs::read_dir(folder.join(DELETED)).into_iter().flatten().filter_map(Result::ok);
    for path in entries.map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let since = name.split_once('-').and_then(|(time, _)| time.parse().ok()).map(Duration::from_millis);
        if since.is_some_and(|since| now().saturating_sub(since) > KEPT) && is_trace(&path) {
            // What cannot be removed now is tried again at the next start.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(path: &Path) {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join("manifest.json"), "{}").unwrap();
    }

    #[test]
    fn a_deleted_trace_waits_under_its_name() {
        let root = tempfile::tempdir().unwrap();
        trace(&root.path().join("my-run"));
        let moved = put(&root.path().join("my-run")).unwrap();
        assert!(moved.starts_with(root.path().join(DELETED)) && is_trace(&moved));
        assert_eq!(name_before(&moved), "my-run");
        purge(root.path());
        assert!(is_trace(&moved), "it is not a day old");
    }

    #[test]
    fn only_old_traces_are_purged() {
        let root = tempfile::tempdir().unwrap();
        let deleted = root.path().join(DELETED);
        let [old, foreign, other] = ["1000-old", "notes", "1000-other"].map(|name| deleted.join(name));
        trace(&old);
        trace(&foreign);
        fs::create_dir_all(&other).unwrap();
        purge(root.path());
        assert!(!old.exists() && foreign.exists() && other.exists());
    }
}
