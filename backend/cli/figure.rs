//! `trimkv-trace figure`: a figure, and beside it what it was made from, its values, and a LaTeX snippet.

use std::fs;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NameError, StrDeserializer};

use super::printer::Printer;
use crate::figures::fig4::Fig4;
use crate::figures::grid::Grid;
use crate::figures::spec::{Brace, Format, Preset, SCHEMA, Spec, inches};
use crate::figures::text::Text;
use crate::figures::training::Training;
use crate::figures::{FigureError, Plot, render, tex};
use crate::text::class::TokenClass;
use crate::trace::error::TraceError;
use crate::trace::files::write_whole;
use crate::trace::read::Trace;
use crate::training_log::TrainingLog;

/// `trimkv-trace figure`.
#[derive(Debug, Args)]
pub struct FigureArgs {
    /// Which figure: fig4 (retention over kept), grid (every head), text (one head's tokens in the prose) or training
    /// (losses, cache size and half-lives over the steps of a training)
    #[arg(required_unless_present = "spec", value_parser = ["fig4", "grid", "text", "training"])]
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

/// What a figure shows, and how.
#[derive(Debug, Args)]
#[group(id = "look", multiple = true, conflicts_with = "spec")]
pub struct LookArgs {
    /// Heads to show, such as L1H2,L3H0 [default: those that differ most]
    #[arg(long, value_name = "HEADS", value_delimiter = ',')]
    pub heads: Vec<String>,
    /// Width at final size: 3.25in (a column), 5.5in, 6.75in, 82.5mm [default: 5.5in]
    #[arg(long, value_name = "WIDTH")]
    pub width: Option<String>,
    /// Text size in points [default: 8]
    #[arg(long, value_name = "POINTS")]
    pub font_size: Option<f32>,
    /// Pixels per inch of a PNG, and the finest that a matrix gets [default: 300]
    #[arg(long, value_name = "N")]
    pub dpi: Option<u32>,
    /// Colour scale: viridis, cividis or grey [default: viridis]
    #[arg(long, value_name = "NAME", value_parser = ["viridis", "cividis", "grey"])]
    pub colours: Option<String>,
    /// What a pixel shows of several tokens: max (is a survivor here?) or mean (how many?) [default: max]
    #[arg(long, value_name = "RULE", value_parser = ["max", "mean"])]
    pub pool: Option<String>,
    /// text: the moment to show, in tokens seen [default: the end]
    #[arg(long, value_name = "TOKENS")]
    pub at: Option<u32>,
    /// text: token classes to circle, such as sentence_end,digit
    #[arg(long, value_name = "CLASSES", value_delimiter = ',')]
    pub circle: Vec<String>,
    /// fig4: mark a range of positions, such as 0-31:prompt
    #[arg(long, value_name = "FIRST-LAST:LABEL")]
    pub brace: Vec<String>,
    /// fig4: letter the panels a, b, c
    #[arg(long)]
    pub letters: bool,
}

/// Makes a figure and the files beside it, and prints its path.
///
/// # Errors
/// When the trace cannot be read, lacks what the figure shows, or a file cannot be written.
pub fn run(args: &FigureArgs, printer: &Printer) -> Result<()> {
    let (mut spec, spec_home) = match &args.spec {
        Some(path) => read_spec(path)?,
        None => (new_spec(args)?, PathBuf::new()),
    };
    let trace_path = if args.spec.is_some() { spec_home.join(&spec.trace) } else { PathBuf::from(&spec.trace) };
    let output = match &args.output {
        Some(path) => path.clone(),
        None => spec_home.join(&spec.output),
    };
    // Before the work: a name that cannot be written is found out at once.
    let format = Format::of(&output.to_string_lossy())?;
    let home = output.parent().unwrap_or(Path::new("")).to_owned();
    check_target(&output, &home)?;
    spec.output = output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    spec.check()?;

    let made_before = args.spec.is_some() && !spec.run.is_empty();
    // What the figure is made of is known by its run from here on.
    let settle = |spec: &mut Spec, run: String| {
        if made_before && spec.run != run {
            let path = trace_path.display();
            printer.warning(&format!("the figure was made from run {}, and {path} holds run {run}", spec.run));
        }
        spec.trace = relative(&home, &trace_path);
        spec.run = run;
    };
    let open = |spec: &mut Spec| -> Result<Trace> {
        let trace = Trace::open(&trace_path)?;
        settle(spec, trace.manifest.id.clone());
        Ok(trace)
    };
    let told = |error| at(&trace_path, error);
    match spec.preset {
        Preset::Fig4 => {
            let trace = open(&mut spec)?;
            let plot = Fig4::new(&mut spec, &trace.manifest, &trace.recording).map_err(told)?;
            write_all(&plot, format, &spec, &output)?;
        }
        Preset::Grid => {
            let trace = open(&mut spec)?;
            let plot = Grid::new(&spec, &trace.manifest, &trace.recording).map_err(told)?;
            write_all(&plot, format, &spec, &output)?;
        }
        Preset::Text => {
            let trace = open(&mut spec)?;
            let plot = Text::new(&mut spec, &trace.manifest, &trace.recording).map_err(told)?;
            warn_of_missing(&plot.missing_characters(), printer);
            write_all(&plot, format, &spec, &output)?;
        }
        Preset::Training => {
            let log = TrainingLog::open(&trace_path)?;
            settle(&mut spec, log.name());
            write_all(&Training::new(&spec, log)?, format, &spec, &output)?;
        }
    }
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

/// A value of an enum by the name it has in specs. clap has checked the name.
fn named<T: for<'de> Deserialize<'de>>(name: &str) -> Result<T> {
    let name: StrDeserializer<'_, NameError> = name.into_deserializer();
    Ok(T::deserialize(name)?)
}

fn new_spec(args: &FigureArgs) -> Result<Spec> {
    let preset: Preset = named(args.preset.as_deref().unwrap_or_default())?;
    let trace = args.trace.as_deref().unwrap_or(Path::new("")).to_string_lossy();
    let look = &args.look;
    let mut spec = Spec::new(preset, &trace, "");
    if let Some(width) = &look.width {
        spec.width_in = inches(width)?;
    }
    spec.font_pt = look.font_size.unwrap_or(spec.font_pt);
    spec.dpi = look.dpi.unwrap_or(spec.dpi);
    if let Some(name) = &look.colours {
        spec.colours = named(name)?;
    }
    if let Some(name) = &look.pool {
        spec.pooling = named(name)?;
    }
    spec.heads = look.heads.clone();
    spec.braces = look.brace.iter().map(|text| text.parse::<Brace>()).collect::<Result<_, _>>()?;
    spec.letters = look.letters;
    spec.at = look.at;
    spec.circle = look.circle.clone();
    for class in &spec.circle {
        if !TokenClass::ALL.iter().any(|known| known.as_str() == class) {
            let known = TokenClass::ALL.map(TokenClass::as_str).join(", ");
            bail!("{class:?} is no token class; there are {known}");
        }
    }
    Ok(spec)
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

fn write_all(plot: &impl Plot, format: Format, spec: &Spec, output: &Path) -> Result<()> {
    let bytes = render(plot, format, spec)?;
    let mut json = serde_json::to_string_pretty(spec)?;
    json.push('\n');
    write(output, &bytes)?;
    write(&beside(output, "json"), json.as_bytes())?;
    write(&beside(output, "csv"), plot.csv().as_bytes())?;
    write(&beside(output, "tex"), tex::snippet(&spec.output, spec.width_in, &plot.caption()).as_bytes())
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
