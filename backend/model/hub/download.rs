//! Brings one file to disk: tries again, goes on where it broke off, and believes nothing that it has not measured.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread::sleep;

use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use ureq::http::StatusCode;

use super::HubError;
use super::client::{Attempt, Client, Remote, Trouble};
use super::names::Wanted;

const CHUNK_BYTES: usize = 256 * 1024;

impl Client {
    /// [`describe`](Client::describe), again and again until it is answered or patience ends.
    pub(super) fn describe_patiently(&self, wanted: &Wanted, revision: &str) -> Result<Remote, HubError> {
        let mut failures = 0;
        loop {
            match self.describe(wanted, revision) {
                Ok(remote) => return Ok(remote),
                Err(Attempt::Final(error)) => return Err(error),
                Err(Attempt::Passing(trouble)) => {
                    failures += 1;
                    // Where nothing was ever heard, waiting longer only delays the message.
                    let most = if matches!(trouble, Trouble::Network(_)) { 1 } else { u32::MAX };
                    if failures > self.patience.retries.min(most) {
                        return Err(self.given_up(trouble, &wanted.file));
                    }
                    sleep(self.patience.wait(failures));
                }
            }
        }
    }

    /// Downloads into `part`, going on from what is there, until it is exactly the file that the hub described.
    ///
    /// A file that was put together from two attempts and does not match is fetched once more from its first byte.
    pub(super) fn download(
        &self,
        wanted: &Wanted,
        remote: &Remote,
        part: &Path,
        bar: &ProgressBar,
    ) -> Result<(), HubError> {
        let resumed = length(part)? > 0;
        self.fill(wanted, remote, part, bar)?;
        let mut difference = damage(part, remote)?;
        if resumed && difference.is_some() {
            remove(part)?;
            self.fill(wanted, remote, part, bar)?;
            difference = damage(part, remote)?;
        }
        let Some(damage) = difference else { return Ok(()) };
        remove(part)?;
        Err(HubError::Damaged { wanted: wanted.clone(), damage })
    }

    /// Appends to `part` until it has the length that the hub gave.
    fn fill(&self, wanted: &Wanted, remote: &Remote, part: &Path, bar: &ProgressBar) -> Result<(), HubError> {
        if remote.size.is_some_and(|size| length(part).is_ok_and(|received| received > size)) {
            remove(part)?;
        }
        let mut failures = 0;
        loop {
            let before = length(part)?;
            if before > 0 && remote.size == Some(before) {
                return Ok(());
            }
            let trouble = match self.fill_once(wanted, remote, part, bar) {
                Ok(()) => return Ok(()),
                Err(Attempt::Final(error)) => return Err(error),
                Err(Attempt::Passing(trouble)) => trouble,
            };
            let received = length(part)?;
            failures = if received > before { 1 } else { failures + 1 };
            if failures > self.patience.retries {
                let file = wanted.file.clone();
                return Err(HubError::Interrupted { file, received, reason: trouble.to_string() });
            }
            sleep(self.patience.wait(failures));
        }
    }

    fn fill_once(&self, wanted: &Wanted, remote: &Remote, part: &Path, bar: &ProgressBar) -> Result<(), Attempt> {
        let response = self.content(wanted, &remote.commit, length(part)?)?;
        let mut file = match response.status() {
            StatusCode::PARTIAL_CONTENT => OpenOptions::new().append(true).create(true).open(part),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                remove(part)?;
                return Err(Attempt::Passing(Trouble::Network("the hub cannot go on from there".to_owned())));
            }
            // A server that knows no ranges starts over, so must we.
            _ => File::create(part),
        }
        .map_err(|error| HubError::disk(part, error))?;
        let mut received = file.metadata().map_err(|error| HubError::disk(part, error))?.len();
        bar.set_position(received);

        let mut body = response.into_body().into_reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Attempt::Passing(Trouble::Network(error.to_string()))),
            };
            received += count as u64;
            if remote.size.is_some_and(|size| received > size) {
                remove(part)?;
                let damage = "it is longer than the hub said".to_owned();
                return Err(HubError::Damaged { wanted: wanted.clone(), damage }.into());
            }
            file.write_all(&chunk[..count]).map_err(|error| HubError::disk(part, error))?;
            bar.set_position(received);
        }
        // A power cut must not leave a whole file's name on half a file.
        file.sync_all().map_err(|error| HubError::disk(part, error))?;
        match remote.size {
            Some(size) if received < size => {
                let reason = format!("the connection closed at {received} of {size} bytes");
                Err(Attempt::Passing(Trouble::Network(reason)))
            }
            _ => Ok(()),
        }
    }
}

/// How the file at `part` differs from what the hub described.
fn damage(part: &Path, remote: &Remote) -> Result<Option<String>, HubError> {
    let received = length(part)?;
    if let Some(size) = remote.size.filter(|&size| size != received) {
        return Ok(Some(format!("{received} bytes instead of {size}")));
    }
    let Some(expected) = remote.sha256() else { return Ok(None) };
    let sum = sha256(part).map_err(|error| HubError::disk(part, error))?;
    Ok((!sum.eq_ignore_ascii_case(expected)).then(|| "its SHA-256 sum is wrong".to_owned()))
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&chunk[..count]);
    }
}

/// Bytes at `part`; none where nothing is.
fn length(part: &Path) -> Result<u64, HubError> {
    match fs::metadata(part) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(HubError::disk(part, error)),
    }
}

fn remove(part: &Path) -> Result<(), HubError> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HubError::disk(part, error)),
        _ => Ok(()),
    }
}
