//! The folder that all Hugging Face tools share: what one of them downloaded the others find.
//!
//! ```text
//! models--owner--name/refs/main                         the commit that `main` was when it was last asked for
//! models--owner--name/snapshots/<commit>/config.json -> ../../blobs/<etag>
//! models--owner--name/blobs/<etag>                      a whole file;  <etag>.part  one that is still arriving
//! models--owner--name/.no_exist/<commit>/x.json         the hub said that this commit has no such file
//! ```

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::names::RepoId;

/// One repository's part of the cache.
pub(super) struct RepoCache {
    root: PathBuf,
    locks: PathBuf,
}

/// What the cache knows about a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// It is here.
    Here(PathBuf),
    /// The hub said that `commit` does not have it.
    NotInCommit { commit: String },
    /// It has to be asked for: at `commit`, where the revision was seen before, so that a model is never put together
    /// from the files of two commits.
    Unknown { commit: Option<String> },
}

impl RepoCache {
    pub(super) fn new(cache_dir: &Path, repo: &RepoId) -> Self {
        let folder = format!("models--{}--{}", repo.owner(), repo.name());
        Self { root: cache_dir.join(&folder), locks: cache_dir.join(".locks").join(folder) }
    }

    /// Looks for `file` at `revision`, which may be a commit.
    pub(super) fn look_up(&self, revision: &str, file: &str) -> Lookup {
        let Some(commit) = self.commit_of(revision) else { return Lookup::Unknown { commit: None } };
        let path = self.snapshot(&commit).join(file);
        if path.is_file() {
            return Lookup::Here(path);
        }
        if self.absence(&commit, file).exists() {
            return Lookup::NotInCommit { commit };
        }
        Lookup::Unknown { commit: Some(commit) }
    }

    /// The commit that `revision` was when it was last asked for.
    fn commit_of(&self, revision: &str) -> Option<String> {
        let noted = fs::read_to_string(self.root.join("refs").join(revision)).ok();
        let noted = noted.map(|commit| commit.trim().to_owned()).filter(|commit| is_commit(commit));
        noted.or_else(|| (is_commit(revision) && self.snapshot(revision).is_dir()).then(|| revision.to_owned()))
    }

    /// Notes that `revision` is `commit`.
    pub(super) fn note_commit(&self, revision: &str, commit: &str) -> io::Result<()> {
        if revision == commit {
            return Ok(());
        }
        write_whole(&self.root.join("refs").join(revision), commit)
    }

    /// Notes that `commit` has no `file`.
    pub(super) fn note_absence(&self, commit: &str, file: &str) -> io::Result<()> {
        write_whole(&self.absence(commit, file), "")
    }

    /// Where the file with this tag lies once it is whole.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Where the file with this tag grows while it arrives.
    pub(super) fn part(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(format!("{etag}.part"))
    }

    /// Waits until no other process downloads the file with this tag; the lock ends with the returned handle. The place
    /// is the one that the hub's own tools lock.
    pub(super) fn lock(&self, etag: &str) -> io::Result<File> {
        fs::create_dir_all(&self.locks)?;
        fs::create_dir_all(self.root.join("blobs"))?;
        let path = self.locks.join(format!("{etag}.lock"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.lock() {
            // Some network disks have no locks. Downloading without one is better than not at all.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
            locked => locked.map(|()| file),
        }
    }

    /// Puts the whole file with this tag into the snapshot of `commit` under its name.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> io::Result<PathBuf> {
        let path = self.snapshot(commit).join(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        if path.is_file() {
            return Ok(path);
        }
        // What is there and is no file is a link whose target was cleaned away.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let steps_up = "../".repeat(file.matches('/').count() + 2);
        let linked = make_link(&PathBuf::from(format!("{steps_up}blobs/{etag}")), &self.blob(etag), &path);
        match linked {
            // Another process was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_file() => Ok(path),
            linked => linked.map(|()| path),
        }
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    fn absence(&self, commit: &str, file: &str) -> PathBuf {
        self.root.join(".no_exist").join(commit).join(file)
    }
}

/// Whether `text` can be a commit's name, which becomes a folder's name.
pub(super) fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commit in the path of a file of the cache.
pub(super) fn commit_in(path: &Path) -> Option<&str> {
    let mut steps = path.components().map(|step| step.as_os_str());
    steps.by_ref().find(|step| *step == "snapshots")?;
    steps.next()?.to_str().filter(|commit| is_commit(commit))
}

/// Writes next to `path` first: a reader never sees half a commit's name.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}

#[cfg(unix)]
fn make_link(relative: &Path, _blob: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(relative, path)
}

/// Symbolic links need a privilege on Windows that few accounts have.
#[cfg(not(unix))]
fn make_link(_relative: &Path, blob: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(blob, path).or_else(|_| fs::copy(blob, path).map(|_| ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn repo_cache(dir: &Path) -> RepoCache {
        RepoCache::new(dir, &"ngocbh/Tiny".parse().unwrap())
    }

    #[test]
    fn a_linked_blob_is_found_by_revision_and_by_commit() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let cache = repo_cache(dir.path());
        assert_eq!(cache.look_up("main", "a/b.json"), Lookup::Unknown { commit: None });

        let _lock = cache.lock("tag")?;
        fs::write(cache.blob("tag"), "{}")?;
        cache.note_commit("main", COMMIT)?;
        let path = cache.link(COMMIT, "a/b.json", "tag")?;
        assert_eq!(fs::read_to_string(&path)?, "{}");
        assert!(path.starts_with(dir.path().join("models--ngocbh--Tiny/snapshots")));
        assert_eq!(commit_in(&path), Some(COMMIT));
        for revision in ["main", COMMIT] {
            assert_eq!(cache.look_up(revision, "a/b.json"), Lookup::Here(path.clone()));
            assert_eq!(cache.look_up(revision, "c"), Lookup::Unknown { commit: Some(COMMIT.to_owned()) });
        }
        cache.note_absence(COMMIT, "c")?;
        assert_eq!(cache.look_up("main", "c"), Lookup::NotInCommit { commit: COMMIT.to_owned() });
        Ok(())
    }

    #[test]
    fn a_link_whose_blob_was_cleaned_away_is_made_again() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let cache = repo_cache(dir.path());
        let _lock = cache.lock("old")?;
        fs::write(cache.blob("old"), "old")?;
        cache.link(COMMIT, "x", "old")?;
        fs::remove_file(cache.blob("old"))?;
        fs::write(cache.blob("new"), "new")?;
        assert_eq!(fs::read_to_string(cache.link(COMMIT, "x", "new")?)?, "new");
        Ok(())
    }

    #[test]
    fn a_reference_that_holds_no_commit_is_not_believed() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let cache = repo_cache(dir.path());
        for junk in ["", "../../../etc", "main"] {
            write_whole(&cache.root.join("refs/main"), junk)?;
            assert_eq!(cache.look_up("main", "x"), Lookup::Unknown { commit: None }, "{junk}");
        }
        Ok(())
    }
}
