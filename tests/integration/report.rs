//! `trimkv-trace report`: one page, the same again, and one sentence when it cannot be.

use std::fs;
use std::path::Path;

use crate::run::{Folder, arg};

fn bundled(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces").join(name)
}

#[test]
fn a_report_is_made_again_byte_for_byte_and_takes_its_title() {
    let folder = Folder::with_prompt("x");
    let trace = bundled("codes");
    for name in ["first.html", "second.html"] {
        let said = folder.run(&["report", arg(&trace), "-o", name, "--title", "Codes & <b>digits</b>"]).done();
        assert_eq!(said.stdout, format!("{name}\n"));
    }
    let page = fs::read_to_string(folder.path("first.html")).unwrap();
    assert_eq!(page, fs::read_to_string(folder.path("second.html")).unwrap());
    assert!(page.contains("digits") && !page.contains("<b>digits"));
    assert!(page.len() < 1 << 20, "{} bytes for 24 heads x 517 tokens", page.len());
    let printed = folder.run(&["report", arg(&trace), "-o", "-", "--title", "Codes & <b>digits</b>"]).done();
    assert_eq!(printed.stdout.trim_end(), page.trim_end());
}

#[test]
fn a_long_run_is_told_whole_only_in_the_layers_asked_for() {
    let folder = Folder::with_prompt("x");
    folder.run(&["synth", "--out", "long", "--layers", "3", "--heads", "2", "--tokens", "9000"]).done();
    folder.run(&["report", "long", "-o", "none.html"]).done();
    folder.run(&["report", "long", "-o", "one.html", "--layer", "2"]).done();
    let size = |name: &str| fs::metadata(folder.path(name)).unwrap().len();
    assert!(size("one.html") > size("none.html") + 10_000);
}

#[test]
fn what_cannot_be_reported_is_refused_in_one_sentence_and_nothing_is_written() {
    let folder = Folder::with_prompt("x");
    let trace = bundled("codes");
    fs::create_dir(folder.path("directory")).unwrap();
    fs::create_dir(folder.path("damaged")).unwrap();
    fs::write(folder.path("damaged/manifest.json"), "{").unwrap();
    for (args, word) in [
        (vec!["report", "nowhere", "-o", "f.html"], "nowhere"),
        (vec!["report", "damaged", "-o", "f.html"], "manifest.json"),
        (vec!["report", arg(&trace), "-o", "directory"], "directory"),
        (vec!["report", arg(&trace), "-o", "f.html", "--layer", "6"], "layers 0 to 5"),
        (vec!["report", arg(&trace), "-o", "missing/f.html"], "missing"),
    ] {
        folder.refusal(&args, &[word]);
        assert!(!folder.path("f.html").exists());
    }
}
