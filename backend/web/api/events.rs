//! A run in progress, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::asked::{Asked, Key};
use super::blocking;
use crate::trace::write::FLUSH_TIME;
use crate::web::error::ApiError;
use crate::web::library::{Entry, Stamp};
use crate::web::live::{Ended, Feed};
use crate::web::router::Dashboard;

/// Events that wait for a slow client before it is left to catch up.
const QUEUE: usize = 16;
/// How often the files of another process's run are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often such a run's reader is told to fetch again, at most.
const RESYNC: Duration = Duration::from_secs(2);
/// A comment is sent after this long without news, so that both ends notice when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the client knows.
#[derive(Debug, Deserialize)]
pub struct Known {
    #[serde(default)]
    after: u32,
}

type Events = Sse<axum::response::sse::KeepAliveStream<ReceiverStream<Result<Event, Infallible>>>>;
type Sender = mpsc::Sender<Result<Event, Infallible>>;

/// The client has gone.
struct Gone;

/// `GET /api/traces/KEY/events?after=S`
pub async fn events(
    State(dashboard): State<Dashboard>,
    Key(key): Key,
    Asked(Known { after }): Asked<Known>,
    headers: HeaderMap,
) -> Result<Events, ApiError> {
    // A browser that reconnects says what it had; the address still says what it had at first.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.trim().parse().ok());
    let after = last.map_or(after, |last: u32| last.max(after));
    let entry = blocking(&dashboard, move |shared| shared.library.entry(&key)).await?;
    let feed = dashboard.feed(&entry.key);
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut ending = dashboard.ending.clone();
    tokio::spawn(async move {
        let told = async {
            match feed {
                Some(feed) => follow(&feed, after, &sender).await,
                None => look_on(&dashboard, &entry, &sender).await,
            }
        };
        tokio::select! {
            _ = told => {}
            // The server ends, and its sender lives as long as it does.
            _ = ending.wait_for(|is_over| *is_over) => {}
            () = sender.closed() => {}
        }
    });
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn send(sender: &Sender, event: Event) -> Result<(), Gone> {
    sender.send(Ok(event)).await.map_err(|_| Gone)
}

fn resync() -> Event {
    Event::default().event("resync").data("{}")
}

fn end(Ended { status, seen }: &Ended) -> Event {
    Event::default().event("end").data(serde_json::json!({"status": status, "seen": seen}).to_string())
}

/// Tells a run of this process, step by step.
async fn follow(feed: &Arc<Feed>, after: u32, sender: &Sender) -> Result<(), Gone> {
    let mut news = feed.news();
    let (mut next, missed) = feed.after(after);
    if missed {
        send(sender, resync()).await?;
    }
    loop {
        let found = feed.since(next);
        if found.missed {
            // What is still kept follows: it overlaps with what the files hold by now.
            send(sender, resync()).await?;
        }
        for step in found.steps {
            match step.data {
                Some(data) => {
                    send(sender, Event::default().event("step").id(step.seen.to_string()).data(&*data)).await?;
                }
                None => {
                    // The files hold it after the next flush at the latest.
                    tokio::time::sleep((FLUSH_TIME + LOOK).saturating_sub(step.at.elapsed())).await;
                    send(sender, resync()).await?;
                }
            }
        }
        next = found.next;
        if let Some(ended) = found.ended {
            return send(sender, end(&ended)).await;
        }
        if news.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Looks at the files of a run of another process, until it is over.
async fn look_on(dashboard: &Dashboard, entry: &Entry, sender: &Sender) -> Result<(), Gone> {
    let mut told: Option<(Stamp, Instant)> = None;
    while dashboard.library.is_running(entry) {
        let stamp = dashboard.library.stamp(entry);
        let has_changed = told.is_some_and(|(known, at)| known != stamp && at.elapsed() >= RESYNC);
        if has_changed {
            send(sender, resync()).await?;
        }
        if has_changed || told.is_none() {
            told = Some((stamp, Instant::now()));
        }
        tokio::time::sleep(LOOK).await;
    }
    let key = entry.key.clone();
    let ended = blocking(dashboard, move |shared| {
        let reader = shared.library.steadily(&key, |entry| shared.library.reader(entry))?;
        Ok(Ended { status: reader.manifest().status.as_str(), seen: reader.manifest().seen })
    });
    match ended.await {
        Ok(ended) => send(sender, end(&ended)).await,
        // Gone, or damaged: its reader is told why when it fetches.
        Err(_) => send(sender, resync()).await,
    }
}
