//! What a run leaves behind when it is killed, stopped, or runs out of disk.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use trimkv_trace::trace::manifest::Status;
use trimkv_trace::trace::read::Trace;
use trimkv_trace::trace::step::Origin;

use crate::run::Folder;

/// Tokens that may be missing from a killed run: those of one flush, and some on their way to the thread that writes.
const LOST_AT_MOST: usize = 64 + 32;

/// A long run that has begun to write.
struct Running {
    child: Child,
    streamed: Vec<u8>,
}

impl Running {
    fn start(folder: &Folder, out: &str) -> Self {
        let args = ["prompt.txt", "--ignore-eos", "--max-new-tokens", "1500", "--out", out];
        let child = folder.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, streamed: Vec::new() }
    }

    /// Waits until this many bytes of text have come.
    fn after(mut self, bytes: usize) -> Self {
        self.streamed.resize(bytes, 0);
        self.child.stdout.as_mut().unwrap().read_exact(&mut self.streamed).unwrap();
        self
    }

    /// Sends a signal and takes in the rest of what is said.
    fn stop(mut self, signal: &str) -> (ExitStatus, String, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let output = self.child.wait_with_output().unwrap();
        self.streamed.extend(output.stdout);
        (output.status, String::from_utf8(self.streamed).unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

/// Texts of the generated tokens that people were shown.
fn shown(trace: &Trace) -> Vec<&str> {
    let tokens = trace.recording.tokens.iter().filter(|token| token.origin == Origin::Generated);
    tokens.filter(|token| token.class != "special").filter_map(|token| token.text.as_deref()).collect()
}

#[test]
fn a_killed_run_loses_at_most_the_last_flush() {
    let folder = Folder::with_prompt("Where is the red dog?");
    let (status, streamed, _) = Running::start(&folder, "trace").after(800).stop("-KILL");
    assert_eq!(status.code(), None);
    assert!(!folder.path("trace").exists() && folder.path("trace.partial").is_dir());
    let trace = folder.trace("trace");
    assert_eq!(trace.manifest.status, Status::Interrupted);
    assert_eq!(trace.path, folder.path("trace.partial"));
    let recorded = trace.recording.tokens.len() - trace.manifest.prompt.tokens as usize;
    assert!(recorded > 0 && trace.manifest.generated.tokens as usize == recorded);
    assert!(trace.recording.lifetimes.seen() as usize + 1 >= trace.recording.tokens.len());

    // The same run, not killed, tells how many tokens the text on the terminal was.
    let length = (recorded + 400).to_string();
    let args = ["prompt.txt", "--ignore-eos", "--max-new-tokens", &length, "--out", "whole", "-q"];
    folder.run(&args).done();
    let whole = folder.trace("whole");
    let mut left = streamed.len();
    let printed = shown(&whole).into_iter().take_while(|text| left.checked_sub(text.len()).map(|l| left = l).is_some());
    let printed = printed.count();
    println!("{printed} tokens on the terminal, {recorded} in the trace");
    assert!(printed <= recorded + LOST_AT_MOST, "{printed} tokens were printed and {recorded} are recorded");
    assert_eq!(trace.recording.tokens, whole.recording.tokens[..trace.recording.tokens.len()]);
    let heads = folder.run(&["heads", "trace"]).done();
    assert_eq!(heads.stdout.lines().filter(|line| line.starts_with('L')).count(), 20);
    assert!(heads.stderr.contains("is interrupted: it ends where recording did"), "{}", heads.stderr);
    let again = folder.refusal(&["prompt.txt", "--out", "trace"], &["trace.partial exists", "--out"]);
    assert!(again.contains("remove it"));
}

#[test]
fn a_stopped_run_is_whole_and_says_that_it_was_stopped() {
    let folder = Folder::with_prompt("Where is the red dog?");
    for signal in ["-INT", "-TERM"] {
        let (status, streamed, said) = Running::start(&folder, &signal[1..]).after(200).stop(signal);
        assert_eq!(status.code(), Some(130), "{said}");
        assert!(said.contains("(interrupted)") && said.contains("trimkv-trace heads"), "{said}");
        assert!(folder.path(&signal[1..]).is_dir(), "it has its final name");
        let trace = folder.trace(&signal[1..]);
        assert_eq!(trace.manifest.status, Status::Interrupted);
        assert_eq!(trace.manifest.generated.stop.as_deref(), Some("interrupted"));
        assert_eq!(shown(&trace).concat(), streamed.trim_end_matches('\n'), "every token that was shown is recorded");
        assert!(!trace.path.join("journal.bin").exists());
    }
}

#[test]
fn a_run_in_progress_can_be_read() {
    let folder = Folder::with_prompt("Where is the red dog?");
    let running = Running::start(&folder, "trace").after(300);
    let deadline = Instant::now() + Duration::from_secs(10);
    // What is flushed grows while the run goes on, under either name.
    let mut lengths = Vec::new();
    while lengths.last().is_none_or(|&length| length < 100) && Instant::now() < deadline {
        let trace = folder.trace(if lengths.len() % 2 == 0 { "trace" } else { "trace.partial" });
        assert_eq!(trace.manifest.status, Status::Running);
        lengths.push(trace.recording.tokens.len());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(lengths.is_sorted() && lengths.last().is_some_and(|&length| length >= 100), "{lengths:?}");
    let heads = folder.run(&["heads", "trace"]).done();
    assert!(heads.stderr.contains("is running"), "{}", heads.stderr);
    running.stop("-INT");
    assert_eq!(folder.trace("trace").manifest.status, Status::Interrupted);
}

/// A small disk of its own, gone when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    pub fn mount(at: &Path, kib: u32) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={kib}k");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        let disk = mount.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()));
        if disk.is_none() {
            println!("skipped: a small disk cannot be mounted here");
        }
        disk
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that a failing test leaves nothing mounted.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Whatever the disk has room for: a whole trace, or one clear error, the text, and what was recorded before.
fn check_on_disk(kib: u32, more: &[&str]) -> Option<i32> {
    let folder = Folder::with_prompt("Where is the red dog?");
    let _disk = SmallDisk::mount(&folder.path("disk"), kib)?;
    let said = folder.run(&[&["prompt.txt", "--ignore-eos", "--out", "disk/trace"], more].concat());
    if said.code == Some(0) {
        assert_eq!(folder.trace("disk/trace").manifest.status, Status::Complete);
        return said.code;
    }
    assert_eq!(said.code, Some(1), "{kib} KiB: {said:#?}");
    assert_eq!(said.stderr.lines().count(), 1, "{kib} KiB: {said:#?}");
    for words in ["error: ", "disk/trace.partial is full", "make room", "--out"] {
        assert!(said.stderr.contains(words), "{kib} KiB: {said:#?}");
    }
    assert!(!folder.path("disk/trace").exists());
    if said.stdout.is_empty() {
        return said.code; // There was no room to begin.
    }
    let trace = folder.trace("disk/trace");
    assert_eq!(trace.manifest.status, Status::Interrupted);
    assert!(said.stdout.starts_with(&shown(&trace).concat()), "{kib} KiB");
    said.code
}

#[test]
fn a_full_disk_is_one_error_and_keeps_what_was_there() {
    assert!(check_on_disk(4, &[]).is_none_or(|code| code == 1));
    assert!(check_on_disk(200, &["--max-new-tokens", "1500"]).is_none_or(|code| code == 1));
    assert!(check_on_disk(200, &["--max-new-tokens", "1500", "--record", "logits"]).is_none_or(|code| code == 1));
}

/// Between too small to begin and large enough, the disk fills at every stage, the last tables included.
#[test]
fn a_disk_may_fill_at_any_moment() {
    let codes: Vec<Option<i32>> =
        [16, 32, 48, 64, 80, 96, 112, 400].map(|kib| check_on_disk(kib, &["--max-new-tokens", "70"])).into();
    println!("{codes:?}");
    assert!(codes[0].is_none() || (codes.contains(&Some(1)) && codes.contains(&Some(0))), "{codes:?}");
}
