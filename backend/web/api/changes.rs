//! Traces that come and go.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use axum::Json;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::asked::{Body, Key};
use super::{blocking, json};
use crate::trace::error::TraceError;
use crate::trace::files::name;
use crate::trace::read::{read_manifest, standing};
use crate::trace::reader::TraceReader;
use crate::web::error::ApiError;
use crate::web::library::{Source, is_trace};
use crate::web::router::Dashboard;

/// Largest dropped trace, and the most that all of them may take on disk.
pub const DROPPED_BYTES: usize = 2 << 30;
/// Most dropped traces.
const MOST_DROPPED: usize = 64;

type Named = Json<BTreeMap<&'static str, String>>;

/// `DELETE /api/traces/KEY`
pub async fn delete(State(dashboard): State<Dashboard>, Key(key): Key) -> Result<StatusCode, ApiError> {
    blocking(&dashboard, move |shared| shared.library.delete(&key)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/traces/KEY/restore`
pub async fn restore(State(dashboard): State<Dashboard>, Key(key): Key) -> Result<StatusCode, ApiError> {
    blocking(&dashboard, move |shared| shared.library.restore(&key)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What to open.
#[derive(Debug, Deserialize)]
pub struct ByPath {
    path: PathBuf,
}

/// `POST /api/open`
pub async fn open(State(dashboard): State<Dashboard>, Body(ByPath { path }): Body<ByPath>) -> Result<Named, ApiError> {
    let key = blocking(&dashboard, move |shared| {
        let path = std::path::absolute(&path).map_err(|_| ApiError::BadRequest("give a path".to_owned()))?;
        if !is_trace(&path) {
            let path = path.display();
            return Err(ApiError::BadRequest(format!("there is no trace at {path}: it has no manifest.json")));
        }
        read_manifest(&standing(&path))?;
        Ok(shared.library.add(&path, Source::Local))
    })
    .await?;
    Ok(json("key", key))
}

/// `POST /api/dropped`
pub async fn dropped(State(dashboard): State<Dashboard>, mut parts: Multipart) -> Result<Named, ApiError> {
    let library = &dashboard.library;
    let before = library.entries().into_iter().filter(|entry| entry.source == Source::Dropped).count();
    if before >= MOST_DROPPED {
        return Err(ApiError::Conflict(format!("{before} dropped traces are open; delete some first")));
    }
    let room = DROPPED_BYTES.saturating_sub(bytes_below(library.dropped()));
    let failed = |error: std::io::Error| ApiError::Conflict(format!("the dropped trace cannot be kept: {error}"));
    let arriving = tempfile::Builder::new().prefix(".arriving-").tempdir_in(library.dropped()).map_err(failed)?;
    let (mut taken, mut title) = (0, None);
    let broken = |error: axum::extract::multipart::MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => ApiError::BadRequest(error.body_text()),
    };
    while let Some(mut part) = parts.next_field().await.map_err(broken)? {
        let given = part.file_name().or(part.name()).unwrap_or_default().replace('\\', "/");
        let (folder, file) = given.rsplit_once('/').unwrap_or(("", &given));
        let known = [name::MANIFEST, name::JOURNAL].into_iter().chain(name::TABLES).find(|known| *known == file);
        let known = known.ok_or_else(|| {
            let shown: String = file.chars().take(80).collect();
            ApiError::BadRequest(format!("{shown:?} is not a file of a trace; drop a trace's folder"))
        })?;
        title = title.or_else(|| folder.rsplit('/').next().filter(|folder| !folder.is_empty()).map(str::to_owned));
        let mut target = File::create_new(arriving.path().join(known))
            .map_err(|_| ApiError::BadRequest(format!("{known} was sent twice")))?;
        while let Some(chunk) = part.chunk().await.map_err(broken)? {
            taken += chunk.len();
            if taken > room {
                return Err(too_large());
            }
            target.write_all(&chunk).map_err(failed)?;
        }
    }
    let key = blocking(&dashboard, move |shared| {
        check_whole(arriving.path())?;
        let target = free_below(shared.library.dropped(), title.as_deref().unwrap_or("dropped"));
        fs::rename(arriving.path(), &target).map_err(failed)?;
        Ok(shared.library.add(&target, Source::Dropped))
    })
    .await?;
    Ok(json("key", key))
}

fn too_large() -> ApiError {
    ApiError::TooLarge(format!(
        "dropped traces may take {} GiB in all; open larger ones by their path",
        DROPPED_BYTES >> 30
    ))
}

/// Reads everything once, so that what is listed can be looked at.
fn check_whole(directory: &Path) -> Result<(), ApiError> {
    let read = || -> Result<(), TraceError> {
        let reader = TraceReader::open(directory)?;
        reader.tokens()?;
        (0..reader.manifest().model.layers as u16).try_for_each(|layer| reader.layer(layer).map(drop))?;
        reader.cuts()?;
        reader.steps().map(drop)
    };
    // Where it lies for now means nothing to anyone.
    let place = format!("{}/", directory.display());
    read().map_err(|error| match error {
        TraceError::NotATrace(_) => {
            ApiError::Damaged("there is no manifest.json among the files; drop a trace's whole folder".to_owned())
        }
        error => ApiError::Damaged(error.to_string().replace(&place, "")),
    })
}

/// A directory below `parent` that does not exist yet, called after what was dropped as far as a name can be.
fn free_below(parent: &Path, title: &str) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || " ._-".contains(c) { c } else { '-' };
    let slug: String = title.chars().take(80).map(plain).collect();
    let slug = slug.trim_start_matches(['.', ' ', '-']);
    let slug = if slug.is_empty() { "dropped" } else { slug };
    let names = std::iter::once(slug.to_owned()).chain((2..).map(|again| format!("{slug}-{again}")));
    names.map(|name| parent.join(name)).find(|path| !path.exists()).unwrap_or_else(|| parent.join(slug))
}

fn bytes_below(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => bytes_below(&entry.path()),
            Ok(about) => about.len() as usize,
            Err(_) => 0,
        })
        .sum()
}
