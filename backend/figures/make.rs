//! A figure and everything beside it, in memory: what `trimkv-trace figure` writes to files, and what a server answers.
//!
//! A caller reads the trace (or a training's log), asks for a [`Spec`] and gets bytes; nothing here touches files.

use super::budget::Budget;
use super::fig4::Fig4;
use super::grid::Grid;
use super::lifeline::Lifeline;
use super::preset::Preset;
use super::roles::Roles;
use super::spec::{Format, Spec};
use super::text::Text;
use super::training::Training;
use super::{FigureError, Plot, render, tex};
use crate::analysis::reading::HeadReading;
use crate::trace::manifest::Manifest;
use crate::trace::recording::Recording;
use crate::training_log::TrainingLog;

/// A run to draw.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// What was run.
    pub manifest: &'a Manifest,
    /// What happened.
    pub recording: &'a Recording,
    /// Its heads, layer by layer, where the caller has read them already; they are read anew when a figure needs them.
    pub heads: Option<&'a [HeadReading]>,
}

/// A finished figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The file, in the format that the spec's output ends in.
    pub bytes: Vec<u8>,
    /// What makes the same bytes again: the spec asked for, with what was left to choose filled in.
    pub spec: Spec,
    /// The plotted values.
    pub csv: String,
    /// A LaTeX float with a caption draft.
    pub tex: String,
    /// Characters that the fonts lack, each once; they are drawn as boxes.
    pub missing_characters: Vec<char>,
}

impl Made {
    /// The spec as the file beside the figure.
    pub fn spec_json(&self) -> String {
        // A spec holds numbers, names and lists of them, which always have a JSON.
        serde_json::to_string_pretty(&self.spec).map_or(String::new(), |json| json + "\n")
    }
}

/// Makes a figure of a run. The spec's `run` becomes the run's name.
///
/// # Errors
/// When the run lacks what the figure shows, the spec asks for what is not there, or nothing can be drawn so small.
pub fn of_run(mut spec: Spec, run: &Run<'_>) -> Result<Made, FigureError> {
    spec.check()?;
    run.manifest.id.clone_into(&mut spec.run);
    let (manifest, recording) = (run.manifest, run.recording);
    match spec.preset {
        Preset::Fig4 => made(&Fig4::new(&mut spec, manifest, recording)?, spec),
        Preset::Grid => made(&Grid::new(&spec, manifest, recording)?, spec),
        Preset::Text => made(&Text::new(&mut spec, manifest, recording)?, spec),
        Preset::Budget => made(&Budget::new(&spec, manifest, recording)?, spec),
        Preset::Lifeline => made(&Lifeline::new(&mut spec, manifest, recording)?, spec),
        Preset::Roles => made(&Roles::new(&mut spec, run)?, spec),
        Preset::Training => Err(FigureError::NotOfARun),
    }
}

/// Makes the figure of a training of gates.
///
/// # Errors
/// When the spec is of another figure, or the figure does not fit its width.
pub fn of_training(mut spec: Spec, log: TrainingLog) -> Result<Made, FigureError> {
    spec.check()?;
    if spec.preset != Preset::Training {
        return Err(FigureError::OfARun(spec.preset));
    }
    spec.run = log.name();
    made(&Training::new(&spec, log)?, spec)
}

fn made(plot: &impl Plot, spec: Spec) -> Result<Made, FigureError> {
    let bytes = render(plot, Format::of(&spec.output)?, &spec)?;
    let tex = tex::snippet(&spec.output, spec.width_in, &plot.caption());
    Ok(Made { bytes, csv: plot.csv(), tex, missing_characters: plot.missing_characters(), spec })
}
