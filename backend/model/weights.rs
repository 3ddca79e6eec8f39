//! Base weights from safetensors files, mapped into memory and checked as they are taken.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::error::ModelError;

/// Where a decoder's tensors come from.
pub trait TensorSource {
    /// Whether a tensor of this name exists.
    fn contains(&self, name: &str) -> bool;

    /// Takes a tensor of exactly this shape, as `dtype` on `device`.
    ///
    /// # Errors
    /// When there is no such tensor, its content is unusable, or memory runs out.
    fn take(&self, name: &str, shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor, ModelError>;
}

impl TensorSource for Weights {
    fn contains(&self, name: &str) -> bool {
        self.contains(name)
    }

    fn take(&self, name: &str, shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor, ModelError> {
        self.take(name, shape, dtype, device)
    }
}

/// Where bytes live.
enum Bytes {
    Mapped(Mmap),
    Embedded(&'static [u8]),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Embedded(bytes) => bytes,
        }
    }
}

struct WeightsFile {
    path: PathBuf,
    bytes: Bytes,
}

struct Place {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    range: std::ops::Range<usize>,
}

/// The named tensors of a checkpoint, one or several safetensors files.
pub struct Weights {
    source: PathBuf,
    files: Vec<WeightsFile>,
    places: BTreeMap<String, Place>,
}

/// The index beside sharded weights.
#[derive(Deserialize)]
pub struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads `model.safetensors.index.json`.
    ///
    /// # Errors
    /// When it is unreadable, or names a file that is not a plain name beside it.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text = read_text(path)?;
        let index: Self = serde_json::from_str(&text)
            .map_err(|error| ModelError::Damaged { path: path.to_owned(), problem: error.to_string() })?;
        if let Some(name) =
            index.weight_map.values().find(|name| Path::new(name).file_name().is_none_or(|n| n != name.as_str()))
        {
            return Err(ModelError::Config {
                path: path.to_owned(),
                problem: format!("shard {name:?} is not a plain file name"),
            });
        }
        Ok(index)
    }

    /// The shard files, each once.
    pub fn shards(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.weight_map.values().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Name of the single weights file.
pub const SINGLE: &str = "model.safetensors";
/// Name of the index of sharded weights.
pub const INDEX: &str = "model.safetensors.index.json";

impl Weights {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
    ///
    /// # Errors
    /// When neither is there, or a file is truncated or not safetensors.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let single = directory.join(SINGLE);
        let index = directory.join(INDEX);
        let paths = if single.exists() {
            vec![single]
        } else if index.exists() {
            ShardIndex::read(&index)?.shards().into_iter().map(|name| directory.join(name)).collect()
        } else {
            return Err(ModelError::MissingFile {
                path: single,
                remedy: "a model directory holds config.json and safetensors weights",
            });
        };
        let files = paths.into_iter().map(WeightsFile::map).collect::<Result<_, _>>()?;
        Self::index(directory.to_owned(), files)
    }

    /// Opens one safetensors file.
    ///
    /// # Errors
    /// When it is missing, truncated or not safetensors.
    pub fn open_file(path: &Path) -> Result<Self, ModelError> {
        Self::index(path.to_owned(), vec![WeightsFile::map(path.to_owned())?])
    }

    /// Reads weights that are part of the program.
    ///
    /// # Errors
    /// When the bytes are not safetensors.
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self, ModelError> {
        let path = PathBuf::from(name);
        Self::index(path.clone(), vec![WeightsFile { path, bytes: Bytes::Embedded(bytes) }])
    }

    fn index(source: PathBuf, files: Vec<WeightsFile>) -> Result<Self, ModelError> {
        let mut places = BTreeMap::new();
        for (number, file) in files.iter().enumerate() {
            let bytes = file.bytes.as_slice();
            let damaged = |error: safetensors::SafeTensorError| ModelError::Damaged {
                path: file.path.clone(),
                problem: error.to_string(),
            };
            // Deserializing checks the header against the file's length; it copies nothing.
            let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
            for (name, view) in tensors.iter() {
                let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
                let range = start..start + view.data().len();
                places.insert(
                    name.to_owned(),
                    Place { file: number, dtype: view.dtype(), shape: view.shape().to_vec(), range },
                );
            }
        }
        Ok(Self { source, files, places })
    }

    /// Whether a tensor of this name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Bytes of all files.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes.as_slice().len() as u64).sum()
    }

    /// Takes a tensor of exactly this shape, as `dtype` on `device`.
    ///
    /// # Errors
    /// When it is missing, has another shape or an unsupported type, or holds a value that is not finite.
    pub fn take(&self, name: &str, shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor, ModelError> {
        let Some(place) = self.places.get(name) else {
            return Err(ModelError::MissingTensors { path: self.source.clone(), names: vec![name.to_owned()] });
        };
        let file = &self.files[place.file];
        if place.shape != shape {
            return Err(ModelError::WrongShape {
                path: file.path.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: place.shape.clone(),
            });
        }
        let stored = match place.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                return Err(ModelError::UnsupportedType {
                    path: file.path.clone(),
                    name: name.to_owned(),
                    dtype: format!("{other:?}"),
                });
            }
        };
        let bytes = &file.bytes.as_slice()[place.range.clone()];
        if let Some(element) = first_non_finite(bytes, stored) {
            return Err(ModelError::NonFiniteWeight { path: file.path.clone(), name: name.to_owned(), element });
        }
        Ok(Tensor::from_raw_buffer(bytes, stored, shape, device)?.to_dtype(dtype)?)
    }
}

impl WeightsFile {
    fn map(path: PathBuf) -> Result<Self, ModelError> {
        let file = File::open(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                ModelError::MissingFile { path: path.clone(), remedy: "the index names it; fetch it again" }
            }
            _ => ModelError::Io { path: path.clone(), source },
        })?;
        // SAFETY: a map is only unsound if another process shrinks the file while we read it. Weights files are
        // written once, and reading gigabytes through a copy would double the memory a model takes.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(|source| ModelError::Io { path: path.clone(), source })?;
        Ok(Self { path, bytes: Bytes::Mapped(map) })
    }
}

/// Reads a text file.
///
/// # Errors
/// When it is missing, unreadable or not UTF-8.
pub fn read_text(path: &Path) -> Result<String, ModelError> {
    std::fs::read_to_string(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ModelError::MissingFile {
            path: path.to_owned(),
            remedy: "a model directory holds config.json and safetensors weights",
        },
        _ => ModelError::Io { path: path.to_owned(), source },
    })
}

/// Index of the first element whose exponent bits are all ones (NaN or infinity).
fn first_non_finite(bytes: &[u8], dtype: DType) -> Option<usize> {
    fn scan<const N: usize>(bytes: &[u8], is_bad: impl Fn([u8; N]) -> bool) -> Option<usize> {
        // Blocks first, so that the common case is one branch-free sweep that the compiler can vectorise.
        const BLOCK: usize = 4096;
        let (elements, _) = bytes.as_chunks::<N>();
        let block = elements.chunks(BLOCK).position(|block| block.iter().fold(false, |bad, &e| bad | is_bad(e)))?;
        let start = block * BLOCK;
        elements[start..].iter().position(|&e| is_bad(e)).map(|offset| start + offset)
    }
    match dtype {
        DType::F32 => scan::<4>(bytes, |e| u32::from_le_bytes(e) & 0x7f80_0000 == 0x7f80_0000),
        DType::F16 => scan::<2>(bytes, |e| u16::from_le_bytes(e) & 0x7c00 == 0x7c00),
        DType::BF16 => scan::<2>(bytes, |e| u16::from_le_bytes(e) & 0x7f80 == 0x7f80),
        _ => None,
    }
}

/// The same check for a tensor that is already in memory.
pub fn first_non_finite_of(tensor: &Tensor) -> candle_core::Result<Option<usize>> {
    let values = tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    Ok(values.iter().position(|value| !value.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bad_element_is_found_in_every_type() {
        let mut values = vec![1.0f32; 5000];
        assert_eq!(first_non_finite(&f32_bytes(&values), DType::F32), None);
        values[4321] = f32::NAN;
        assert_eq!(first_non_finite(&f32_bytes(&values), DType::F32), Some(4321));
        let bf16 = [0x3f80u16, 0x7f80, 0x7fc0];
        let bytes: Vec<u8> = bf16.iter().flat_map(|b| b.to_le_bytes()).collect();
        assert_eq!(first_non_finite(&bytes, DType::BF16), Some(1));
        assert_eq!(first_non_finite(&0x7bffu16.to_le_bytes(), DType::F16), None, "the largest finite half");
    }

    fn f32_bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }
}
