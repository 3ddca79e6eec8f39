//! What a run in progress has just done, for those who watch: a bounded history, and news of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

/// Most steps that are kept.
const MOST_STEPS: usize = 4096;
/// Most bytes of them.
const MOST_BYTES: usize = 32 << 20;
/// A larger step is not sent: its reader is told to fetch the columns instead, which are a tenth of it.
pub const LARGEST_STEP: usize = 2 << 20;

/// A step of a run.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its place among all, from 0.
    pub number: u64,
    /// Tokens seen before it.
    pub first: u32,
    /// Tokens seen after it.
    pub seen: u32,
    /// When it happened.
    pub at: Instant,
    /// Its data as JSON; absent when it is too large to send.
    pub data: Option<Arc<str>>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// `complete` or `interrupted`.
    pub status: &'static str,
    /// Tokens seen.
    pub seen: u32,
}

/// The history of one run.
#[derive(Debug)]
pub struct Feed {
    kept: Mutex<Kept>,
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    steps: VecDeque<Told>,
    bytes: usize,
    next: u64,
    ended: Option<Ended>,
}

/// What there is for someone who has been told everything before `next`.
#[derive(Debug, Default)]
pub struct News {
    /// Whether steps in between are no longer kept.
    pub missed: bool,
    /// The steps, in order.
    pub steps: Vec<Told>,
    /// What to ask for next time.
    pub next: u64,
    /// How it ended, if it has; no more steps come.
    pub ended: Option<Ended>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { kept: Mutex::default(), news: watch::Sender::new(0) }
    }
}

impl Feed {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a step. Old ones go when there is no room.
    pub fn tell(&self, first: u32, seen: u32, data: String) {
        let mut kept = self.kept();
        let data = (data.len() <= LARGEST_STEP).then(|| Arc::from(data));
        let size = |data: &Option<Arc<str>>| data.as_ref().map_or(0, |data| data.len());
        let number = kept.next;
        kept.next += 1;
        kept.bytes += size(&data);
        kept.steps.push_back(Told { number, first, seen, at: Instant::now(), data });
        while kept.steps.len() > MOST_STEPS || kept.bytes > MOST_BYTES {
            let Some(oldest) = kept.steps.pop_front() else { break };
            kept.bytes -= size(&oldest.data);
        }
        drop(kept);
        self.news.send_modify(|count| *count += 1);
    }

    /// Says that the run is over and its files are final.
    pub fn end(&self, ended: Ended) {
        self.kept().ended = Some(ended);
        self.news.send_modify(|count| *count += 1);
    }

    /// Wakes up whenever there is something new.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// The first step that someone who knows `seen` tokens needs, and whether earlier ones that are needed are gone.
    pub fn after(&self, seen: u32) -> (u64, bool) {
        let kept = self.kept();
        let needed = kept.steps.iter().find(|step| step.seen > seen);
        match needed {
            Some(step) => (step.number, step.first > seen && step.number > 0),
            None => (kept.next, false),
        }
    }

    /// Steps from number `next` on.
    pub fn since(&self, next: u64) -> News {
        let kept = self.kept();
        let oldest = kept.steps.front().map_or(kept.next, |step| step.number);
        News {
            missed: next < oldest,
            steps: kept.steps.iter().filter(|step| step.number >= next).cloned().collect(),
            next: kept.next,
            ended: kept.ended.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_gets_what_came_after_what_it_knows() {
        let feed = Feed::default();
        feed.tell(0, 10, "a".to_owned());
        feed.tell(10, 11, "b".to_owned());
        assert_eq!(feed.after(0), (0, false));
        assert_eq!(feed.after(10), (1, false));
        assert_eq!(feed.after(11), (2, false));
        assert_eq!(feed.after(4), (0, false), "a step may be told twice, never half");
        let news = feed.since(1);
        assert_eq!((news.steps.len(), news.next, news.missed), (1, 2, false));
    }

    #[test]
    fn memory_is_bounded_and_what_was_missed_is_said() {
        let feed = Feed::default();
        let steps = MOST_STEPS as u32 + 5;
        (0..steps).for_each(|seen| feed.tell(seen, seen + 1, String::new()));
        assert_eq!(feed.kept().steps.len(), MOST_STEPS);
        assert!(feed.since(0).missed && !feed.since(5).missed);
        assert_eq!(feed.after(0), (5, true));
        feed.tell(steps, steps + 1, "x".repeat(LARGEST_STEP + 1));
        assert_eq!(feed.kept().bytes, 0);
        assert!(feed.since(u64::from(steps)).steps[0].data.is_none());
    }

    #[test]
    fn an_end_is_news() {
        let feed = Feed::default();
        let news = feed.news();
        feed.end(Ended { status: "complete", seen: 3 });
        assert!(news.has_changed().unwrap());
        assert_eq!(feed.since(0).ended.unwrap().seen, 3);
    }
}
