//! A dense table of numbers, one row per (layer, KV head).

/// Rows of equal length in one allocation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Grid<T> {
    columns: usize,
    cells: Vec<T>,
}

impl<T> Grid<T> {
    /// Wraps `cells`, row after row, or gives `None` when they do not fill whole rows.
    pub fn from_cells(rows: usize, columns: usize, cells: Vec<T>) -> Option<Self> {
        (rows * columns == cells.len()).then_some(Self { columns, cells })
    }

    /// Number of cells in a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The cells of one row.
    pub fn row(&self, row: usize) -> &[T] {
        &self.cells[row * self.columns..][..self.columns]
    }

    /// All cells, row after row.
    pub fn cells(&self) -> &[T] {
        &self.cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_went_in() {
        let grid = Grid::from_cells(2, 3, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(grid.row(0), [1, 2, 3]);
        assert_eq!(grid.row(1), [4, 5, 6]);
    }

    #[test]
    fn cells_that_do_not_fill_the_rows_are_refused() {
        assert!(Grid::from_cells(2, 3, vec![0; 5]).is_none());
    }
}
