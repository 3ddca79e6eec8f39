//! What a cell shows is computed three times: by the figures' raster here, by the page's TypeScript and by its shader. They
//! are held together by `tests/fixtures/cells.json`: random lives, and what blocks of their cells must show, found by looking
//! at every cell of a block. Here the file is made and the raster is compared with it; the front end's tests do the same for
//! theirs (`frontend/test/cells_fixture.test.ts`, `frontend/browser/cells.test.ts`).

use std::path::Path;
use std::{env, fs};

use serde::{Deserialize, Serialize};
use trimkv_trace::figures::raster::{Lives, Pooling};
use trimkv_trace::synth::dice::Dice;

/// Set it to write the fixture anew.
const WRITE: &str = "TRIMKV_TRACE_WRITE_FIXTURES";
const FILE: &str = "tests/fixtures/cells.json";
/// Tokens seen by each trace; the last has no gates.
const SIZES: [usize; 6] = [1, 7, 61, 200, 513, 90];
const BLOCKS: u64 = 60;
/// Keys and queries of a block at most: the page's painters look at every token of a pixel up to here.
const WIDEST: usize = 32;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fixture {
    about: String,
    traces: Vec<Trace>,
}

/// One head's tokens and some blocks of its triangle.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Trace {
    /// Nats; null: no gates.
    log_beta: Option<Vec<f32>>,
    /// First query blind to a token; null: still cached.
    evicted_at: Vec<Option<u32>>,
    /// Tokens at the end of the half-life axis.
    longest: f64,
    blocks: Vec<Block>,
}

/// Half-open ranges of keys and queries, and what a pixel of them shows.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Block {
    keys: [usize; 2],
    queries: [usize; 2],
    state: State,
    /// Largest retention among tokens alive; null where none is, or without gates.
    retention: Option<f64>,
    /// Largest share of the half-life axis among tokens alive; null likewise.
    half_life: Option<f64>,
    /// Share of the block's tokens that are alive at the first of its queries that sees them; null where none is.
    alive: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Unborn,
    Evicted,
    Alive,
}

fn range(dice: Dice, seen: usize) -> [usize; 2] {
    let width = 1 + (dice.at(1).even() * dice.at(2).even() * WIDEST as f64) as usize;
    let from = (dice.at(3).even() * seen as f64) as usize;
    [from, (from + width).min(seen)]
}

fn trace(seed: u64, seen: usize, gated: bool) -> Trace {
    let dice = Dice::new(seed);
    let log_beta = |position| match (dice.at(position).even(), dice.at(position).at(1).even()) {
        (rare, _) if rare < 0.02 => 0.0,
        (_, even) => -(10.0f64.powf(1.0 - 6.0 * even)) as f32,
    };
    let evicted_at = |position: u64| {
        let life = (-(1.0 - dice.at(position).at(2).even()).ln() * 40.0) as u64;
        let gone = position + 1 + life;
        (gone < seen as u64).then_some(gone as u32)
    };
    let log_beta: Option<Vec<f32>> = gated.then(|| (0..seen as u64).map(log_beta).collect());
    let evicted_at: Vec<Option<u32>> = (0..seen as u64).map(evicted_at).collect();
    let longest = 1000.0f64.max(10.0f64.powf((seen as f64 * 10.0).log10().ceil()));
    let blocks = (0..BLOCKS)
        .map(|place| {
            let [keys, queries] = [range(dice.at(!place).at(4), seen), range(dice.at(!place).at(5), seen)];
            shown(log_beta.as_deref(), &evicted_at, longest, keys, queries)
        })
        .collect();
    Trace { log_beta, evicted_at, longest, blocks }
}

/// Looks at every cell of the block; knows nothing of what the three do to be fast.
fn shown(
    log_beta: Option<&[f32]>,
    evicted_at: &[Option<u32>],
    longest: f64,
    keys: [usize; 2],
    queries: [usize; 2],
) -> Block {
    let [mut born, mut alive_at_first] = [0, 0];
    let [mut retention, mut half_life]: [Option<f64>; 2] = [None, None];
    for key in keys[0]..keys[1] {
        let seen_by: Vec<usize> = (queries[0]..queries[1]).filter(|&query| query >= key).collect();
        let is_alive = |query: usize| evicted_at[key].is_none_or(|gone| query < gone as usize);
        let Some(&first) = seen_by.first() else { continue };
        born += 1;
        alive_at_first += u32::from(is_alive(first));
        for &query in seen_by.iter().filter(|&&query| is_alive(query)) {
            let Some(log_beta) = log_beta.map(|all| f64::from(all[key])) else { continue };
            let here = (log_beta * (query - key) as f64).exp();
            retention = Some(retention.map_or(here, |best| best.max(here)));
            let tokens = if log_beta == 0.0 { f64::INFINITY } else { std::f64::consts::LN_2 / -log_beta };
            let share = (tokens.log10() / longest.log10()).clamp(0.0, 1.0);
            half_life = Some(half_life.map_or(share, |best| best.max(share)));
        }
    }
    let state = match (born, alive_at_first) {
        (0, _) => State::Unborn,
        (_, 0) => State::Evicted,
        _ => State::Alive,
    };
    let alive = (state == State::Alive).then(|| f64::from(alive_at_first) / f64::from(born));
    Block { keys, queries, state, retention, half_life, alive }
}

fn fixture() -> Fixture {
    let about =
        "Made by tests/integration/cells.rs; set TRIMKV_TRACE_WRITE_FIXTURES=1 and run its tests to make it anew.";
    let traces = SIZES.iter().zip(0..).map(|(&seen, seed)| trace(seed, seen, seed + 1 < SIZES.len() as u64)).collect();
    Fixture { about: about.to_owned(), traces }
}

fn committed() -> Fixture {
    serde_json::from_str(&fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE)).unwrap()).unwrap()
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-9,
        (a, b) => a == b,
    }
}

#[test]
fn the_fixture_of_cells_is_what_its_seeds_give() {
    let made = fixture();
    if env::var_os(WRITE).is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
        fs::write(path, serde_json::to_string(&made).unwrap() + "\n").unwrap();
    }
    let read = committed();
    assert_eq!(read.traces.len(), made.traces.len());
    let all = |fixture: &Fixture, state| {
        fixture.traces.iter().flat_map(|trace| &trace.blocks).filter(|block| block.state == state).count()
    };
    for state in [State::Unborn, State::Evicted, State::Alive] {
        assert!(all(&read, state) > 30, "too few {state:?} blocks to mean anything");
    }
    for (read, made) in read.traces.iter().zip(&made.traces) {
        assert_eq!((&read.log_beta, &read.evicted_at), (&made.log_beta, &made.evicted_at));
        for (read, made) in read.blocks.iter().zip(&made.blocks) {
            // The last digit of an exponential may differ between machines.
            assert_eq!((read.keys, read.queries, read.state), (made.keys, made.queries, made.state));
            assert!(
                close(read.retention, made.retention) && close(read.half_life, made.half_life),
                "{read:?} {made:?}"
            );
            assert!(close(read.alive, made.alive), "{read:?} {made:?}");
        }
    }
}

/// The raster has no single call for "the largest retention among tokens alive in a block", so a block is put together from
/// its cells, each from the raster's two pictures of the whole: retention, and kept.
#[test]
fn the_figures_raster_shows_in_every_block_what_the_fixture_says() {
    for trace in committed().traces {
        let lives = Lives {
            log_beta: trace.log_beta.clone().unwrap_or_default(),
            gone_at: trace.evicted_at.iter().map(|gone| gone.unwrap_or(u32::MAX)).collect(),
        };
        let side = lives.seen();
        let (retained, kept) = (lives.retention(side, Pooling::Max), lives.kept(side, Pooling::Max));
        for block in &trace.blocks {
            let cells = || {
                (block.queries[0]..block.queries[1])
                    .flat_map(|query| (block.keys[0]..block.keys[1]).map(move |key| query * side + key))
            };
            let born = cells().any(|cell| !kept[cell].is_nan());
            let alive: Vec<usize> = cells().filter(|&cell| kept[cell] == 1.0).collect();
            let state = match (born, alive.is_empty()) {
                (false, _) => State::Unborn,
                (true, true) => State::Evicted,
                (true, false) => State::Alive,
            };
            assert_eq!(state, block.state, "{block:?}");
            // Without gates the raster has no retention to compare.
            if trace.log_beta.is_none() {
                continue;
            }
            let largest = alive.iter().map(|&cell| f64::from(retained[cell])).reduce(f64::max);
            match (largest, block.retention) {
                (Some(largest), Some(expected)) => assert!((largest - expected).abs() < 1e-6, "{largest} {block:?}"),
                (largest, expected) => assert_eq!(largest, expected, "{block:?}"),
            }
        }
    }
}

/// Pooled as a figure pools, a pixel's state is the one of its block.
#[test]
fn a_pixel_of_a_smaller_figure_has_the_state_of_its_block() {
    for trace in committed().traces {
        let gone_at: Vec<u32> = trace.evicted_at.iter().map(|gone| gone.unwrap_or(u32::MAX)).collect();
        let lives = Lives { log_beta: Vec::new(), gone_at };
        let seen = lives.seen();
        for side in [1, 5, seen.div_ceil(9), seen].into_iter().filter(|&side| side <= seen) {
            let kept = lives.kept(side, Pooling::Max);
            let block = |pixel: usize| [pixel * seen / side, (pixel + 1) * seen / side];
            for (pixel, &kept) in kept.iter().enumerate() {
                let [keys, queries] = [block(pixel % side), block(pixel / side)];
                let state = shown(None, &trace.evicted_at, trace.longest, keys, queries).state;
                let drawn = match kept {
                    kept if kept.is_nan() => State::Unborn,
                    0.0 => State::Evicted,
                    _ => State::Alive,
                };
                assert_eq!(drawn, state, "{keys:?} {queries:?} at {side} pixels");
            }
        }
    }
}
