//! `trimkv-trace figure`: a figure, and beside it what it was made from, its values, and a LaTeX snippet.

use std::fs;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::printer::Printer;
use crate::figures::FigureError;
use crate::figures::make::{self, Made};
use crate::figures::spec::{Format, Preset, SCHEMA, Spec};
use crate::trace::error::TraceError;
use crate::trace::files::write_whole;
use crate::trace::read::Trace;
use crate::training_log::TrainingLog;

/// `trimkv-trace figure`.
#[derive(Debug, Args)]
pub struct FigureArgs {
    /// Which figure: fig4 (retention over kept), grid (every head), text (one head's tokens in the prose), lifeline (how
    /// tokens fade until they are evicted), roles (what heads do, by layer), budget (entries held over time) or training
    /// (losses, cache size and half-lives over the steps of a training)
    #[arg(required_unless_present = "spec", value_parser = Preset::ALL.map(Preset::as_str))]
    pub preset: Option<String>,
    /// The trace's directory; for training, the directory that train wrote
    #[arg(required_unless_present = "spec")]
    pub trace: Option<PathBuf>,
    /// File to write, ending in .pdf, .svg or .png; an older figure of that name is replaced
    #[arg(short, long, value_name = "FILE", required_unless_present = "spec")]
    pub output: Option<PathBuf>,
    /// Make the figure that this file describes again
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["preset", "trace"])]
    pub spec: Option<PathBuf>,

    /// What it shows, and how
    #[command(flatten)]
    pub look: LookArgs,
}

/// What a figure shows, and how. Values are read by [`Spec::asked`], which names them as these flags are named.
#[derive(Debug, Args)]
#[group(id = "look", multiple = true, conflicts_with = "spec")]
pub struct LookArgs {
    /// Width at final size: 3.25in (a column), 5.5in, 6.75in, 82.5mm [default: 5.5in]
    #[arg(long, value_name = "WIDTH")]
    pub width: Option<String>,
    /// Text size in points [default: 8]
    #[arg(long, value_name = "POINTS")]
    pub font_size: Option<String>,
    /// Pixels per inch of a PNG, and the finest that a matrix gets [default: 300]
    #[arg(long, value_name = "N")]
    pub dpi: Option<String>,
    /// Letter the panels a, b, c
    #[arg(long)]
    pub letters: bool,
    /// Colour scale: viridis, cividis or grey [default: viridis]
    #[arg(long, value_name = "NAME")]
    pub colours: Option<String>,
    /// fig4, grid, budget: what a pixel shows of several tokens: max (is a survivor here?) or mean (how many?)
    /// [default: max]
    #[arg(long, value_name = "RULE")]
    pub pool: Option<String>,
    /// fig4, text, lifeline: heads to show, such as L1H2,L3H0 [default: those that differ most, or the one least like a
    /// window]
    #[arg(long, value_name = "HEADS")]
    pub heads: Vec<String>,
    /// With --head, another way to name one head
    #[arg(long, value_name = "N")]
    pub layer: Option<String>,
    /// With --layer, another way to name one head
    #[arg(long, value_name = "N")]
    pub head: Option<String>,
    /// lifeline: tokens to follow [default: the oldest one held at the end, and evicted ones of different ages]
    #[arg(long, value_name = "POSITIONS")]
    pub position: Vec<String>,
    /// lifeline: show retention, from 1 to 0, instead of its logarithm, the score
    #[arg(long)]
    pub retention: bool,
    /// text: the moment to show, in tokens seen [default: the end]
    #[arg(long, value_name = "TOKENS")]
    pub at: Option<String>,
    /// text: token classes to circle, such as sentence_end,digit
    #[arg(long, value_name = "CLASSES")]
    pub circle: Vec<String>,
    /// fig4: mark a range of positions, such as 0-31:prompt
    #[arg(long, value_name = "FIRST-LAST:LABEL")]
    pub brace: Vec<String>,
    /// roles: the score across, such as purity, admission, half_life [default: purity]
    #[arg(long, value_name = "SCORE")]
    pub x: Option<String>,
    /// roles: the score upwards [default: age_evicted]
    #[arg(long, value_name = "SCORE")]
    pub y: Option<String>,
}

impl LookArgs {
    fn asked(&self) -> Vec<(&'static str, &str)> {
        let values = [
            ("width", self.width.as_deref()),
            ("font-size", self.font_size.as_deref()),
            ("dpi", self.dpi.as_deref()),
            ("colours", self.colours.as_deref()),
            ("pool", self.pool.as_deref()),
            ("layer", self.layer.as_deref()),
            ("head", self.head.as_deref()),
            ("at", self.at.as_deref()),
            ("x", self.x.as_deref()),
            ("y", self.y.as_deref()),
            ("letters", self.letters.then_some("")),
            ("retention", self.retention.then_some("")),
        ];
        let lists =
            [("heads", &self.heads), ("position", &self.position), ("circle", &self.circle), ("brace", &self.brace)];
        let lists = lists.into_iter().flat_map(|(flag, list)| list.iter().map(move |value| (flag, value.as_str())));
        let values = values.into_iter().filter_map(|(flag, value)| Some((flag, value?)));
        values.chain(lists).collect()
    }
}

/// Makes a figure and the files beside it, and prints its path.
///
/// # Errors
/// When the trace cannot be read, lacks what the figure shows, or a file cannot be written.
pub fn run(args: &FigureArgs, printer: &Printer) -> Result<()> {
    // Before the work: a name that cannot be written is found out at once.
    let (mut spec, spec_home) = match &args.spec {
        Some(path) => read_spec(path)?,
        None => (new_spec(args)?, PathBuf::new()),
    };
    let trace_path = if args.spec.is_some() { spec_home.join(&spec.trace) } else { PathBuf::from(&spec.trace) };
    let output = match &args.output {
        Some(path) => path.clone(),
        None => spec_home.join(&spec.output),
    };
    Format::of(&output.to_string_lossy())?;
    let home = output.parent().unwrap_or(Path::new("")).to_owned();
    check_target(&output, &home)?;
    spec.output = output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let made_before = (args.spec.is_some() && !spec.run.is_empty()).then(|| spec.run.clone());
    spec.trace = relative(&home, &trace_path);

    let made = if spec.preset == Preset::Training {
        make::of_training(spec, TrainingLog::open(&trace_path)?)?
    } else {
        let Trace { manifest, recording, .. } = &Trace::open(&trace_path)?;
        let run = make::Run { manifest, recording, heads: None };
        make::of_run(spec, &run).map_err(|error| at(&trace_path, error))?
    };
    if let Some(before) = made_before.filter(|before| *before != made.spec.run) {
        let (path, run) = (trace_path.display(), &made.spec.run);
        printer.warning(&format!("the figure was made from run {before}, and {path} holds run {run}"));
    }
    warn_of_missing(&made.missing_characters, printer);
    write_all(&made, &output)?;
    printer.line(&output.display().to_string());
    let beside = ["json", "csv", "tex"].map(|ending| beside(&output, ending).display().to_string()).join(", ");
    printer.note(&format!("beside it: {beside}"));
    Ok(())
}

fn warn_of_missing(missing: &[char], printer: &Printer) {
    if !missing.is_empty() {
        let some: String = missing.iter().take(12).collect();
        let more = if missing.len() > 12 { " and more" } else { "" };
        printer.warning(&format!("the figure's font lacks {some}{more}; they are drawn as boxes"));
    }
}

/// A figure's complaint about a trace names the trace.
fn at(trace: &Path, error: FigureError) -> anyhow::Error {
    match error {
        FigureError::Empty | FigureError::NoGates(_) | FigureError::Lacks(_) | FigureError::NoSuchHead { .. } => {
            anyhow::anyhow!("{}: {error}", trace.display())
        }
        error => error.into(),
    }
}

fn new_spec(args: &FigureArgs) -> Result<Spec> {
    let preset = Preset::named(args.preset.as_deref().unwrap_or_default())?;
    let trace = args.trace.as_deref().unwrap_or(Path::new("")).to_string_lossy();
    Ok(Spec::asked(preset, &trace, "", args.look.asked())?)
}

fn read_spec(path: &Path) -> Result<(Spec, PathBuf)> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let spec: Spec = serde_json::from_str(&text)
        .with_context(|| format!("{} does not describe a figure of this version", path.display()))?;
    Ok((spec, path.parent().unwrap_or(Path::new("")).to_owned()))
}

/// Refuses a directory that is not there, and to replace a JSON file that is no figure's.
fn check_target(output: &Path, home: &Path) -> Result<()> {
    if !home.as_os_str().is_empty() && !home.is_dir() {
        bail!("there is no directory {} to write to; make it, or choose another with --output", home.display());
    }
    if output.is_dir() {
        bail!("{} is a directory; give --output a file name", output.display());
    }
    let json = beside(output, "json");
    let Ok(text) = fs::read_to_string(&json) else {
        return Ok(());
    };
    let schema = serde_json::from_str::<serde_json::Value>(&text).ok();
    let schema = schema.as_ref().and_then(|value| value.get("schema")?.as_str());
    if schema.is_none_or(|schema| !schema.starts_with("trimkv-figure/")) {
        bail!(
            "{} is there and is no {SCHEMA} file, so it will not be replaced; choose another name with --output",
            json.display()
        );
    }
    Ok(())
}

fn beside(output: &Path, ending: &str) -> PathBuf {
    output.with_extension(ending)
}

fn write_all(made: &Made, output: &Path) -> Result<()> {
    write(output, &made.bytes)?;
    write(&beside(output, "json"), made.spec_json().as_bytes())?;
    write(&beside(output, "csv"), made.csv.as_bytes())?;
    write(&beside(output, "tex"), made.tex.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| TraceError::write(path, &error);
    Ok(write_whole(path, |file| file.write_all(bytes).map_err(failed))?)
}

/// How to get from a directory to a path, so that figures and traces can be moved together. The path as it is when
/// either cannot be found.
fn relative(from: &Path, to: &Path) -> String {
    let from = if from.as_os_str().is_empty() { Path::new(".") } else { from };
    let (Ok(from), Ok(found)) = (from.canonicalize(), to.canonicalize()) else {
        return to.to_string_lossy().into_owned();
    };
    let shared = from.components().zip(found.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(found.components().skip(shared)).collect();
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_finds_its_trace_from_where_it_is() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["figures", "traces/a"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let [from, to] = ["figures", "traces/a"].map(|name| root.path().join(name));
        assert_eq!(relative(&from, &to), "../traces/a");
        assert_eq!(relative(&from, Path::new("nowhere/at/all")), "nowhere/at/all");
    }
}
