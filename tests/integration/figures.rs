//! Figures as files: the same bytes every time, what is beside them, and what is refused.

use std::fs;

use trimkv_trace::figures::fig4::Fig4;
use trimkv_trace::figures::grid::Grid as GridFigure;
use trimkv_trace::figures::make::{self, Made, Run};
use trimkv_trace::figures::raster::Lives;
use trimkv_trace::figures::spec::{Format, Preset, Spec};
use trimkv_trace::figures::{Plot, render};
use trimkv_trace::trace::grid::Grid;
use trimkv_trace::trace::manifest::Manifest;
use trimkv_trace::trace::read::Trace;
use trimkv_trace::trace::recording::Recording;
use trimkv_trace::trace::step::{Eviction, KvHead};
use trimkv_trace::training_log::{self, LayerFacts, LogRow};

use crate::run::Folder;

const SEEN: u32 = 23;

/// Two layers of three heads; every head a window of 5 tokens, and head L1H2 keeps the first token besides.
fn run() -> (Manifest, Recording) {
    let manifest = r#"{"schema": "trimkv-trace/1", "id": "small", "model": {"layers": 2, "kv_heads": 3},
                       "policy": {"name": "trimkv", "budget": 5, "buffer": 1}}"#;
    let manifest: Manifest = serde_json::from_str(manifest).unwrap();
    let shape = manifest.shape();
    let mut recording = Recording::new(shape);
    let betas = (0..shape.heads() as u32 * SEEN).map(|cell| -0.01 * (1 + cell % 17) as f32).collect();
    recording.lifetimes.open(SEEN, Grid::from_cells(shape.heads(), SEEN as usize, betas).as_ref()).unwrap();
    for head in shape.iter() {
        for position in 0..SEEN - 5 {
            if head != (KvHead { layer: 1, head: 2 }) || position > 0 {
                recording.lifetimes.close(Eviction { head, position, at: position + 6, score: 0.0 }).unwrap();
            }
        }
    }
    (manifest, recording)
}

fn spec(preset: Preset, output: &str) -> Spec {
    Spec { heads: vec!["L0H1".to_owned(), "L1H2".to_owned()], ..Spec::new(preset, "small", output) }
}

#[test]
fn a_figure_has_the_same_bytes_every_time_in_every_format() {
    let (manifest, recording) = run();
    for (format, starts) in [(Format::Pdf, &b"%PDF-1."[..]), (Format::Svg, b"<?xml"), (Format::Png, b"\x89PNG\r\n")] {
        let bytes = || {
            let mut spec = spec(Preset::Fig4, "f");
            let plot = Fig4::new(&mut spec, &manifest, &recording).unwrap();
            render(&plot, format, &spec).unwrap()
        };
        let first = bytes();
        assert!(first.starts_with(starts), "{format:?}");
        assert!(first == bytes(), "{format:?} differs from one time to the next");
        // A date would make tomorrow's bytes differ.
        let text = String::from_utf8_lossy(&first);
        assert!(!text.contains("CreationDate") && !text.contains("ModifyDate"), "{format:?}");
    }
}

#[test]
fn svg_has_one_bitmap_per_matrix_no_classes_and_no_fonts_to_find() {
    let (manifest, recording) = run();
    let mut spec = spec(Preset::Fig4, "f.svg");
    let plot = Fig4::new(&mut spec, &manifest, &recording).unwrap();
    let svg = String::from_utf8(render(&plot, Format::Svg, &spec).unwrap()).unwrap();
    // Two heads, two rows, and the bar of the legend.
    assert_eq!(svg.matches("<image ").count(), 5);
    assert_eq!(svg.matches("image-rendering=\"pixelated\"").count(), 5);
    for absent in ["class=", "<style", "<text", "font-family"] {
        assert!(!svg.contains(absent), "{absent}");
    }
    for label in ["L0H1", "L1H2", "key position i", "query step t", "retention", "not yet born"] {
        assert!(svg.contains(&format!("aria-label=\"{label}\"")), "{label}");
    }
    assert!(svg.contains("width=\"396pt\""), "5.5 in are 396 pt");
}

/// The bitmap in an SVG, against the formula: pixel (i, t) of the upper row is the colour of `exp(log_beta (t - i))`.
#[test]
fn the_pixels_in_the_file_are_the_formula() {
    use base64::Engine as _;
    let (manifest, recording) = run();
    let mut spec = spec(Preset::Fig4, "f.svg");
    let plot = Fig4::new(&mut spec, &manifest, &recording).unwrap();
    let svg = String::from_utf8(render(&plot, Format::Svg, &spec).unwrap()).unwrap();
    let images: Vec<Vec<[u8; 3]>> = svg
        .split("data:image/png;base64,")
        .skip(1)
        .map(|rest| base64::engine::general_purpose::STANDARD.decode(rest.split('"').next().unwrap()).unwrap())
        .map(|png| pixels(&png))
        .collect();
    let head = KvHead { layer: 0, head: 1 };
    let log_beta = recording.lifetimes.log_beta(head);
    for t in 0..SEEN {
        for i in 0..=t {
            let cell = (t * SEEN + i) as usize;
            let retention = (log_beta[i as usize] * (t - i) as f32).exp();
            assert_eq!(images[0][cell], spec.colours.at(retention), "key {i} query {t}");
            let visible = recording.lifetimes.is_visible(head, i, t);
            assert_eq!(images[1][cell], spec.colours.at(f32::from(u8::from(visible))), "key {i} query {t}");
        }
        assert!((t + 1..SEEN).all(|i| images[0][(t * SEEN + i) as usize] == [255; 3]), "what is not born is paper");
    }
}

fn pixels(file: &[u8]) -> Vec<[u8; 3]> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!(info.color_type, png::ColorType::Rgb);
    bytes.as_chunks::<3>().0.to_vec()
}

#[test]
fn a_png_is_as_large_as_its_width_says() {
    let (manifest, recording) = run();
    let mut spec = Spec { width_in: 3.25, dpi: 200, ..spec(Preset::Fig4, "f.png") };
    let plot = Fig4::new(&mut spec, &manifest, &recording).unwrap();
    let file = render(&plot, Format::Png, &spec).unwrap();
    let reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().unwrap();
    assert_eq!(reader.info().width, 650);
    let dims = reader.info().pixel_dims.unwrap();
    assert_eq!((dims.xppu, dims.unit), (7874, png::Unit::Meter));
}

#[test]
fn a_first_token_that_is_kept_is_not_hidden_by_the_axis() {
    // So long a run that one token is narrower than a pixel and far narrower than the axis.
    let seen = 3000;
    let manifest = r#"{"schema": "trimkv-trace/1", "id": "sink", "model": {"layers": 1, "kv_heads": 2}, "policy": {"name": "window"}}"#;
    let manifest: Manifest = serde_json::from_str(manifest).unwrap();
    let mut recording = Recording::new(manifest.shape());
    let betas = Grid::from_cells(2, seen as usize, vec![-1.0; 2 * seen as usize]);
    recording.lifetimes.open(seen, betas.as_ref()).unwrap();
    for (head, first) in [(0, 0), (1, 1)] {
        let head = KvHead { layer: 0, head };
        for position in first..seen - 50 {
            recording.lifetimes.close(Eviction { head, position, at: position + 50, score: 0.0 }).unwrap();
        }
    }
    let kept = |head: &str| {
        let mut spec = Spec { heads: vec![head.to_owned()], dpi: 150, ..Spec::new(Preset::Fig4, "sink", "f.png") };
        let plot = Fig4::new(&mut spec, &manifest, &recording).unwrap();
        let image = pixels(&render(&plot, Format::Png, &spec).unwrap());
        let colour = spec.colours.at(1.0);
        (image.iter().filter(|&&pixel| pixel == colour).count(), image.len() / (spec.width_in * 150.0) as usize)
    };
    let ((without, _), (with, height)) = (kept("L0H0"), kept("L0H1"));
    assert!(with > without + height / 3, "{without} pixels kept, {with} with the first token, of {height} rows");
}

#[test]
fn values_beside_a_figure_are_those_of_the_trace() {
    let (manifest, recording) = run();
    let mut spec = spec(Preset::Fig4, "f.pdf");
    let csv = Fig4::new(&mut spec, &manifest, &recording).unwrap().csv();
    assert_eq!(csv.lines().count(), 1 + 2 * SEEN as usize);
    let lives = Lives::of(&recording.lifetimes, KvHead { layer: 1, head: 2 });
    for (line, position) in csv.lines().filter(|line| line.starts_with("1,2,")).zip(0..) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[3].parse::<f32>().unwrap(), lives.log_beta[position]);
        let gone = fields[5].parse().unwrap_or(u32::MAX);
        assert_eq!((fields[2], gone), (position.to_string().as_str(), lives.gone_at[position]));
    }
    let grid = GridFigure::new(&spec, &manifest, &recording).unwrap().csv();
    assert_eq!(grid.lines().last().unwrap().split(',').take(4).collect::<Vec<_>>(), ["1", "2", "6", "17"]);
}

fn traced(budget: &str) -> Folder {
    let folder = Folder::with_prompt("Mia has 4 apples. Tom buys 3. How many?\n");
    folder.run(&["prompt.txt", "--budget", budget, "--buffer", "4", "--max-new-tokens", "20", "--out", "trace"]).done();
    folder
}

#[test]
fn a_spec_makes_its_figure_again_byte_for_byte() {
    let folder = traced("12");
    fs::create_dir(folder.path("paper")).unwrap();
    for (preset, file) in [("fig4", "a.pdf"), ("grid", "b.svg"), ("text", "c.png")] {
        let output = format!("paper/{file}");
        let said = folder.run(&["figure", preset, "trace", "-o", &output, "--width", "3.25in"]).done();
        assert_eq!(said.stdout.trim(), output);
        let stem = folder.path("paper").join(file.split('.').next().unwrap());
        let (made, spec) = (fs::read(folder.path(&output)).unwrap(), stem.with_extension("json"));
        assert!(fs::read_to_string(stem.with_extension("tex")).unwrap().contains("width=3.25in"));
        assert!(fs::read_to_string(stem.with_extension("csv")).unwrap().lines().count() > 20);
        let written = fs::read(&spec).unwrap();
        fs::remove_file(folder.path(&output)).unwrap();
        // From another directory: the spec knows where the trace is.
        let mut command = folder.command(&["figure", "--spec", spec.file_name().unwrap().to_str().unwrap()]);
        assert!(command.current_dir(folder.path("paper")).output().unwrap().status.success());
        assert!(fs::read(folder.path(&output)).unwrap() == made, "{file} was made differently");
        assert!(fs::read(&spec).unwrap() == written, "the spec of {file} changed");
    }
}

#[test]
fn what_cannot_be_drawn_is_said_in_one_sentence() {
    let folder = traced("12");
    let refuse = |args: &[&str], words: &[&str]| {
        folder.refusal(args, words);
    };
    let fig4 = |more: &[&'static str]| [&["figure", "fig4", "trace", "-o"], more].concat();
    refuse(&fig4(&["f.pdf", "--heads", "L9H0"]), &["trace", "no head L9H0", "layers 0 to 5"]);
    refuse(&fig4(&["f.pdf", "--heads", "nine"]), &["\"nine\"", "L1H2"]);
    refuse(&fig4(&["f.jpg"]), &["f.jpg", ".pdf, .svg or .png"]);
    refuse(&fig4(&["nowhere/f.pdf"]), &["no directory nowhere"]);
    refuse(&fig4(&["f.pdf", "--width", "wide"]), &["\"wide\"", "3.25in"]);
    refuse(&fig4(&["f.pdf", "--width", "0.1in"]), &["0.1", "from 1 to 40"]);
    refuse(&fig4(&["f.pdf", "--width", "1in", "--font-size", "20"]), &["too narrow"]);
    refuse(&fig4(&["f.pdf", "--brace", "9-3:x"]), &["9-3:x", "FIRST-LAST"]);
    refuse(&["figure", "text", "trace", "-o", "f.pdf", "--circle", "verbs"], &["\"verbs\"", "sentence_end"]);
    refuse(&["figure", "text", "trace", "-o", "f.pdf", "--at", "9999"], &["--at"]);
    refuse(&["figure", "fig4", "prompt.txt", "-o", "f.pdf"], &["prompt.txt"]);
    refuse(&["figure", "--spec", "prompt.txt"], &["prompt.txt", "does not describe a figure"]);
    refuse(&["figure", "fig4", "trace"], &["--output"]);
    folder.write("f.json", "{\"mine\": true}");
    refuse(&fig4(&["f.pdf"]), &["f.json", "will not be replaced"]);
    assert!(!folder.path("f.pdf").exists());
}

#[test]
fn a_trace_without_gates_has_no_retention_but_has_its_cache() {
    let folder = Folder::new();
    let model = folder.copy_golden("models/qwen3-tiny");
    folder.write_ids("ids.json", &(1..40).collect::<Vec<u32>>());
    let model = model.to_str().unwrap();
    let args = ["--prompt-ids", "ids.json", "--model", model, "--policy", "window", "--budget", "8", "--out", "trace"];
    folder.run(&[&args[..], &["--max-new-tokens", "12", "--ignore-eos"]].concat()).done();
    folder.refusal(&["figure", "fig4", "trace", "-o", "f.pdf"], &["no log_beta", "grid or text"]);
    folder.refusal(&["figure", "text", "trace", "-o", "f.pdf"], &["no text"]);
    folder.run(&["figure", "grid", "trace", "-o", "f.pdf"]).done();
}

/// A training of 7 steps and 3 layers. The capacity loss is 0 at first, which a logarithmic axis must survive.
fn training() -> (Folder, Vec<LogRow>) {
    let layers = |step: u32| {
        let layer = |layer: u32| LayerFacts {
            soft_size: f64::from(90.5 - 7.25 * step as f32),
            last_soft_size: f64::from(120.0 - 11.0 * step as f32 + layer as f32),
            log_half_life: f64::from(7.0 - 0.3 * step as f32 - 0.7 * layer as f32),
        };
        (0..3).map(layer).collect()
    };
    let row = |step: u32| LogRow {
        step,
        kl: 0.3 / step as f32,
        ntp: 2.0 - 0.1 * step as f32,
        capacity: 0.7 * (step - 1) as f32,
        total: 1.0,
        rate: 2e-4 * step as f32,
        gradient_norm: 1.0,
        tokens: 512,
        seconds: step as f32,
        layers: layers(step),
    };
    let rows: Vec<LogRow> = (1..=7).map(row).collect();
    let folder = Folder::new();
    fs::create_dir(folder.path("gates")).unwrap();
    folder.write("gates/config.json", "{\"memory_size\": 29, \"buffer_size\": 8}");
    training_log::write(&folder.path("gates"), &rows).unwrap();
    (folder, rows)
}

#[test]
fn a_training_is_drawn_from_its_log() {
    let (folder, rows) = training();
    for ending in ["pdf", "svg", "png"] {
        let output = format!("f.{ending}");
        folder.run(&["figure", "training", "gates", "-o", &output]).done();
        let first = fs::read(folder.path(&output)).unwrap();
        folder.run(&["figure", "--spec", "f.json"]).done();
        assert!(fs::read(folder.path(&output)).unwrap() == first, "{ending} differs from one time to the next");
    }
    let svg = fs::read_to_string(folder.path("f.svg")).unwrap();
    for label in ["KL", "next token", "capacity", "budget M = 29", "layer 0", "half-life, tokens", "learning rate"] {
        assert!(svg.contains(&format!("aria-label=\"{label}\"")), "{label}");
    }
    let csv = fs::read_to_string(folder.path("f.csv")).unwrap();
    let (head, body) = csv.split_once('\n').unwrap();
    assert!(head.ends_with("learning_rate,log_half_life_0,log_half_life_1,log_half_life_2"), "{head}");
    let read: Vec<Vec<f32>> =
        body.lines().map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect();
    let logged = rows.iter().map(|row| {
        let [soft, last] = [row.soft_size(), row.last_soft_size()];
        let steps = [row.step as f32, row.kl, row.ntp, row.capacity, soft, last, row.rate];
        steps.into_iter().chain(row.layers.iter().map(|layer| layer.log_half_life as f32)).collect::<Vec<f32>>()
    });
    assert_eq!(read, logged.collect::<Vec<_>>());
    assert!(fs::read_to_string(folder.path("f.tex")).unwrap().contains("budget M = 29 tokens per KV head"));
}

#[test]
fn a_training_without_a_log_is_refused() {
    let (folder, rows) = training();
    let refuse = |words: &[&str]| {
        folder.refusal(&["figure", "training", "gates", "-o", "f.pdf"], words);
        assert!(!folder.path("f.pdf").exists() && !folder.path("f.json").exists());
    };
    folder.write("gates/config.json", "{}");
    refuse(&["config.json", "memory_size"]);
    folder.write("gates/config.json", "{\"memory_size\": 29}");
    training_log::write(&folder.path("gates"), &[]).unwrap();
    refuse(&["gates", "is empty"]);
    training_log::write(&folder.path("gates"), &rows).unwrap();
    fs::copy(folder.path("gates/training_layers.parquet"), folder.path("gates/training.parquet")).unwrap();
    refuse(&["training.parquet", "no column kl"]);
    fs::remove_file(folder.path("gates/training.parquet")).unwrap();
    refuse(&["gates has no training.parquet", "trimkv-trace train"]);
    folder.refusal(&["figure", "training", "gates", "-o", "f.pdf", "--width", "1in"], &["no training.parquet"]);
}

/// A run whose evictions are those of `log_beta x age`, cut every 4 tokens down to 9, with text and thresholds.
fn faded() -> (Manifest, Recording) {
    let folder = Folder::new();
    let sizes = ["--layers", "3", "--heads", "4", "--tokens", "300", "--budget", "9", "--buffer", "4"];
    folder.run(&[&["synth", "--out", "t"][..], &sizes].concat()).done();
    let trace = Trace::open(&folder.path("t")).unwrap();
    (trace.manifest, trace.recording)
}

fn made(preset: Preset, file: &str, asked: &[(&str, &str)]) -> Made {
    let (manifest, recording) = faded();
    let spec = Spec::asked(preset, "t", file, asked.iter().copied()).unwrap();
    make::of_run(spec, &Run { manifest: &manifest, recording: &recording, heads: None }).unwrap()
}

fn cells(csv: &str) -> impl Iterator<Item = Vec<&str>> {
    csv.lines().skip(1).map(|line| line.split(',').collect())
}

#[test]
fn every_preset_has_the_same_bytes_every_time_and_its_spec_makes_them_again() {
    let (manifest, recording) = faded();
    let run = Run { manifest: &manifest, recording: &recording, heads: None };
    for preset in Preset::ALL.into_iter().filter(|preset| *preset != Preset::Training) {
        for ending in ["pdf", "svg", "png"] {
            let asked = [("width", "3.25in"), ("dpi", "120")];
            let spec = Spec::asked(preset, "t", &format!("f.{ending}"), asked).unwrap();
            let first = make::of_run(spec, &run).unwrap();
            assert!(first == make::of_run(first.spec.clone(), &run).unwrap(), "{preset:?} as {ending}");
            let again: Spec = serde_json::from_str(&first.spec_json()).unwrap();
            assert_eq!(again, first.spec);
            assert!(first.csv.lines().count() > 12 && first.tex.contains("width=3.25in"), "{preset:?}");
        }
    }
}

/// In a picture of a life line every token leaves at the first cut whose threshold is above its score.
#[test]
fn life_lines_end_where_they_meet_the_threshold() {
    let made = made(Preset::Lifeline, "f.svg", &[("heads", "L0H3,L1H2"), ("letters", "")]);
    assert_eq!(made.spec.positions.len(), 4, "{:?}", made.spec.positions);
    let (_, recording) = faded();
    let mut left = 0;
    for row in cells(&made.csv) {
        let [layer, head] = [row[0], row[1]].map(|cell| cell.parse().unwrap());
        let (at, threshold): (u32, f64) = (row[2].parse().unwrap(), row[3].parse().unwrap());
        for (position, score) in made.spec.positions.iter().zip(&row[4..]).filter(|(_, score)| !score.is_empty()) {
            let evicted = recording.lifetimes.evicted_at(KvHead { layer, head }, *position) == Some(at);
            let score: f64 = score.parse().unwrap();
            let below = score < threshold - 1e-5 * threshold.abs();
            let above = score > threshold + 1e-5 * threshold.abs();
            assert!(if evicted { !above } else { !below }, "{position} at {at}: {score} against {threshold}");
            left += usize::from(evicted);
        }
    }
    assert!(left >= 3, "{left}");
    let svg = String::from_utf8(made.bytes).unwrap();
    for label in
        ["a  L0H3: score log β · age, nats", "b  L1H2: score log β · age, nats", "tokens seen", "grey: evicted"]
    {
        assert!(svg.contains(&format!("aria-label=\"{label}\"")), "{label}");
    }
}

#[test]
fn retention_is_the_exponential_of_the_score_and_one_head_has_two_names() {
    let asked = [("layer", "0"), ("head", "3"), ("position", "5,200"), ("retention", "")];
    let made = made(Preset::Lifeline, "f.svg", &asked);
    assert_eq!((made.spec.heads.as_slice(), made.spec.positions.as_slice()), (&["L0H3".to_owned()][..], &[5, 200][..]));
    assert!(String::from_utf8(made.bytes).unwrap().contains("aria-label=\"L0H3: retention β^age\""));
}

#[test]
fn entries_in_the_picture_of_budgets_are_those_of_the_cuts_table() {
    let made = made(Preset::Budget, "f.svg", &[]);
    let (_, recording) = faded();
    let mut told = 0;
    for row in cells(&made.csv).filter(|row| row[2] != "300") {
        let number = |cell: &str| cell.parse::<u32>().unwrap();
        let head = KvHead { layer: number(row[0]) as u16, head: number(row[1]) as u16 };
        let cut = recording.cuts.iter().find(|cut| cut.head.head == head && cut.tokens_seen == number(row[2])).unwrap();
        assert_eq!((number(row[3]), number(row[4])), (cut.head.cached_before, cut.head.kept));
        told += 1;
    }
    assert!(told > 500, "{told}");
    let svg = String::from_utf8(made.bytes).unwrap();
    // The strip and its colour bar; 13 entries are the end of the scale.
    assert_eq!(svg.matches("<image ").count(), 2);
    for label in ["M = 9", "M + 4", "13 or more", "ticks: cuts", "layer"] {
        assert!(svg.contains(&format!("aria-label=\"{label}\"")), "{label}");
    }
}

#[test]
fn planted_roles_stand_in_the_layers_they_were_planted_in() {
    let folder = Folder::new();
    let plant = "window,window,window,gist,gist,frozen";
    folder.run(&["synth", "--out", "t", "--layers", "2", "--heads", "3", "--plant", plant]).done();
    folder.run(&["figure", "roles", "t", "-o", "f.svg", "--letters", "--y", "half_life"]).done();
    let csv = fs::read_to_string(folder.path("f.csv")).unwrap();
    assert!(csv.starts_with("layer,head,role,also,purity,half_life\n"), "{csv}");
    let roles: Vec<&str> = cells(&csv).map(|row| row[2]).collect();
    assert_eq!(roles, ["window", "window", "window", "gist", "gist", "frozen"]);
    let svg = fs::read_to_string(folder.path("f.svg")).unwrap();
    for label in ["window (3)", "gist (2)", "frozen (1)", "b  median half-life, tokens", "window purity"] {
        assert!(svg.contains(&format!("aria-label=\"{label}\"")), "{label}");
    }
    assert!(!svg.contains("mixed"), "no head has that role");
    // Each head is a mark in a cell of layer and role, and a mark in the scatter; each role one in the legend.
    let of = |rgb: [u8; 3]| svg.matches(&format!("fill=\"#{:02x}{:02x}{:02x}\"", rgb[0], rgb[1], rgb[2])).count();
    let colour = trimkv_trace::figures::mark::colour;
    use trimkv_trace::analysis::roles::Role;
    assert_eq!(of(colour(Role::Window)), 1 + 3 + 1);
    assert_eq!(of(colour(Role::Frozen)), 1 + 1 + 1);

    let by_layer: serde_json::Value =
        serde_json::from_str(&folder.run(&["heads", "t", "--by-layer", "--json"]).done().stdout).unwrap();
    assert_eq!((&by_layer[0]["roles"]["window"], &by_layer[1]["roles"]["gist"]), (&3.into(), &2.into()));
    let table = folder.run(&["heads", "t", "--by-layer"]).done().stdout;
    assert!(table.lines().nth(1).unwrap().split_whitespace().eq(["0", "3", "·", "·"]), "{table}");
    let both = folder.run(&["heads", "t", "t", "--by-layer", "--csv"]).done().stdout;
    assert!(both.lines().nth(1).unwrap().starts_with("0,6,0,6,"), "{both}");
}

#[test]
fn what_the_new_presets_cannot_show_is_said_in_one_sentence() {
    let folder = traced("12");
    let refuse = |args: &[&'static str], words: &[&str]| {
        folder.refusal(&[&["figure"], args, &["-o", "f.pdf"]].concat(), words);
    };
    refuse(&["lifeline", "trace", "--position", "9999"], &["9999", "--position"]);
    refuse(&["lifeline", "trace", "--position", "1,2,3,4,5,6,7"], &["--position", "to 6"]);
    refuse(&["lifeline", "trace", "--layer", "1"], &["--layer and --head", "L1H2"]);
    refuse(&["roles", "trace", "--x", "beauty"], &["\"beauty\"", "purity, old_share"]);
    refuse(&["fig4", "trace", "--circle", "digit"], &["fig4 makes no use of --circle", "for text"]);
    refuse(&["text", "trace", "--brace", "0-3:x"], &["text makes no use of --brace"]);
    refuse(&["grid", "trace", "--heads", "L0H0"], &["grid makes no use of --heads"]);
    refuse(&["budget", "trace", "--width", "1in"], &["too narrow"]);
    refuse(&["fig4", "trace", "--width", "NaNin"], &["NaN", "from 1 to 40"]);
    let ids = ["--policy", "window", "--budget", "8", "--buffer", "2", "--out", "recent"];
    folder.run(&[&["prompt.txt", "--max-new-tokens", "9"][..], &ids].concat()).done();
    refuse(&["lifeline", "recent"], &["recent", "window", "not log beta x age"]);
    assert!(!folder.path("f.pdf").exists() && !folder.path("f.json").exists());
}
