//! Columns as an Arrow IPC stream: uncompressed, one record batch, no nulls.

use std::collections::BTreeMap;
use std::sync::Arc;

use polars_arrow::array::{Array, PrimitiveArray, Utf8Array};
use polars_arrow::datatypes::{ArrowSchema, Field};
use polars_arrow::io::ipc::write::{StreamWriter, WriteOptions};
use polars_arrow::record_batch::RecordBatchT;

/// The media type of a stream.
pub const MEDIA_TYPE: &str = "application/vnd.apache.arrow.stream";

/// A column's values, every one known or said by a value of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Codes.
    U8(Vec<u8>),
    /// Small numbers.
    U16(Vec<u16>),
    /// Positions and counts.
    U32(Vec<u32>),
    /// Large counts.
    U64(Vec<u64>),
    /// Measures.
    F32(Vec<f32>),
    /// Texts.
    Text(Vec<String>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::U64(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    fn into_array(self) -> Box<dyn Array> {
        match self {
            Self::U8(values) => PrimitiveArray::from_vec(values).boxed(),
            Self::U16(values) => PrimitiveArray::from_vec(values).boxed(),
            Self::U32(values) => PrimitiveArray::from_vec(values).boxed(),
            Self::U64(values) => PrimitiveArray::from_vec(values).boxed(),
            Self::F32(values) => PrimitiveArray::from_vec(values).boxed(),
            Self::Text(values) => Utf8Array::<i32>::from_slice(&values).boxed(),
        }
    }
}

/// A table that cannot be a stream.
#[derive(Debug, thiserror::Error)]
#[error("a table cannot be sent as Arrow: {0}")]
pub struct ArrowError(String);

/// The bytes of a table. `metadata` goes with its schema.
///
/// # Errors
/// When columns are of unequal length, or texts take more than 2 GiB.
pub fn stream(columns: Vec<(&str, Values)>, metadata: &[(&str, String)]) -> Result<Vec<u8>, ArrowError> {
    let failed = |error: &dyn std::fmt::Display| ArrowError(error.to_string());
    let rows = columns.first().map_or(0, |(_, values)| values.len());
    let text_bytes = |values: &Values| match values {
        Values::Text(texts) => texts.iter().map(String::len).sum(),
        _ => 0,
    };
    if columns.iter().any(|(_, values)| text_bytes(values) > i32::MAX as usize) {
        return Err(failed(&"its texts take more than 2 GiB"));
    }
    let mut schema = ArrowSchema::default();
    let mut arrays = Vec::with_capacity(columns.len());
    for (name, values) in columns {
        let array = values.into_array();
        schema.insert(name.into(), Field::new(name.into(), array.dtype().clone(), false));
        arrays.push(array);
    }
    let batch = RecordBatchT::try_new(rows, Arc::new(schema.clone()), arrays).map_err(|error| failed(&error))?;
    let metadata: BTreeMap<_, _> =
        metadata.iter().map(|(name, value)| ((*name).into(), value.as_str().into())).collect();
    let mut writer = StreamWriter::new(Vec::new(), WriteOptions { compression: None });
    writer.set_custom_schema_metadata(Arc::new(metadata));
    writer.start(&schema, None).map_err(|error| failed(&error))?;
    writer.write(&batch, None).map_err(|error| failed(&error))?;
    writer.finish().map_err(|error| failed(&error))?;
    Ok(writer.into_inner())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use polars_arrow::io::ipc::read::{StreamReader, StreamState, read_stream_metadata};

    use super::*;

    fn columns(bytes: &[u8]) -> Vec<Box<dyn Array>> {
        let mut from = Cursor::new(bytes);
        let metadata = read_stream_metadata(&mut from).unwrap();
        match StreamReader::new(from, metadata, None).next().unwrap().unwrap() {
            StreamState::Some(batch) => batch.into_arrays(),
            StreamState::Waiting => panic!("the stream is cut short"),
        }
    }

    #[test]
    fn a_stream_reads_back_with_its_types_and_metadata() {
        let table = vec![
            ("code", Values::U8(vec![0, 255])),
            ("at", Values::U32(vec![7, u32::MAX])),
            ("score", Values::F32(vec![-0.5, f32::NAN])),
            ("text", Values::Text(vec!["a".to_owned(), "\u{fffd}<script>".to_owned()])),
        ];
        let bytes = stream(table, &[("layer", "3".to_owned())]).unwrap();
        let columns = columns(&bytes);
        let at = columns[1].as_any().downcast_ref::<PrimitiveArray<u32>>().unwrap();
        assert_eq!(at.values().as_slice(), [7, u32::MAX]);
        let text = columns[3].as_any().downcast_ref::<Utf8Array<i32>>().unwrap();
        assert_eq!(text.value(1), "\u{fffd}<script>");
        assert!(columns.iter().all(|column| column.null_count() == 0 && column.len() == 2));
        let metadata = read_stream_metadata(&mut Cursor::new(&bytes)).unwrap();
        assert_eq!(metadata.custom_schema_metadata.unwrap()["layer"].as_str(), "3");
    }

    #[test]
    fn a_table_without_rows_is_a_stream_too() {
        let bytes = stream(vec![("at", Values::U32(Vec::new()))], &[]).unwrap();
        assert_eq!(columns(&bytes)[0].len(), 0);
    }

    #[test]
    fn unequal_columns_are_refused() {
        assert!(stream(vec![("a", Values::U32(vec![1])), ("b", Values::U32(vec![]))], &[]).is_err());
    }
}
