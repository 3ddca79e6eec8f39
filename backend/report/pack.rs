//! Columns in one compressed block, small enough for a page that carries its own data.
//!
//! The block is gzip over: the header's length (`u32`, little-endian), the header (JSON), the columns. A column's values are
//! stored by byte planes (all lowest bytes, then all second bytes, ...), which compress better than the values as they are.
//! The header's `columns` say of each where it is: `{name, kind, at, count}`.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// Largest `f32` count stored exactly; longer columns of `log_beta` are stored as steps.
pub const EXACT: usize = 400_000;
/// Code of a `log_beta` that is not known.
const UNKNOWN: u16 = u16::MAX;
/// Steps between the smallest and the largest `log_beta`.
const STEPS: f64 = 65_533.0;

/// Collects columns.
#[derive(Debug, Default)]
pub struct Pack {
    columns: Vec<Value>,
    bytes: Vec<u8>,
}

impl Pack {
    /// Adds a column of bytes.
    pub fn bytes(&mut self, name: &str, values: &[u8]) {
        self.add(name, "u8", values.len(), json!({}), values.iter().map(|value| [*value]));
    }

    /// Adds a column of whole numbers.
    pub fn u32(&mut self, name: &str, values: &[u32]) {
        self.add(name, "u32", values.len(), json!({}), values.iter().map(|value| value.to_le_bytes()));
    }

    /// Adds a column of numbers, exactly.
    pub fn f32(&mut self, name: &str, values: &[f32]) {
        self.add(name, "f32", values.len(), json!({}), values.iter().map(|value| value.to_le_bytes()));
    }

    /// Adds a column of `log_beta` in nats: exactly when it is one of few, else on a logarithmic scale of 65,534 steps
    /// between the smallest and the largest size in the column. Zero and unknown (NaN) stay what they are.
    pub fn log_beta(&mut self, name: &str, values: &[f32], exact: bool) {
        if exact {
            return self.f32(name, values);
        }
        let sizes = || values.iter().filter(|value| **value < 0.0).map(|value| f64::from(-value).log2());
        let low = sizes().fold(f64::INFINITY, f64::min);
        let high = sizes().fold(f64::NEG_INFINITY, f64::max);
        let step = if high > low { (high - low) / STEPS } else { 1.0 };
        let code = |value: f32| {
            if value.is_nan() {
                UNKNOWN
            } else if value >= 0.0 {
                0
            } else {
                1 + ((f64::from(-value).log2() - low) / step).round() as u16
            }
        };
        let scale = json!({"low": if low.is_finite() { low } else { 0.0 }, "step": step});
        self.add(name, "log2", values.len(), scale, values.iter().map(|value| code(*value).to_le_bytes()));
    }

    fn add<const N: usize>(
        &mut self,
        name: &str,
        kind: &str,
        count: usize,
        mut more: Value,
        values: impl Iterator<Item = [u8; N]> + Clone,
    ) {
        more["name"] = json!(name);
        more["kind"] = json!(kind);
        more["at"] = json!(self.bytes.len());
        more["count"] = json!(count);
        self.columns.push(more);
        for plane in 0..N {
            self.bytes.extend(values.clone().map(|value| value[plane]));
        }
    }

    /// The compressed block: `header` (an object) with `columns` added, and the columns.
    pub fn finish(self, mut header: Value) -> Vec<u8> {
        header["columns"] = Value::Array(self.columns);
        let header = header.to_string();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(7));
        let parts = [&(header.len() as u32).to_le_bytes()[..], header.as_bytes(), &self.bytes];
        let written = parts.iter().try_for_each(|part| encoder.write_all(part)).and_then(|()| encoder.finish());
        // A vector takes all it is given.
        written.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn unpacked(block: &[u8]) -> (Value, Vec<u8>) {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(block).read_to_end(&mut bytes).unwrap();
        let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        (serde_json::from_slice(&bytes[4..4 + length]).unwrap(), bytes[4 + length..].to_vec())
    }

    #[test]
    fn a_column_is_found_where_the_header_says_with_its_bytes_in_planes() {
        let mut pack = Pack::default();
        pack.bytes("first", &[9, 8, 7]);
        pack.u32("second", &[0x0403_0201, 0x1413_1211]);
        let (header, bytes) = unpacked(&pack.finish(json!({"title": "t"})));
        assert_eq!(header["title"], "t");
        assert_eq!(header["columns"][1], json!({"name": "second", "kind": "u32", "at": 3, "count": 2}));
        assert_eq!(bytes, [9, 8, 7, 1, 0x11, 2, 0x12, 3, 0x13, 4, 0x14]);
    }

    proptest! {
        #[test]
        fn steps_lose_less_than_a_thousandth_of_a_log_beta(sizes in proptest::collection::vec(-20.0f32..5.0, 1..60)) {
            let mut values: Vec<f32> = sizes.iter().map(|size| -size.exp2()).collect();
            values.extend([0.0, f32::NAN]);
            let mut pack = Pack::default();
            pack.log_beta("log_beta", &values, false);
            let (header, bytes) = unpacked(&pack.finish(json!({})));
            let column = &header["columns"][0];
            let (low, step) = (column["low"].as_f64().unwrap(), column["step"].as_f64().unwrap());
            for (index, value) in values.iter().enumerate() {
                let code = u16::from_le_bytes([bytes[index], bytes[index + values.len()]]);
                match code {
                    UNKNOWN => prop_assert!(value.is_nan()),
                    0 => prop_assert_eq!(*value, 0.0),
                    code => {
                        let read = -(low + f64::from(code - 1) * step).exp2();
                        prop_assert!((read / f64::from(*value) - 1.0).abs() < 1e-3, "{} became {}", value, read);
                    }
                }
            }
        }
    }
}
