//! What leaves the dashboard: figures and reports.

use axum::http::StatusCode;

use super::Site;

const CODES: &str = "/api/traces/codes";

#[test]
fn a_figure_has_the_bytes_that_the_command_writes() {
    let site = Site::new();
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("fig4.svg");
    let trace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/codes");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_trimkv-trace"))
        .args(["figure", "fig4", "--heads", "L4H1,L0H0", "--width", "3.25in", "-o"])
        .args([&output, &trace])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let sent = site.got(&format!("{CODES}/figure/fig4.svg?heads=L4H1,L0H0&width=3.25in"));
    assert_eq!(sent.headers["content-type"], "image/svg+xml");
    assert!(sent.headers["content-disposition"].to_str().unwrap().contains("codes-fig4.svg"));
    assert_eq!(sent.body, std::fs::read(&output).unwrap());
    let values = site.got(&format!("{CODES}/figure/fig4.csv?heads=L4H1,L0H0&width=3.25in"));
    assert_eq!(values.body, std::fs::read(output.with_extension("csv")).unwrap());
}

#[test]
fn every_preset_of_a_run_can_be_had_in_every_format() {
    let site = Site::new();
    for preset in ["fig4", "grid", "text", "lifeline", "roles", "budget"] {
        for (ending, start) in [("pdf", &b"%PDF"[..]), ("svg", b"<?xml"), ("png", b"\x89PNG"), ("tex", b"")] {
            let sent = site.got(&format!("{CODES}/figure/{preset}.{ending}"));
            let begins = sent.body.starts_with(start) || ending == "svg" && sent.body.starts_with(b"<svg");
            assert!(begins && sent.body.len() > 100, "{preset}.{ending}");
        }
    }
}

#[test]
fn what_no_figure_can_be_made_of_is_refused_in_one_sentence() {
    let site = Site::new();
    for (path, status, word) in [
        ("figure/fig5.pdf", StatusCode::NOT_FOUND, "fig5"),
        ("figure/fig4.gif", StatusCode::BAD_REQUEST, ".pdf"),
        ("figure/fig4.pdf?heads=L99H0", StatusCode::BAD_REQUEST, "L99H0"),
        ("figure/fig4.pdf?width=wide", StatusCode::BAD_REQUEST, "wide"),
        ("figure/grid.pdf?at=3", StatusCode::BAD_REQUEST, "--at"),
        ("figure/training.pdf", StatusCode::BAD_REQUEST, "train"),
        ("report.html?layers=x", StatusCode::BAD_REQUEST, "x"),
        ("report.html?layers=6", StatusCode::BAD_REQUEST, "6"),
    ] {
        let sent = site.get(&format!("{CODES}/{path}"));
        assert_eq!(sent.status, status, "{path}");
        assert!(sent.error().contains(word), "{path}: {}", sent.error());
    }
}

#[test]
fn a_report_is_one_page_that_asks_nobody_for_anything() {
    let sent = Site::new().got(&format!("{CODES}/report.html"));
    let page = sent.text();
    assert!(page.starts_with("<!doctype html>") && page.contains("id=\"trace-data\""));
    assert!(page.contains("default-src 'none'"), "the page's own policy lets nothing out");
    for outside in ["<link", "<script src", "<img", "url(http", "url(/", "url(./"] {
        assert!(!page.contains(outside), "{outside}");
    }
}
