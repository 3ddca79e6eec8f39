//! Reads `trimkv_weights.pth`, a torch checkpoint, as what it should be: a dictionary of tensors.
//!
//! Such a file is a zip archive of raw storages and a pickle, `data.pkl`, that says how to put tensors together from
//! them. A pickle is a program: loading it in Python may run anything. Here it is parsed and never run, every name that
//! is not torch's own description of a tensor refuses the file, and every number in it is checked before it is used.

mod fault;
mod global;
mod parser;
mod pickle;
mod rebuild;
pub mod writer;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use zip::{CompressionMethod, ZipArchive};

use pickle::Pickle;
use rebuild::View;

pub use fault::{Fault, PthError};

/// Longest `data.pkl` that is read. The list of a model with thousands of tensors takes a few hundred kilobytes.
const MOST_PICKLE_BYTES: u64 = 8 << 20;

/// How often all views together may hold what the file holds. Tied weights share one storage and cost nothing.
const MOST_COPIES: u64 = 4;

/// Reads all tensors of the checkpoint at `path` into the CPU's memory, in the type they are stored in; `f64` becomes
/// `f32`, and `bool` becomes `u8`.
///
/// # Errors
/// When the file is not a torch zip archive, is damaged, or describes anything but tensors.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, PthError> {
    let file = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    match File::open(path) {
        Ok(opened) => read_from(BufReader::new(opened), &file),
        Err(error) => Err(PthError { file: path.display().to_string(), fault: Fault::Io(error) }),
    }
}

/// As [`read`], from any source; `file` is what messages call it.
///
/// # Errors
/// As for [`read`].
pub fn read_from(source: impl Read + Seek, file: &str) -> Result<BTreeMap<String, Tensor>, PthError> {
    Archive::open(source)
        .and_then(|mut archive| archive.tensors())
        .map_err(|fault| PthError { file: file.to_owned(), fault })
}

struct Archive<R> {
    zip: ZipArchive<R>,
    /// What every entry's name begins with; torch uses the file's name and a slash.
    root: String,
    /// Length of the file.
    held: u64,
}

impl<R: Read + Seek> Archive<R> {
    fn open(mut source: R) -> Result<Self, Fault> {
        let held = source.seek(SeekFrom::End(0))?;
        source.rewind()?;
        let mut start = Vec::new();
        source.by_ref().take(64).read_to_end(&mut start)?;
        recognise(&start)?;

        let mut zip = ZipArchive::new(source)?;
        let mut claimed = 0u64;
        for index in 0..zip.len() {
            let entry = zip.by_index_raw(index)?;
            if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
                return Err(Fault::Compressed(entry.name().map_or_else(|_| "?".to_owned(), |name| name.into_owned())));
            }
            claimed = claimed.saturating_add(entry.size());
        }
        if claimed > held {
            return Err(Fault::Bomb { claimed, held });
        }
        let pickles: Vec<String> = zip
            .file_names()
            .flatten()
            .filter_map(|name| name.strip_suffix("data.pkl").map(str::to_owned))
            .filter(|root| root.is_empty() || root.ends_with('/'))
            .collect();
        match <[String; 1]>::try_from(pickles) {
            Ok([root]) => Ok(Self { zip, root, held }),
            Err(pickles) => Err(Fault::DataPkl(pickles.len())),
        }
    }

    fn tensors(&mut self) -> Result<BTreeMap<String, Tensor>, Fault> {
        if let Some(order) = self.entry("byteorder")?
            && order != b"little"
        {
            return Err(Fault::ByteOrder(String::from_utf8_lossy(&order).chars().take(20).collect()));
        }
        let list = self.entry("data.pkl")?.ok_or(Fault::DataPkl(0))?;
        let bytes = list.len() as u64;
        if bytes > MOST_PICKLE_BYTES {
            return Err(Fault::LongList { bytes, most: MOST_PICKLE_BYTES });
        }
        let pickle = Pickle::parse(&list)?;
        // Each storage is read once and only one is in memory beside the tensors.
        let mut views: Vec<(&str, View<'_>)> = rebuild::views(&pickle)?.into_iter().collect();
        views.sort_by_key(|(_, view)| view.storage);

        let mut tensors = BTreeMap::new();
        let mut copied = 0u64;
        for views in views.chunk_by(|(_, a), (_, b)| a.storage == b.storage) {
            let needed = views.iter().max_by_key(|(_, view)| view.storage_bytes);
            let storage = needed.map(|(name, view)| self.storage(name, view)).transpose()?.unwrap_or_default();
            // Tied weights are one part of one storage under several names, and stay one tensor.
            let mut made: HashMap<&View<'_>, Tensor> = HashMap::new();
            for (name, view) in views {
                if !made.contains_key(view) {
                    copied = copied.saturating_add((view.elements() * view.element_bytes()) as u64);
                    if copied > self.held.saturating_mul(MOST_COPIES) {
                        return Err(Fault::tensor(name, "with which its tensors are far larger than the file"));
                    }
                    made.insert(view, tensor(view, &storage).map_err(|problem| Fault::tensor(name, problem))?);
                }
                tensors.extend(made.get(view).map(|tensor| ((*name).to_owned(), tensor.clone())));
            }
        }
        Ok(tensors)
    }

    /// The bytes of a view's storage.
    fn storage(&mut self, name: &str, view: &View<'_>) -> Result<Vec<u8>, Fault> {
        let Some(bytes) = self.entry(&format!("data/{}", view.storage))? else {
            return Err(Fault::tensor(name, "whose storage is missing"));
        };
        if (bytes.len() as u64) < view.storage_bytes {
            let problem = format!("whose storage has {} bytes instead of {}", bytes.len(), view.storage_bytes);
            return Err(Fault::tensor(name, problem));
        }
        Ok(bytes)
    }

    /// A whole entry, if there is one of this name. Its length was checked against the file's.
    fn entry(&mut self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let Some(index) = self.zip.index_for_name(&format!("{}{name}", self.root)) else { return Ok(None) };
        let entry = self.zip.by_index(index)?;
        let size = entry.size();
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        // One byte more than there are: the checksum is compared when the end is seen.
        entry.take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(zip::result::ZipError::Io)?;
        if (bytes.len() as u64) < size {
            return Err(Fault::Damaged(format!("entry {name:?} stops early")));
        }
        Ok(Some(bytes))
    }
}

/// Tells the files that people mistake for a checkpoint from one another.
fn recognise(start: &[u8]) -> Result<(), Fault> {
    /// The number 0x1950a86a20f9469cfc6c as a pickle, with which torch began its files before version 1.6.
    const OLD_MAGIC: [u8; 14] = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    match start {
        [b'P', b'K', 3, 4, ..] => Ok(()),
        start if start.starts_with(&OLD_MAGIC) => Err(Fault::OldFormat),
        start if start.starts_with(b"version https://git-lfs") => Err(Fault::LfsPointer),
        _ => Err(Fault::NotZip),
    }
}

/// Makes a view's tensor from its storage's bytes, which are known to be enough.
fn tensor(view: &View<'_>, storage: &[u8]) -> Result<Tensor, String> {
    // candle appends a backtrace to its messages where one was asked for.
    let refused = |error: candle_core::Error| {
        format!("which cannot be made ({})", error.to_string().lines().next().unwrap_or_default())
    };
    let dtype = view.element.dtype().ok_or("whose elements have an unknown type")?;
    let width = view.element_bytes();
    let gathered;
    let bytes = if view.elements() == 0 {
        &[]
    } else if view.is_contiguous() {
        &storage[view.offset * width..][..view.elements() * width]
    } else {
        gathered = gather(view, storage);
        &gathered[..]
    };
    let tensor = Tensor::from_raw_buffer(bytes, dtype, &view.shape, &Device::Cpu).map_err(refused)?;
    if dtype == DType::F64 { tensor.to_dtype(DType::F32).map_err(refused) } else { Ok(tensor) }
}

/// The elements of a view with strides, in the tensor's order.
fn gather(view: &View<'_>, storage: &[u8]) -> Vec<u8> {
    let width = view.element_bytes();
    let mut bytes = Vec::with_capacity(view.elements() * width);
    let mut index = vec![0; view.shape.len()];
    for _ in 0..view.elements() {
        let at: usize = index.iter().zip(&view.stride).map(|(&index, &stride)| index * stride).sum();
        bytes.extend_from_slice(&storage[(view.offset + at) * width..][..width]);
        // Counts up like an odometer, the last axis fastest.
        for (axis, &size) in view.shape.iter().enumerate().rev() {
            index[axis] += 1;
            if index[axis] < size {
                break;
            }
            index[axis] = 0;
        }
    }
    bytes
}
