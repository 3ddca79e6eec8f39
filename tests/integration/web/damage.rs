//! Damaged traces are said to be so, and the server goes on.

use std::fs;
use std::path::Path;

use axum::http::StatusCode;

use super::{Site, write_trace};

/// Every request about a trace.
const ABOUT: [&str; 8] =
    ["", "/tokens", "/lifetimes?layer=0", "/lifetimes?layer=1&pool=2", "/cuts?layer=0", "/steps", "/heads", "/check"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Asks everything; nothing may be a bug, and something must be damage.
#[track_caller]
fn is_damage(site: &Site, key: &str) {
    let answers = ABOUT.map(|about| site.get(&format!("/api/traces/{key}{about}")));
    for (answer, about) in answers.iter().zip(ABOUT) {
        assert!(matches!(answer.status.as_u16(), 200 | 422), "{key}{about}: {}", answer.status);
        assert!(answer.status == 200 || !answer.error().contains('\n'), "{key}{about}");
    }
    assert!(answers.iter().any(|answer| answer.status == StatusCode::UNPROCESSABLE_ENTITY), "{key}");
    assert_eq!(site.get("/api/traces/codes/lifetimes?layer=0").status, StatusCode::OK);
}

#[test]
fn cut_and_changed_tables_are_damage() {
    let site = Site::new();
    write_trace(&site.path("good"), &["a", "b", "c", "d"]);
    for (number, table) in ["tokens", "lifetimes", "steps"].into_iter().enumerate() {
        for (name, change) in [("cut", 0), ("flip", 1), ("empty", 2)] {
            for crc in [true, false] {
                let key = format!("bad-{number}-{name}-{crc}");
                copy(&site.path("good"), &site.path(&key));
                let path = site.path(&key).join(format!("{table}.parquet"));
                let mut bytes = fs::read(&path).unwrap();
                let half = bytes.len() / 2;
                match change {
                    0 => bytes.truncate(half),
                    1 => bytes[half..].iter_mut().step_by(3).for_each(|byte| *byte = !*byte),
                    _ => bytes.clear(),
                }
                fs::write(&path, bytes).unwrap();
                if !crc {
                    without_checksums(&site.path(&key));
                }
                is_damage(&site, &key);
            }
        }
    }
}

fn without_checksums(trace: &Path) {
    let manifest = fs::read_to_string(trace.join("manifest.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest.as_object_mut().unwrap().remove("crc32");
    fs::write(trace.join("manifest.json"), manifest.to_string()).unwrap();
}

#[test]
fn a_manifest_that_claims_more_than_there_is_takes_no_memory() {
    let site = Site::new();
    write_trace(&site.path("good"), &["a", "b", "c"]);
    for (number, (layers, kv_heads, seen)) in
        [(65_535u64, 16, 3u32), (2, 2, u32::MAX), (1 << 40, 2, 3), (0, 0, 0), (2, 3, 3)].into_iter().enumerate()
    {
        let key = format!("claims-{number}");
        copy(&site.path("good"), &site.path(&key));
        let manifest = serde_json::json!({
            "schema": "trimkv-trace/1", "seen": seen, "model": {"layers": layers, "kv_heads": kv_heads}
        });
        fs::write(site.path(&key).join("manifest.json"), manifest.to_string()).unwrap();
        let answer = site.get(&format!("/api/traces/{key}/lifetimes?layer=0"));
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{key}");
    }
    assert!(site.got("/").text().contains("claims-2"));
}

#[test]
fn a_manifest_that_is_not_one_is_named_on_the_page() {
    let site = Site::new();
    fs::create_dir(site.path("odd")).unwrap();
    fs::write(site.path("odd/manifest.json"), b"{\"schema\": \"trimkv-trace/1\", \xff").unwrap();
    assert_eq!(site.get("/t/odd").status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(site.got("/").text().contains("manifest"));
}

#[test]
fn rows_that_break_the_format_are_named() {
    use trimkv_trace::trace::check::{LayerColumns, layer};
    let good = || LayerColumns {
        layer: vec![1; 4],
        head: vec![0, 0, 1, 1],
        position: vec![0, 1, 0, 1],
        log_beta: vec![-0.1, -0.2, 0.0, -3.0],
        evicted_at: vec![2, u32::MAX, u32::MAX, 2],
    };
    assert!(layer(&good(), 1, 2, 2).is_ok());
    let row = |change: fn(&mut LayerColumns)| {
        let mut columns = good();
        change(&mut columns);
        layer(&columns, 1, 2, 2).unwrap_err().row
    };
    assert_eq!(row(|c| c.position[1] = 0), 1);
    assert_eq!(row(|c| c.layer[3] = 0), 3);
    assert_eq!(row(|c| c.log_beta[2] = 0.5), 2);
    assert_eq!(row(|c| c.log_beta[0] = f32::NAN), 0);
    assert_eq!(row(|c| c.evicted_at[3] = 1), 3);
    assert_eq!(row(|c| c.evicted_at[0] = 3), 0);
}

/// A copy of a bundled trace, in a directory of its own name.
fn copy_bundled(site: &Site, name: &str) -> std::path::PathBuf {
    let path = site.path(name);
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/codes"), &path);
    path
}

/// What the list says of a trace, if it is there.
fn listed(site: &Site, key: &str) -> Option<serde_json::Value> {
    let list = site.got("/api/traces").json();
    list["traces"].as_array().unwrap().iter().find(|trace| trace["key"] == key).cloned()
}

#[test]
fn a_damaged_copy_of_a_bundled_trace_is_listed_and_an_exact_one_is_not() {
    let site = Site::new();
    copy_bundled(&site, "same");
    let flipped = copy_bundled(&site, "flip").join("lifetimes.parquet");
    let mut bytes = fs::read(&flipped).unwrap();
    let half = bytes.len() / 2;
    bytes[half] = !bytes[half];
    fs::write(&flipped, bytes).unwrap();
    let cut = copy_bundled(&site, "trunc").join("tokens.parquet");
    fs::write(&cut, &fs::read(&cut).unwrap()[..100]).unwrap();
    fs::remove_file(copy_bundled(&site, "nocuts").join("cuts.parquet")).unwrap();
    for key in ["flip", "trunc", "nocuts"] {
        assert_eq!(listed(&site, key).unwrap_or_else(|| panic!("{key} is not listed"))["source"], "local");
        is_damage(&site, key);
    }
    assert!(listed(&site, "same").is_none() && listed(&site, "codes").is_some());
}

#[test]
fn a_table_that_the_manifest_names_is_missed() {
    let site = Site::new();
    for (table, about) in [("cuts", "/cuts?layer=0"), ("steps", "/steps"), ("tokens", "/tokens")] {
        let (key, file) = (format!("no-{table}"), format!("{table}.parquet"));
        fs::remove_file(copy_bundled(&site, &key).join(&file)).unwrap();
        let answer = site.get(&format!("/api/traces/{key}{about}"));
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{table}");
        assert!(answer.error().contains(&format!("{file} is missing")), "{}", answer.error());
        let found = listed(&site, &key).unwrap();
        assert!(found["error"].as_str().is_some_and(|error| error.contains(&file)), "{found}");
        assert_eq!((&found["budget"], &found["deletable"]), (&64.into(), &true.into()));
        assert!(site.get(&format!("/api/traces/{key}/heads")).error().contains(&file), "{table}");
    }
    // What no manifest promises need not be there.
    let bare = copy_bundled(&site, "bare");
    without_checksums(&bare);
    fs::remove_file(bare.join("cuts.parquet")).unwrap();
    assert!(listed(&site, "bare").unwrap()["error"].is_null());
    assert_eq!(site.get("/api/traces/bare/cuts?layer=0").status, StatusCode::OK);
}

#[test]
fn a_run_that_was_killed_is_interrupted_and_can_be_deleted() {
    let site = Site::new();
    let path = copy_bundled(&site, "killed").join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["status"] = "running".into();
    fs::write(&path, manifest.to_string()).unwrap();
    let found = listed(&site, "killed").unwrap();
    assert_eq!((&found["status"], &found["deletable"]), (&"interrupted".into(), &true.into()));
    assert_eq!(site.got("/api/traces/killed").json()["manifest"]["status"], "interrupted");
    let events = site.got("/api/traces/killed/events?after=0").text();
    assert!(events.contains("event: end") && events.contains("interrupted"), "{events}");
    assert_eq!(site.change("DELETE", "/api/traces/killed", None).status, StatusCode::NO_CONTENT);
    assert!(listed(&site, "killed").is_none());
}
