//! The checks that a reader makes before it believes a trace: pure, over columns.

use super::grid::Grid;
use super::lifetimes::Lifetimes;
use super::step::{Eviction, KvHead, Shape};

/// A row that breaks the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowProblem {
    /// 0-based row.
    pub row: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl RowProblem {
    fn new(row: usize, problem: String) -> Self {
        Self { row, problem }
    }
}

/// Columns of `lifetimes`; an absent optional column is empty.
#[derive(Debug, Default)]
pub struct LifetimeColumns {
    /// Layer of each row.
    pub layer: Vec<u32>,
    /// KV head of each row.
    pub head: Vec<u32>,
    /// Position of each row.
    pub position: Vec<u32>,
    /// Nats, where gates were loaded.
    pub log_beta: Vec<Option<f32>>,
    /// When the token left.
    pub evicted_at: Vec<Option<u32>>,
    /// Score at its last cut.
    pub last_score: Vec<Option<f32>>,
}

/// Positions of `tokens` must be 0, 1, 2, ...
///
/// # Errors
/// At the first row that is not.
pub fn positions_are_dense(positions: &[u32]) -> Result<(), RowProblem> {
    match positions.iter().enumerate().find(|(row, position)| *row as u32 != **position) {
        Some((row, position)) => Err(RowProblem::new(
            row,
            format!("position {position} where {row} belongs; positions must be dense, unique and sorted"),
        )),
        None => Ok(()),
    }
}

/// Rows must be every (layer, head, position) over `0..seen`, in that order.
///
/// # Errors
/// At the first row that is not.
pub fn keys(columns: &LifetimeColumns, shape: Shape, seen: u32) -> Result<(), RowProblem> {
    let rows = columns.position.len();
    let per_head = seen as usize;
    for row in 0..rows.min(shape.heads() * per_head) {
        let (head, position) = (shape.head(row / per_head), (row % per_head) as u32);
        let found = (columns.layer[row], columns.head[row], columns.position[row]);
        if found != (u32::from(head.layer), u32::from(head.head), position) {
            let (layer, kv_head, at) = found;
            return Err(RowProblem::new(
                row,
                format!(
                    "layer {layer}, head {kv_head}, position {at} where {head}, position {position} belongs; every head must be complete and sorted"
                ),
            ));
        }
    }
    if rows != shape.heads() * per_head {
        return Err(row_count(rows, shape, seen));
    }
    Ok(())
}

/// What is wrong with a table of `rows` rows.
pub fn row_count(rows: usize, shape: Shape, seen: u32) -> RowProblem {
    let (heads, needed) = (shape.heads(), shape.heads() * seen as usize);
    RowProblem::new(rows, format!("the table has {rows} rows where {heads} heads x {seen} tokens need {needed}"))
}

/// Columns of one layer's part of `lifetimes`, every one as long as the others.
#[derive(Debug, Default)]
pub struct LayerColumns {
    /// Layer of each row.
    pub layer: Vec<u32>,
    /// KV head of each row.
    pub head: Vec<u32>,
    /// Position of each row.
    pub position: Vec<u32>,
    /// Nats; NaN without gates.
    pub log_beta: Vec<f32>,
    /// When the token left; `u32::MAX` while it is cached.
    pub evicted_at: Vec<u32>,
}

/// Rows must be every (head, position) of one layer over `0..seen`, in that order, each with a life that can be.
///
/// # Errors
/// At the first row that breaks a rule of the format; rows count from the layer's first.
pub fn layer(columns: &LayerColumns, layer: u16, kv_heads: usize, seen: u32) -> Result<(), RowProblem> {
    let has_gates = columns.log_beta.iter().any(|value| !value.is_nan());
    let belongs = (0..kv_heads as u32).flat_map(|head| (0..seen).map(move |position| (head, position)));
    for (row, (head, position)) in belongs.enumerate() {
        let found = (columns.layer[row], columns.head[row], columns.position[row]);
        let (log_beta, at) = (columns.log_beta[row], columns.evicted_at[row]);
        let problem = if found != (u32::from(layer), head, position) {
            let (layer_found, head_found, at) = found;
            format!(
                "layer {layer_found}, head {head_found}, position {at} where L{layer}H{head}, position {position} belongs; every head must be complete and sorted"
            )
        } else if log_beta > 0.0 || (has_gates && log_beta.is_nan()) {
            format!("log_beta is {log_beta}; it must be a number and at most 0")
        } else if at <= position {
            format!("L{layer}H{head} evicted position {position} when only {at} tokens had been seen")
        } else if at > seen && at != u32::MAX {
            format!("evicted_at is {at}, but only {seen} tokens were seen")
        } else {
            continue;
        };
        return Err(RowProblem::new(row, problem));
    }
    Ok(())
}

/// Builds lifetimes from their table, every (layer, head) complete over `0..seen`, in order.
///
/// # Errors
/// At the first row that breaks a rule of the format.
pub fn lifetimes(columns: &LifetimeColumns, shape: Shape, seen: u32) -> Result<Lifetimes, RowProblem> {
    keys(columns, shape, seen)?;
    let has_gates = columns.log_beta.iter().any(Option::is_some);
    let bad_beta = |&(_, value): &(usize, &Option<f32>)| match value {
        Some(value) => value.is_nan() || *value > 0.0,
        None => has_gates,
    };
    if let Some((row, value)) = columns.log_beta.iter().enumerate().find(bad_beta) {
        let value = value.map_or("missing".to_owned(), |value| value.to_string());
        return Err(RowProblem::new(row, format!("log_beta is {value}; it must be a number and at most 0")));
    }
    build(columns, shape, seen, has_gates)
}

fn build(columns: &LifetimeColumns, shape: Shape, seen: u32, has_gates: bool) -> Result<Lifetimes, RowProblem> {
    let mut lives = Lifetimes::new(shape);
    let cells = has_gates.then(|| columns.log_beta.iter().map(|value| value.unwrap_or(0.0)).collect());
    let grid = cells.and_then(|cells| Grid::from_cells(shape.heads(), seen as usize, cells));
    lives.open(seen, grid.as_ref()).map_err(|error| RowProblem::new(0, error.to_string()))?;
    for (row, &position) in columns.position.iter().enumerate() {
        let head = KvHead { layer: columns.layer[row] as u16, head: columns.head[row] as u16 };
        let score = columns.last_score.get(row).copied().flatten();
        match columns.evicted_at[row] {
            Some(at) => {
                let eviction = Eviction { head, position, at, score: score.unwrap_or(f32::NAN) };
                let placed = if at <= seen {
                    Ok(())
                } else {
                    Err(format!("evicted_at is {at}, but only {seen} tokens were seen"))
                };
                placed
                    .and_then(|()| lives.close(eviction).map_err(|error| error.to_string()))
                    .map_err(|problem| RowProblem::new(row, problem))?;
            }
            None => score.into_iter().for_each(|score| lives.set_last_score(head, position, score)),
        }
    }
    Ok(lives)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { layers: 1, kv_heads: 2 };

    fn good() -> LifetimeColumns {
        LifetimeColumns {
            layer: vec![0; 4],
            head: vec![0, 0, 1, 1],
            position: vec![0, 1, 0, 1],
            log_beta: vec![Some(-0.1), Some(-0.2), Some(0.0), Some(-3.0)],
            evicted_at: vec![Some(2), None, None, Some(2)],
            last_score: vec![Some(-0.3), None, Some(-1.0), Some(-9.0)],
        }
    }

    fn problem(break_it: impl FnOnce(&mut LifetimeColumns)) -> RowProblem {
        let mut columns = good();
        break_it(&mut columns);
        lifetimes(&columns, SHAPE, 2).unwrap_err()
    }

    #[test]
    fn a_complete_table_becomes_lifetimes() {
        let lives = lifetimes(&good(), SHAPE, 2).unwrap();
        assert_eq!(lives.cached_after(KvHead { layer: 0, head: 1 }, 2), [0]);
    }

    #[test]
    fn each_broken_rule_names_its_row() {
        assert_eq!(problem(|c| c.position[1] = 0).row, 1);
        assert_eq!(problem(|c| c.log_beta[2] = Some(0.5)).row, 2);
        assert_eq!(problem(|c| c.log_beta[3] = Some(f32::NAN)).row, 3);
        assert_eq!(problem(|c| c.log_beta[3] = None).row, 3);
        assert_eq!(problem(|c| c.evicted_at[3] = Some(1)).row, 3);
        assert_eq!(problem(|c| c.evicted_at[0] = Some(3)).row, 0);
        assert!(
            problem(|c| {
                c.layer.pop();
                c.head.pop();
                c.position.pop();
            })
            .problem
            .contains("3 rows")
        );
        assert_eq!(positions_are_dense(&[0, 1, 3]).unwrap_err().row, 2);
    }
}
