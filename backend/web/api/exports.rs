//! A trace on paper and in one file: the figures and the report, as the command line makes them.

use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_DISPOSITION;
use axum::response::Response;

use super::asked::{Asked, Key};
use super::{Turn, answer};
use crate::figures::FigureError;
use crate::figures::make::{Run, of_run};
use crate::figures::preset::Preset;
use crate::figures::spec::{Format, Spec};
use crate::report::{self, ReportError};
use crate::web::assets;
use crate::web::error::ApiError;
use crate::web::router::Dashboard;

impl From<FigureError> for ApiError {
    fn from(error: FigureError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::NoLayer { .. } => Self::BadRequest(error.to_string()),
            ReportError::Page(error) => Self::Internal(error.to_string()),
        }
    }
}

/// `GET /api/traces/KEY/figure/PRESET.EXT?...`: the query's names are the flags of `trimkv-trace figure`. `EXT` may also be
/// `csv`, `json` or `tex`, for what the command line writes beside the figure.
pub async fn figure(
    State(dashboard): State<Dashboard>,
    Key(key): Key,
    Path((_, file)): Path<(String, String)>,
    Query(flags): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let (name, ending) = file.rsplit_once('.').unwrap_or((&file, ""));
    let preset = Preset::named(name).map_err(|error| ApiError::NotFound(error.to_string()))?;
    let beside = matches!(ending, "csv" | "json" | "tex");
    let output = if beside { format!("{name}.pdf") } else { file.clone() };
    let media_type = media_type(ending, &file)?;
    let asked: Vec<(&str, &str)> = flags.iter().map(|(flag, value)| (flag.as_str(), value.as_str())).collect();
    let spec = Spec::asked(preset, &key, &output, asked)?;
    let (kind, title) = (ending.to_owned(), format!("{key}-{file}"));
    let what = format!("figure {file} {flags:?}");
    let made = answer(&dashboard, key, (Turn::Analysis, media_type), what, move |library, entry| {
        let trace = library.whole(entry)?;
        let made = of_run(spec.clone(), &Run { manifest: &trace.manifest, recording: &trace.recording, heads: None })?;
        Ok(match kind.as_str() {
            "csv" => made.csv.into_bytes(),
            "json" => made.spec_json().into_bytes(),
            "tex" => made.tex.into_bytes(),
            _ => made.bytes,
        })
    })
    .await?;
    Ok(named(made, &title))
}

fn media_type(ending: &str, file: &str) -> Result<&'static str, ApiError> {
    match ending {
        "csv" => return Ok("text/csv; charset=utf-8"),
        "json" => return Ok("application/json"),
        "tex" => return Ok("text/x-tex; charset=utf-8"),
        _ => {}
    }
    Ok(match Format::of(file)? {
        Format::Pdf => "application/pdf",
        Format::Svg => "image/svg+xml",
        Format::Png => "image/png",
    })
}

/// Layers to tell token by token, separated by commas.
#[derive(Debug, serde::Deserialize)]
pub struct Layers {
    #[serde(default)]
    layers: String,
}

/// `GET /api/traces/KEY/report.html?layers=4,30`
pub async fn report(
    State(dashboard): State<Dashboard>,
    Key(key): Key,
    Asked(Layers { layers }): Asked<Layers>,
) -> Result<Response, ApiError> {
    let wrong = || ApiError::BadRequest(format!("layers={layers} is no list of layers; give numbers such as 4,30"));
    let asked: Vec<u16> = layers
        .split(',')
        .filter(|layer| !layer.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    let title = format!("{key}.html");
    let what = format!("report {asked:?}");
    let made = answer(&dashboard, key, (Turn::Analysis, "text/html; charset=utf-8"), what, move |library, entry| {
        Ok(report::of_trace(&library.whole(entry)?, None, &asked, assets::read)?.into_bytes())
    })
    .await?;
    Ok(named(made, &title))
}

/// An answer that browsers keep as a file of this name.
fn named(mut answer: Response, name: &str) -> Response {
    if let Ok(disposition) = format!("attachment; filename=\"{}\"", name.replace(['"', '\\'], "_")).parse() {
        answer.headers_mut().insert(CONTENT_DISPOSITION, disposition);
    }
    answer
}
