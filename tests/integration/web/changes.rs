//! Traces come, go, and come back.

use std::fs;
use std::io::{Cursor, Read};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

use super::{ADDRESS, Answer, Site, write_trace};

fn drop_files(site: &Site, files: &[(&str, Vec<u8>)]) -> Answer {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let head = format!("--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    let request = Request::post("/api/dropped").header("host", ADDRESS).header("x-trimkv-trace", "1");
    site.send(request.header("content-type", "multipart/form-data; boundary=edge").body(Body::from(body)).unwrap())
}

fn files_of(path: &std::path::Path, folder: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(path).unwrap().map(Result::unwrap);
    files
        .map(|file| (format!("{folder}{}", file.file_name().to_string_lossy()), fs::read(file.path()).unwrap()))
        .collect()
}

#[test]
fn a_deleted_trace_comes_back() {
    let site = Site::new();
    write_trace(&site.path("mine"), &["a", "b"]);
    assert_eq!(site.change("DELETE", "/api/traces/mine", None).status, StatusCode::NO_CONTENT);
    assert!(!site.path("mine").exists() && site.path(".deleted").is_dir());
    assert_eq!(site.get("/api/traces/mine").status, StatusCode::NOT_FOUND);
    assert!(!site.got("/api/traces").text().contains("mine"));
    assert_eq!(site.change("POST", "/api/traces/mine/restore", None).status, StatusCode::NO_CONTENT);
    assert_eq!(site.got("/api/traces/mine").json()["manifest"]["seen"], 2);
    assert_eq!(site.change("POST", "/api/traces/mine/restore", None).status, StatusCode::NOT_FOUND);
}

#[test]
fn what_has_taken_its_place_is_not_overwritten() {
    let site = Site::new();
    write_trace(&site.path("mine"), &["a"]);
    site.change("DELETE", "/api/traces/mine", None);
    write_trace(&site.path("mine"), &["a", "b", "c"]);
    assert_eq!(site.change("POST", "/api/traces/mine/restore", None).status, StatusCode::CONFLICT);
    assert_eq!(site.got("/api/traces/mine").json()["manifest"]["seen"], 3);
}

#[test]
fn bundled_traces_stay() {
    let site = Site::new();
    assert_eq!(site.change("DELETE", "/api/traces/codes", None).status, StatusCode::CONFLICT);
    assert_eq!(site.get("/api/traces/codes").status, StatusCode::OK);
}

#[test]
fn a_trace_is_opened_by_its_path() {
    let site = Site::new();
    let elsewhere = tempfile::tempdir().unwrap();
    write_trace(&elsewhere.path().join("far away"), &["a"]);
    let path = elsewhere.path().join("far away");
    let opened = site.change("POST", "/api/open", Some(json!({"path": path})));
    assert_eq!(opened.json()["key"], "far-away");
    assert_eq!(site.change("POST", "/api/open", Some(json!({"path": path}))).json()["key"], "far-away");
    assert_eq!(site.got("/api/traces/far-away/tokens").status, StatusCode::OK);
    for wrong in [json!({"path": elsewhere.path()}), json!({"path": "/etc/passwd"}), json!({"path": 7}), json!([])] {
        let refused = site.change("POST", "/api/open", Some(wrong));
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(!refused.error().is_empty());
    }
}

#[test]
fn a_dropped_folder_is_a_trace_under_its_name() {
    let site = Site::new();
    write_trace(&site.path("mine"), &["a", "b"]);
    let files = files_of(&site.path("mine"), "my run/");
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    let dropped = drop_files(&site, &files);
    assert_eq!(dropped.json()["key"], "my-run", "{}", dropped.text());
    let listed = site.got("/api/traces/my-run").json();
    assert_eq!((&listed["source"], &listed["title"]), (&"dropped".into(), &"my run".into()));
    let again = drop_files(&site, &files);
    assert_eq!(again.json()["key"], "my-run-2");
}

#[test]
fn what_is_no_trace_is_not_kept() {
    let site = Site::new();
    write_trace(&site.path("mine"), &["a", "b"]);
    let good = files_of(&site.path("mine"), "");
    let with = |change: fn(&mut Vec<(String, Vec<u8>)>)| {
        let mut files = good.clone();
        change(&mut files);
        let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        drop_files(&site, &files)
    };
    let status = |answer: Answer| (answer.status.as_u16(), answer.error());
    let refused = [
        status(with(|files| files.push(("evil.sh".to_owned(), b"x".to_vec())))),
        status(with(|files| files.push(("a/../../../etc/passwd".to_owned(), b"x".to_vec())))),
        status(with(|files| files.extend(files.clone()))),
        status(with(|files| files.retain(|(name, _)| name != "manifest.json"))),
        status(with(|files| files.iter_mut().for_each(|(_, bytes)| bytes.truncate(bytes.len() / 2)))),
        status(with(Vec::clear)),
    ];
    assert_eq!(refused.clone().map(|(status, _)| status), [400, 400, 400, 422, 422, 422], "{refused:?}");
    assert!(refused.iter().all(|(_, error)| !error.contains(".arriving-")), "{refused:?}");
    let sources = site.got("/api/traces").json();
    assert!(sources["traces"].as_array().unwrap().iter().all(|trace| trace["source"] != "dropped"));
}

#[test]
fn a_download_is_a_zip_of_the_trace() {
    let site = Site::new();
    write_trace(&site.path("mine"), &["a", "b"]);
    fs::write(site.path("mine/notes.txt"), "private").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/hostname", site.path("mine/logits.safetensors")).unwrap();
    let answer = site.got("/api/traces/mine/download.zip");
    assert_eq!(answer.headers["content-type"], "application/zip");
    let mut zip = zip::ZipArchive::new(Cursor::new(answer.body)).unwrap();
    let mut names: Vec<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    names.sort();
    assert_eq!(
        names,
        ["cuts", "lifetimes", "manifest", "steps", "tokens"]
            .map(|name| format!("mine/{name}.{}", if name == "manifest" { "json" } else { "parquet" }))
    );
    for name in names {
        let mut bytes = Vec::new();
        zip.by_name(&name).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, fs::read(site.root.path().join(&name)).unwrap(), "{name}");
    }
}
