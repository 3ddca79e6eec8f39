//! From a pickle's values to the tensors they describe: which storage, which part of it, in which order.

use std::collections::BTreeMap;

use super::fault::Fault;
use super::global::{Element, Global};
use super::pickle::{Node, Pickle, Value};

/// Wrappers around one tensor that are looked through; torch makes two at most.
const MOST_WRAPPERS: usize = 4;

/// More axes than any real tensor has.
const MOST_AXES: usize = 32;

/// A tensor as a part of a storage. All counts are in elements.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct View<'a> {
    /// Name of the storage's entry in the archive.
    pub(super) storage: &'a str,
    /// Bytes of the storage that may be used.
    pub(super) storage_bytes: u64,
    pub(super) element: Element,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) stride: Vec<usize>,
}

/// The tensors of the dictionary that `pickle` describes, by name. Of two entries with one name the later counts.
///
/// # Errors
/// When it describes anything else, or a tensor that reaches beyond its storage.
pub(super) fn views(pickle: &Pickle) -> Result<BTreeMap<&str, View<'_>>, Fault> {
    entries(pickle)?
        .iter()
        .map(|&(key, value)| {
            let name = pickle.text(key).ok_or(Fault::NotTensors("a key that is no name"))?;
            Ok((name, view(pickle, value).map_err(|problem| Fault::tensor(name, problem))?))
        })
        .collect()
}

/// The dictionary itself, or the one that training scripts put under `state_dict` beside their counters.
fn entries(pickle: &Pickle) -> Result<&[(Node, Node)], Fault> {
    let Value::Dict(outer) = pickle.value(pickle.root) else {
        return Err(Fault::NotTensors("one value"));
    };
    let wrapped = outer.iter().rev().find(|&&(key, _)| pickle.text(key) == Some("state_dict"));
    match wrapped.map(|&(_, inner)| pickle.value(inner)) {
        Some(Value::Dict(inner)) => Ok(inner),
        _ => Ok(outer),
    }
}

/// Reads one entry. The error is the second half of "the file holds NAME, ...".
fn view(pickle: &Pickle, value: Node) -> Result<View<'_>, String> {
    let Tensor { function, args } = unwrapped(pickle, value).ok_or("which is not a tensor")?;
    let unreadable = || "whose description is not one that torch writes".to_owned();
    let args = pickle.tuple(args).ok_or_else(unreadable)?;
    let &[storage, offset, size, stride, ..] = args else { return Err(unreadable()) };
    let Value::Storage(id) = *pickle.value(storage) else { return Err(unreadable()) };
    let &[tag, class, key, _device, length, ..] = pickle.tuple(id).ok_or_else(unreadable)? else {
        return Err(unreadable());
    };
    let (Some("storage"), Some(key)) = (pickle.text(tag), pickle.text(key)) else { return Err(unreadable()) };
    let (Some(offset), Some(length)) = (pickle.count(offset), pickle.count(length)) else {
        return Err("whose offset or storage length is not a count".to_owned());
    };
    let (Some(shape), Some(stride)) = (pickle.counts(size), pickle.counts(stride)) else {
        return Err("whose shape or strides are not counts".to_owned());
    };
    let (element, unit_bytes) = element(pickle, function, args, class)?;
    let view = View {
        storage: key,
        storage_bytes: (length as u64).checked_mul(unit_bytes).ok_or("whose storage is impossibly long")?,
        element,
        offset,
        shape,
        stride,
    };
    view.check()?;
    Ok(view)
}

struct Tensor {
    function: Global,
    args: Node,
}

/// Looks through parameters and subclasses to the tensor itself.
fn unwrapped(pickle: &Pickle, value: Node) -> Option<Tensor> {
    let mut value = value;
    for _ in 0..MOST_WRAPPERS {
        let &Value::Call(function, args) = pickle.value(value) else { return None };
        match (function, pickle.tuple(args)?) {
            (Global::RebuildTensorV2 | Global::RebuildTensorV3, _) => return Some(Tensor { function, args }),
            (Global::RebuildParameter, &[tensor, ..]) => value = tensor,
            (Global::RebuildFromType, &[function, _type, args, ..]) => match *pickle.value(function) {
                Value::Global(function @ (Global::RebuildTensorV2 | Global::RebuildTensorV3)) => {
                    return Some(Tensor { function, args });
                }
                Value::Global(Global::RebuildParameter) => value = *pickle.tuple(args)?.first()?,
                _ => return None,
            },
            _ => return None,
        }
    }
    None
}

/// The tensor's element type, and how many bytes one unit of its storage's length is.
fn element(pickle: &Pickle, function: Global, args: &[Node], class: Node) -> Result<(Element, u64), String> {
    let &Value::Global(class) = pickle.value(class) else { return Err("whose storage has no class".to_owned()) };
    let bytes_of = |element: Element| match element.dtype() {
        Some(dtype) => Ok(dtype.size_in_bytes() as u64),
        None => Err("whose element type is not one that this program reads".to_owned()),
    };
    let told = (function == Global::RebuildTensorV3).then(|| args.get(6).map(|&told| pickle.value(told)));
    match (class, told) {
        (Global::Storage(element), None) => Ok((element, bytes_of(element)?)),
        (Global::UntypedStorage, Some(Some(&Value::Global(Global::Element(element))))) => {
            bytes_of(element).map(|_| (element, 1))
        }
        (Global::Storage(stored), Some(Some(&Value::Global(Global::Element(element))))) => {
            bytes_of(element)?;
            Ok((element, bytes_of(stored)?))
        }
        (Global::UntypedStorage, None) => Err("which does not say what its elements are".to_owned()),
        _ => Err("whose storage has no class".to_owned()),
    }
}

impl View<'_> {
    /// Elements of the tensor. Checked when the view is made.
    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of one element.
    pub(super) fn element_bytes(&self) -> usize {
        self.element.dtype().map_or(1, |dtype| dtype.size_in_bytes())
    }

    /// Whether the elements follow each other in the storage as they do in the tensor.
    pub(super) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.stride).rev().all(|(&size, &stride)| {
            let fits = size <= 1 || stride == expected;
            expected *= size.max(1);
            fits
        })
    }

    /// Refuses a view that reaches beyond its storage or is larger than it; a small file could else fill the memory.
    fn check(&self) -> Result<(), String> {
        if self.shape.len() != self.stride.len() || self.shape.len() > MOST_AXES {
            return Err(format!("which has {} axes and {} strides", self.shape.len(), self.stride.len()));
        }
        let storage = self.storage_bytes / self.element_bytes() as u64;
        // An axis of length 0 counts as one, or the other axes of an empty tensor could be of any length.
        let elements = self.shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size.max(1) as u64));
        let span = self.shape.iter().zip(&self.stride).try_fold(self.offset as u64, |last, (&size, &stride)| {
            (size.saturating_sub(1) as u64).checked_mul(stride as u64)?.checked_add(last)
        });
        match (elements, span) {
            (Some(_), _) if self.elements() == 0 => Ok(()),
            (Some(elements), Some(last)) if last < storage && elements <= storage => Ok(()),
            _ => Err(format!("which reaches beyond its storage of {storage} elements")),
        }
    }
}
