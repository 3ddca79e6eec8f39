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
