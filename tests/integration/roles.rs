//! Roles through the program: planted traces are made, read and checked as a user would.

use serde_json::Value;

use crate::run::Folder;

const ALL: &str = "sink,window,double-window,gist,content:digit,content:name,selector,front-loaded,frozen,random";
const FOUND: [&str; 10] =
    ["sink", "window", "double window", "gist", "content", "content", "selector", "front-loaded", "frozen", "mixed"];

fn synth(folder: &Folder, name: &str, more: &[&str]) {
    let args = ["synth", "--out", name, "--layers", "2", "--heads", "5", "--plant", ALL];
    folder.run(&[&args[..], more].concat()).done();
}

fn json(folder: &Folder, args: &[&str]) -> Value {
    serde_json::from_str(&folder.run(args).done().stdout).unwrap()
}

#[test]
fn planted_roles_come_back_through_files() {
    let folder = Folder::new();
    synth(&folder, "planted", &[]);
    let rows = json(&folder, &["heads", "planted", "--json"]);
    let roles: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["role"].as_str().unwrap()).collect();
    assert_eq!(roles, FOUND);
    for row in rows.as_array().unwrap() {
        assert!(row["evidence"].as_str().is_some_and(|why| !why.is_empty()), "{row}");
        assert_eq!(row["categories"].as_array().map(Vec::len), Some(10));
        assert_eq!(row["seen"], 1000);
    }
    let most: Vec<&str> =
        rows[4]["most_retained"].as_array().unwrap().iter().filter_map(|row| row["text"].as_str()).collect();
    assert!(most.iter().all(|text| text.trim().parse::<u8>().is_ok()), "a head of digits holds {most:?} longest");

    let csv = folder.run(&["heads", "planted", "--csv"]).done().stdout;
    let old = "layer,head,kept,evicted,mean_lifetime,mean_age_evicted,median_half_life,first_4_kept,last_m_kept,role";
    assert!(csv.starts_with(old), "{csv}");
    assert_eq!(csv.lines().count(), 11);
}

#[test]
fn the_table_fits_eighty_columns_and_says_why() {
    let folder = Folder::new();
    synth(&folder, "planted", &[]);
    let narrow = folder.run(&["heads", "planted"]).done().stdout;
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    assert!(narrow.contains("sentence ends") && narrow.contains("of old"), "{narrow}");
    let mut command = folder.command(&["heads", "planted"]);
    let wide = String::from_utf8(command.env("COLUMNS", "120").output().unwrap().stdout).unwrap();
    assert!(wide.lines().all(|line| line.chars().count() <= 120), "{wide}");
    assert!(wide.lines().any(|line| line.contains("gist") && line.contains("sentence ends")), "{wide}");
}

#[test]
fn several_traces_tell_how_general_a_role_is() {
    let folder = Folder::new();
    for seed in ["1", "2", "3"] {
        synth(&folder, seed, &["--seed", seed]);
    }
    let rows = json(&folder, &["heads", "1", "2", "3", "--json"]);
    let window = &rows[1];
    assert_eq!((window["role"].as_str(), window["with_role"].as_u64()), (Some("window"), Some(3)));
    assert!(window["scores"]["purity"]["half_width_95"].as_f64().is_some_and(|half| half < 0.1), "{window}");
    let table = folder.run(&["heads", "1", "2", "3"]).done().stdout;
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert_eq!(folder.run(&["heads", "1", "2", "3", "--csv"]).done().stdout.lines().count(), 11);
    folder.run(&["synth", "--out", "other", "--layers", "3"]).done();
    folder.refusal(&["heads", "1", "other"], &["other has 3 layers of 4", "compare runs of one model"]);
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap()).collect()
}

fn check(folder: &Folder, name: &str) -> (Option<i32>, Value) {
    let said = folder.run(&["check", name, "--json"]);
    let report = serde_json::from_str(&said.stdout).unwrap();
    (said.code, report)
}

#[test]
fn check_passes_a_sound_trace_and_names_what_is_wrong_with_others() {
    let folder = Folder::new();
    synth(&folder, "sound", &[]);
    let (code, report) = check(&folder, "sound");
    assert_eq!((code, &report["ok"]), (Some(0), &Value::Bool(true)), "{report}");
    assert!(codes(&report).contains(&"frozen"), "{report}");

    synth(&folder, "ample", &["--budget", "2000"]);
    let (code, report) = check(&folder, "ample");
    assert_eq!((code, codes(&report)), (Some(1), vec!["never-cut"]));
    let said = folder.run(&["check", "ample"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stdout.contains("nothing was evicted") && said.stdout.ends_with("not ok\n"), "{}", said.stdout);

    synth(&folder, "claims", &[]);
    let path = folder.path("claims/manifest.json");
    let mut manifest: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    manifest["policy"]["budget"] = 16.into();
    std::fs::write(&path, manifest.to_string()).unwrap();
    assert_eq!(codes(&check(&folder, "claims").1)[0], "over-budget");
    manifest["policy"]["budget"] = 48.into();
    std::fs::write(&path, manifest.to_string()).unwrap();
    let (code, report) = check(&folder, "claims");
    assert_eq!((code, codes(&report)[0]), (Some(1), "under-budget"));

    std::fs::write(folder.path("claims/lifetimes.parquet"), "rubbish").unwrap();
    assert_eq!(codes(&check(&folder, "claims").1), ["damaged"]);
    folder.refusal(&["check", "nowhere"], &["there is no such trace"]);
}

#[test]
fn random_eviction_gives_no_role_through_files_either() {
    let folder = Folder::new();
    synth(&folder, "random", &["--random-eviction"]);
    let rows = json(&folder, &["heads", "random", "--json"]);
    assert!(rows.as_array().unwrap().iter().all(|row| row["role"] == "mixed"), "{rows}");
}

#[test]
fn what_cannot_be_planted_is_refused_in_one_sentence() {
    let folder = Folder::new();
    folder.refusal(&["synth", "--out", "x", "--plant", "gits"], &["gits", "choose sink"]);
    folder.refusal(&["synth", "--out", "x", "--layers", "0"], &["at least 1"]);
    folder.refusal(&["synth", "--out", "x", "--noise", "2"], &["from 0 to 1"]);
    folder.refusal(&["synth", "--out", "x", "--tokens", "4000000000", "--layers", "60"], &["12 GiB"]);
}

#[test]
fn the_maker_of_traces_says_what_was_planted_and_what_cannot_show() {
    let folder = Folder::new();
    let said = |more: &[&str]| {
        let args = ["synth", "--layers", "1", "--heads", "2", "--plant", "selector,gist,sink"];
        folder.run(&[&args[..], more].concat()).done().stderr
    };
    let usual = said(&["--out", "usual"]);
    assert!(usual.contains("selector, gist;") && !usual.contains("sink") && !usual.contains("show"), "{usual}");
    let short = said(&["--out", "short", "--tokens", "250"]);
    assert!(short.contains("selector may not show") && short.contains("--tokens 768"), "{short}");
    let wide = said(&["--out", "wide", "--budget", "128", "--buffer", "32"]);
    assert!(wide.contains("selector may not show"), "{wide}");
    assert!(said(&["--out", "ample", "--budget", "2000"]).contains("nothing is evicted"));
    assert!(said(&["--out", "lot", "--random-eviction"]).contains("random"));
}
