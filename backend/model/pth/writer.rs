//! Writes tensors as torch does: a zip archive of raw storages, and a pickle that says which tensor is which.

use std::collections::BTreeMap;
use std::io::{Seek, Write};

use candle_core::{DType, Result as TensorResult, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// What torch names the folder in the archive.
const ROOT: &str = "trimkv_weights";

/// Writes `tensors`, f32, as a flat state dictionary that `torch.load(..., weights_only=True)` reads. Tensors given under
/// several names as one (clones of one tensor) are stored once and come back tied.
///
/// # Errors
/// When a tensor is not f32 or cannot be read, or the target cannot be written.
pub fn write(tensors: &BTreeMap<String, Tensor>, target: impl Write + Seek) -> std::io::Result<()> {
    let mut storages: Vec<&Tensor> = Vec::new();
    let mut pickle = Pickle::new();
    for (name, tensor) in tensors {
        let known = storages.iter().position(|storage| storage.id() == tensor.id());
        let key = known.unwrap_or_else(|| {
            storages.push(tensor);
            storages.len() - 1
        });
        pickle.tensor(name, key, tensor.dims());
    }
    let mut zip = ZipWriter::new(target);
    // No time, so that the same gates are the same bytes.
    let options = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Stored).large_file(false);
    let mut entry = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("{ROOT}/{name}"), options).map_err(std::io::Error::other)?;
        zip.write_all(bytes)
    };
    entry("data.pkl", &pickle.finish())?;
    entry("byteorder", b"little")?;
    for (key, storage) in storages.iter().enumerate() {
        entry(&format!("data/{key}"), &bytes(storage).map_err(std::io::Error::other)?)?;
    }
    entry("version", b"3\n")?;
    zip.finish().map_err(std::io::Error::other)?;
    Ok(())
}

fn bytes(tensor: &Tensor) -> TensorResult<Vec<u8>> {
    if tensor.dtype() != DType::F32 {
        candle_core::bail!("only f32 tensors are written, not {:?}", tensor.dtype());
    }
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// A pickle of protocol 2 in the making: a dictionary of tensors.
struct Pickle(Vec<u8>);

impl Pickle {
    fn new() -> Self {
        // PROTO 2, EMPTY_DICT, MARK
        Self(vec![0x80, 2, b'}', b'('])
    }

    /// One item: `name: torch._utils._rebuild_tensor_v2(storage, 0, shape, stride, False, OrderedDict())`.
    fn tensor(&mut self, name: &str, key: usize, shape: &[usize]) {
        let mut stride = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            stride[axis - 1] = stride[axis] * shape[axis];
        }
        self.text(name);
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.push(b'(');
        self.0.push(b'(');
        self.text("storage");
        self.global("torch", "FloatStorage");
        self.text(&key.to_string());
        self.text("cpu");
        self.count(shape.iter().product());
        self.0.extend(b"tQ"); // TUPLE, BINPERSID
        self.count(0);
        self.counts(shape);
        self.counts(&stride);
        self.0.push(0x89); // NEWFALSE
        self.global("collections", "OrderedDict");
        self.0.extend(b")R"); // EMPTY_TUPLE, REDUCE: an empty dictionary of hooks
        self.0.extend(b"tR"); // TUPLE, REDUCE
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.extend(b"u."); // SETITEMS, STOP
        self.0
    }

    fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.push(b'c');
        self.0.extend(format!("{module}\n{name}\n").bytes());
    }

    fn counts(&mut self, counts: &[usize]) {
        self.0.push(b'(');
        counts.iter().for_each(|&count| self.count(count));
        self.0.push(b't');
    }

    fn count(&mut self, count: usize) {
        match i32::try_from(count) {
            Ok(count) => {
                self.0.push(b'J');
                self.0.extend(count.to_le_bytes());
            }
            // LONG1: eight bytes of a larger number.
            Err(_) => {
                self.0.extend([0x8a, 8]);
                self.0.extend((count as u64).to_le_bytes());
            }
        }
    }
}
