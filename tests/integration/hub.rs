//! Fetching from a hub, over real connections to a server on this machine.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use trimkv_trace::model::hub::{Hub, HubError, Network, Patience, Progress, RepoId, Settings};

use crate::hub_server::{Fault, HubServer};

const REPO: &str = "ngocbh/Tiny";
const CONFIG: &str = "{\"model_type\": \"qwen3\"}";

/// A repository with a small and a large file, a server for it and an empty cache.
struct Bench {
    server: HubServer,
    cache: tempfile::TempDir,
    repo_dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let [cache, repo_dir] = [tempfile::tempdir()?, tempfile::tempdir()?];
        fs::write(repo_dir.path().join("config.json"), CONFIG)?;
        fs::write(repo_dir.path().join("model.safetensors"), weights())?;
        fs::create_dir(repo_dir.path().join("extra"))?;
        fs::write(repo_dir.path().join("extra/chat 1.jinja"), "{{ messages }}")?;
        let server = HubServer::serve([(REPO, repo_dir.path().to_owned())])?;
        Ok(Self { server, cache, repo_dir })
    }

    fn settings(&self) -> Settings {
        Settings {
            endpoint: self.server.endpoint().to_owned(),
            cache_dir: self.cache.path().join("hub"),
            token: None,
            network: Network::Online,
            patience: Patience {
                retries: 2,
                first_wait: Duration::from_millis(5),
                silence: Duration::from_millis(700),
            },
        }
    }

    fn hub(&self) -> anyhow::Result<Hub> {
        Ok(Hub::new(self.settings(), Progress::Hide)?)
    }

    fn fetch(&self, file: &str) -> anyhow::Result<PathBuf> {
        Ok(self.hub()?.fetch(&repo(), None, file)?)
    }

    fn refusal(&self, settings: Settings, file: &str) -> anyhow::Result<HubError> {
        Ok(Hub::new(settings, Progress::Hide)?.fetch(&repo(), None, file).unwrap_err())
    }

    fn parts(&self) -> anyhow::Result<Vec<PathBuf>> {
        let blobs = self.settings().cache_dir.join("models--ngocbh--Tiny/blobs");
        let paths = fs::read_dir(blobs)?.map(|entry| Ok(entry?.path()));
        let paths: Vec<PathBuf> = paths.collect::<anyhow::Result<_>>()?;
        Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "part")).collect())
    }
}

fn repo() -> RepoId {
    REPO.parse().unwrap()
}

/// 300 000 bytes which differ from one another wherever two attempts could be joined wrongly.
fn weights() -> Vec<u8> {
    (0..75_000u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_fetched_file_is_whole_named_by_its_commit_and_not_asked_for_again() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    for (file, content) in [("config.json", CONFIG.as_bytes().to_vec()), ("model.safetensors", weights())] {
        let path = bench.fetch(file)?;
        assert_eq!(fs::read(&path)?, content);
        assert_eq!(Hub::resolved_revision(&path), Some(bench.server.commit(REPO).as_str()));
        let asked = bench.server.requests().len();
        assert_eq!(bench.fetch(file)?, path);
        assert_eq!(bench.server.requests().len(), asked);
    }
    assert!(bench.parts()?.is_empty());
    Ok(())
}

#[test]
fn a_path_with_folders_and_spaces_is_found() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    assert_eq!(fs::read_to_string(bench.fetch("extra/chat 1.jinja")?)?, "{{ messages }}");
    Ok(())
}

#[test]
fn a_broken_connection_is_continued_where_it_broke() -> anyhow::Result<()> {
    for file in ["config.json", "model.safetensors"] {
        let bench = Bench::new()?;
        bench.server.misbehave(file, [Fault::CloseAfter(10)]);
        let whole = fs::read(bench.repo_dir.path().join(file))?;
        assert_eq!(fs::read(bench.fetch(file)?)?, whole);
        let ranges: Vec<_> =
            bench.server.downloads().iter().map(|get| get.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges, [None, Some("bytes=10-".to_owned())]);
    }
    Ok(())
}

/// Each attempt brings bytes, so more of them may break than patience allows in a row.
#[test]
fn a_connection_that_breaks_often_still_brings_the_file() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.misbehave("model.safetensors", [Fault::CloseAfter(1000); 9]);
    assert_eq!(fs::read(bench.fetch("model.safetensors")?)?, weights());
    assert_eq!(bench.server.downloads().len(), 10);
    Ok(())
}

#[test]
fn a_download_goes_on_in_the_next_run() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.misbehave("model.safetensors", [Fault::CloseAfter(100_000), Fault::Status(503), Fault::Status(503)]);
    let stopped = bench.refusal(bench.settings(), "model.safetensors")?;
    assert!(matches!(stopped, HubError::Interrupted { received: 100_000, .. }), "{stopped}");
    insta::assert_snapshot!(stopped, @"the download of model.safetensors stopped after 100000 bytes (the hub answered 503): run again and it goes on from there");
    assert_eq!(bench.parts()?.len(), 1);

    assert_eq!(fs::read(bench.fetch("model.safetensors")?)?, weights());
    assert_eq!(bench.server.downloads().last().unwrap().header("range"), Some("bytes=100000-"));
    assert!(bench.parts()?.is_empty());
    Ok(())
}

#[test]
fn a_stalled_connection_is_given_up_and_continued() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.misbehave("model.safetensors", [Fault::StallAfter(200_000)]);
    let start = Instant::now();
    assert_eq!(fs::read(bench.fetch("model.safetensors")?)?, weights());
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    Ok(())
}

#[test]
fn a_server_without_ranges_starts_over_instead_of_appending() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.misbehave("model.safetensors", [Fault::CloseAfter(1234), Fault::IgnoreRange]);
    assert_eq!(fs::read(bench.fetch("model.safetensors")?)?, weights());
    Ok(())
}

#[test]
fn a_body_that_ends_early_without_an_error_is_not_taken_for_whole() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.misbehave("model.safetensors", [Fault::PromiseOnly(777)]);
    assert_eq!(fs::read(bench.fetch("model.safetensors")?)?, weights());
    assert_eq!(bench.server.downloads().len(), 2);
    Ok(())
}

#[test]
fn wrong_bytes_are_thrown_away_and_reported() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.misbehave("model.safetensors", [Fault::WrongBytes]);
    let damaged = bench.refusal(bench.settings(), "model.safetensors")?;
    insta::assert_snapshot!(damaged, @"model.safetensors of ngocbh/Tiny arrived damaged (its SHA-256 sum is wrong) and was thrown away: run again to download it anew");
    assert!(bench.parts()?.is_empty());
    assert_eq!(fs::read(bench.fetch("model.safetensors")?)?, weights());
    Ok(())
}

/// What an earlier program left half done may be anything: shorter, longer, as long, and wrong.
#[test]
fn a_bad_start_of_any_length_is_replaced() -> anyhow::Result<()> {
    for length in [1, 1000, 300_000, 300_001] {
        let bench = Bench::new()?;
        bench.server.misbehave("model.safetensors", [Fault::CloseAfter(5), Fault::Status(503), Fault::Status(503)]);
        bench.refusal(bench.settings(), "model.safetensors")?;
        fs::write(&bench.parts()?[0], vec![0xee; length])?;
        assert_eq!(fs::read(bench.fetch("model.safetensors")?)?, weights(), "{length}");
    }
    Ok(())
}

#[test]
fn a_whole_part_is_not_downloaded_again() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.misbehave("model.safetensors", [Fault::CloseAfter(5), Fault::Status(503), Fault::Status(503)]);
    bench.refusal(bench.settings(), "model.safetensors")?;
    fs::write(&bench.parts()?[0], weights())?;
    let downloads = bench.server.downloads().len();
    assert_eq!(fs::read(bench.fetch("model.safetensors")?)?, weights());
    assert_eq!(bench.server.downloads().len(), downloads);
    Ok(())
}

#[test]
fn a_busy_hub_is_asked_again() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.misbehave("config.json", [Fault::Status(500), Fault::Status(429)]);
    assert_eq!(fs::read_to_string(bench.fetch("config.json")?)?, CONFIG);
    Ok(())
}

#[test]
fn a_missing_optional_file_is_none_and_asked_for_once() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.fetch("config.json")?;
    assert_eq!(bench.hub()?.fetch_optional(&repo(), None, "generation_config.json")?, None);
    let asked = bench.server.requests().len();
    assert_eq!(bench.hub()?.fetch_optional(&repo(), None, "generation_config.json")?, None);
    assert_eq!(bench.server.requests().len(), asked);
    assert!(bench.hub()?.fetch_optional(&repo(), None, "config.json")?.is_some());

    let missing = bench.refusal(bench.settings(), "adapter.json")?;
    assert!(missing.to_string().starts_with("there is no adapter.json of ngocbh/Tiny at "), "{missing}");
    Ok(())
}

#[test]
fn an_optional_file_of_a_missing_repository_is_an_error() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let hub = Hub::new(Settings { token: Some("hf_any".to_owned()), ..bench.settings() }, Progress::Hide)?;
    let missing = hub.fetch_optional(&"ngocbh/Nothing".parse()?, None, "config.json").unwrap_err();
    let message = missing.to_string().replace(bench.server.endpoint(), "HUB");
    insta::assert_snapshot!(message, @"there is no model ngocbh/Nothing at HUB: check its name, or give a model on disk with --model DIR");
    let missing = hub.fetch_optional(&repo(), Some("v2"), "config.json").unwrap_err();
    insta::assert_snapshot!(missing, @"ngocbh/Tiny has no revision v2: check the branch, tag or commit");
    Ok(())
}

/// Guests get the same answer for a private model and for one that does not exist.
#[test]
fn a_private_model_needs_the_right_token() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.require_token(REPO, "hf_right");
    let with = |token: Option<&str>| Settings { token: token.map(str::to_owned), ..bench.settings() };
    let said = |error: HubError| error.to_string().replace(bench.server.endpoint(), "HUB");

    let guest = said(bench.refusal(with(None), "config.json")?);
    insta::assert_snapshot!(guest, @"ngocbh/Tiny is private, gated or does not exist: accept its licence at HUB/ngocbh/Tiny if it has one, and set HF_TOKEN");
    let wrong = said(bench.refusal(with(Some("hf_wrong")), "config.json")?);
    insta::assert_snapshot!(wrong, @"the access token does not open HUB/ngocbh/Tiny: check the name, renew HF_TOKEN, or unset it for a public model");
    let path = Hub::new(with(Some("hf_right")), Progress::Hide)?.fetch(&repo(), None, "model.safetensors")?;
    assert_eq!(fs::read(path)?, weights());

    bench.server.gate(REPO);
    let gated = said(bench.refusal(with(Some("hf_right")), "config.json")?);
    insta::assert_snapshot!(gated, @"ngocbh/Tiny is gated: accept its licence at HUB/ngocbh/Tiny with the account that HF_TOKEN belongs to");
    assert!(matches!(bench.refusal(with(None), "config.json")?, HubError::NeedsToken { .. }));
    Ok(())
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_its_storage() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.require_token(REPO, "hf_right");
    let settings = Settings { token: Some("hf_right".to_owned()), ..bench.settings() };
    Hub::new(settings, Progress::Hide)?.fetch(&repo(), None, "model.safetensors")?;
    let (storage, hub): (Vec<_>, Vec<_>) =
        bench.server.requests().into_iter().partition(|request| request.path.starts_with("/storage/"));
    assert!(!storage.is_empty() && storage.iter().all(|request| request.header("authorization").is_none()));
    assert!(!hub.is_empty() && hub.iter().all(|request| request.header("authorization") == Some("Bearer hf_right")));
    Ok(())
}

#[test]
fn a_renamed_model_is_found_under_its_old_name() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.require_token(REPO, "hf_right");
    bench.server.rename(REPO, "ngocbh/Tiny-2");
    let hub = Hub::new(Settings { token: Some("hf_right".to_owned()), ..bench.settings() }, Progress::Hide)?;
    assert_eq!(fs::read(hub.fetch(&repo(), None, "model.safetensors")?)?, weights());
    assert_eq!(fs::read_to_string(hub.fetch(&repo(), None, "config.json")?)?, CONFIG);
    Ok(())
}

#[test]
fn offline_only_the_cache_answers() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let cached = bench.fetch("config.json")?;
    let asked = bench.server.requests().len();
    let settings = Settings { network: Network::Offline, ..bench.settings() };
    let hub = Hub::new(settings.clone(), Progress::Hide)?;
    assert_eq!(hub.fetch(&repo(), None, "config.json")?, cached);
    assert_eq!(hub.fetch(&repo(), Some(&bench.server.commit(REPO)), "config.json")?, cached);
    assert_eq!(hub.fetch_optional(&repo(), None, "model.safetensors")?, None);
    let missing = bench.refusal(settings.clone(), "model.safetensors")?.to_string();
    let missing = missing.replace(settings.cache_dir.to_str().unwrap(), "CACHE");
    insta::assert_snapshot!(missing, @"HF_HUB_OFFLINE is set and model.safetensors of ngocbh/Tiny is not in CACHE: unset it for one run, or give --model DIR");
    assert_eq!(bench.server.requests().len(), asked);
    Ok(())
}

#[test]
fn without_a_network_the_endpoint_and_the_ways_out_are_named() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    // Port 9 of this machine: nothing listens, and nothing leaves the machine.
    let settings = Settings { endpoint: "http://127.0.0.1:9".to_owned(), ..bench.settings() };
    let unreachable = bench.refusal(settings, "config.json")?;
    // The system's own words differ from system to system.
    let HubError::NoNetwork { reason, .. } = &unreachable else { panic!("{unreachable}") };
    let message = unreachable.to_string().replace(reason.as_str(), "REASON");
    insta::assert_snapshot!(message, @"cannot reach http://127.0.0.1:9 (REASON): check the network and HF_ENDPOINT, give a model on disk with --model DIR, or set HF_HUB_OFFLINE=1 if the model is in the cache");
    Ok(())
}

#[test]
fn a_server_that_is_no_hub_is_told_apart() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    // What answers here is a storage: it knows no commits.
    let settings = Settings { endpoint: format!("{}/storage", bench.server.endpoint()), ..bench.settings() };
    assert!(matches!(bench.refusal(settings, "config.json")?, HubError::RepoNotFound { .. }));
    Ok(())
}

#[test]
fn a_cache_that_cannot_be_written_is_named() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let file = bench.cache.path().join("a file");
    fs::write(&file, "")?;
    let unusable = bench.refusal(Settings { cache_dir: file.join("hub"), ..bench.settings() }, "config.json")?;
    assert!(matches!(unusable, HubError::Cache { .. }), "{unusable}");
    assert!(unusable.to_string().contains("set HF_HOME to another folder"));
    Ok(())
}

/// `/dev/full` is a disk without space.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    bench.server.misbehave("model.safetensors", [Fault::CloseAfter(5), Fault::Status(503), Fault::Status(503)]);
    bench.refusal(bench.settings(), "model.safetensors")?;
    let part = bench.parts()?.remove(0);
    fs::remove_file(&part)?;
    std::os::unix::fs::symlink("/dev/full", &part)?;
    let full = bench.refusal(bench.settings(), "model.safetensors")?;
    assert!(matches!(full, HubError::DiskFull { .. }), "{full}");
    let message = full.to_string().replace(part.to_str().unwrap(), "PART");
    insta::assert_snapshot!(message, @"no space is left for the download at PART: make room, or set HF_HOME to a folder on a larger disk");
    Ok(())
}

/// The later of two processes waits for the earlier and finds its file.
#[test]
fn fetches_at_the_same_time_download_once() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    let paths: Vec<PathBuf> = thread::scope(|scope| {
        let fetches: Vec<_> = (0..5).map(|_| scope.spawn(|| bench.fetch("model.safetensors"))).collect();
        fetches.into_iter().map(|fetch| fetch.join().unwrap()).collect::<anyhow::Result<_>>()
    })?;
    assert!(paths.iter().all(|path| *path == paths[0]));
    assert_eq!(bench.server.downloads().len(), 1);
    Ok(())
}

#[test]
fn hostile_names_are_refused_before_anything_is_asked() -> anyhow::Result<()> {
    let bench = Bench::new()?;
    for file in ["../config.json", "/etc/passwd", "a/../../b", ""] {
        assert!(matches!(bench.refusal(bench.settings(), file)?, HubError::Name(_)), "{file}");
    }
    assert!(bench.server.requests().is_empty());
    Ok(())
}
