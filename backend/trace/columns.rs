//! Typed columns out of frames, whoever wrote them.

use std::path::Path;

use polars::prelude::*;

use super::error::TraceError;

/// A frame and the file it came from, for messages.
pub struct Table<'a> {
    frame: &'a DataFrame,
    path: &'a Path,
}

impl<'a> Table<'a> {
    /// Wraps a frame that was read from `path`.
    pub fn new(frame: &'a DataFrame, path: &'a Path) -> Self {
        Self { frame, path }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.frame.height()
    }

    /// Whether the column is there.
    pub fn has(&self, name: &str) -> bool {
        self.frame.column(name).is_ok()
    }

    fn problem(&self, problem: String) -> TraceError {
        TraceError::Table { path: self.path.to_owned(), problem }
    }

    /// A column, brought to `dtype` without loss.
    fn column(&self, name: &str, dtype: &DataType) -> Result<Column, TraceError> {
        let column =
            self.frame.column(name).map_err(|_| self.problem(format!("it has no column {name}, which it needs")))?;
        column
            .strict_cast(dtype)
            .map_err(|_| self.problem(format!("column {name} is {} and does not fit {dtype}", column.dtype())))
    }

    fn without_nulls<T>(&self, name: &str, values: impl Iterator<Item = Option<T>>) -> Result<Vec<T>, TraceError> {
        let null = |row| TraceError::Row { path: self.path.to_owned(), row, problem: format!("{name} is missing") };
        values.enumerate().map(|(row, value)| value.ok_or_else(|| null(row))).collect()
    }

    /// Whole numbers of at most 32 bits; nulls are an error.
    ///
    /// # Errors
    /// When the column is missing, of another type, or has a null.
    pub fn u32(&self, name: &str) -> Result<Vec<u32>, TraceError> {
        self.without_nulls(name, self.optional_u32(name)?.into_iter())
    }

    /// Whole numbers of at most 32 bits.
    ///
    /// # Errors
    /// When the column is missing or of another type.
    pub fn optional_u32(&self, name: &str) -> Result<Vec<Option<u32>>, TraceError> {
        let column = self.column(name, &DataType::UInt32)?;
        Ok(column.u32().map_err(|error| self.problem(error.to_string()))?.iter().collect())
    }

    /// Whole numbers of at most 64 bits; nulls are an error.
    ///
    /// # Errors
    /// As [`Table::u32`].
    pub fn u64(&self, name: &str) -> Result<Vec<u64>, TraceError> {
        let column = self.column(name, &DataType::UInt64)?;
        let values = column.u64().map_err(|error| self.problem(error.to_string()))?;
        self.without_nulls(name, values.iter())
    }

    /// Numbers; nulls are an error.
    ///
    /// # Errors
    /// As [`Table::u32`].
    pub fn f32(&self, name: &str) -> Result<Vec<f32>, TraceError> {
        self.without_nulls(name, self.optional_f32(name)?.into_iter())
    }

    /// Numbers.
    ///
    /// # Errors
    /// When the column is missing or of another type.
    pub fn optional_f32(&self, name: &str) -> Result<Vec<Option<f32>>, TraceError> {
        let column = self.column(name, &DataType::Float32)?;
        Ok(column.f32().map_err(|error| self.problem(error.to_string()))?.iter().collect())
    }

    /// Numbers, NaN where there is none.
    ///
    /// # Errors
    /// As [`Table::optional_f32`].
    pub fn f32_or_nan(&self, name: &str) -> Result<Vec<f32>, TraceError> {
        let column = self.column(name, &DataType::Float32)?;
        let values = column.f32().map_err(|error| self.problem(error.to_string()))?;
        Ok(values.iter().map(|value| value.unwrap_or(f32::NAN)).collect())
    }

    /// Whole numbers of at most 32 bits, `absent` where there is none.
    ///
    /// # Errors
    /// As [`Table::optional_u32`].
    pub fn u32_or(&self, name: &str, absent: u32) -> Result<Vec<u32>, TraceError> {
        let column = self.column(name, &DataType::UInt32)?;
        let values = column.u32().map_err(|error| self.problem(error.to_string()))?;
        Ok(values.iter().map(|value| value.unwrap_or(absent)).collect())
    }

    /// Texts.
    ///
    /// # Errors
    /// When the column is missing or of another type.
    pub fn optional_str(&self, name: &str) -> Result<Vec<Option<String>>, TraceError> {
        let column = self.column(name, &DataType::String)?;
        let values = column.str().map_err(|error| self.problem(error.to_string()))?;
        Ok(values.iter().map(|text| text.map(str::to_owned)).collect())
    }
}
