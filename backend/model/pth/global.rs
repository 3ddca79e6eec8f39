//! The names that a checkpoint may mention. A name is data here: what it stands for in Python is never run.

use candle_core::DType;

use super::fault::Fault;

/// Every name from Python that a dictionary of tensors needs. All others are refused when they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `dict` and `collections.OrderedDict`.
    Dict,
    /// `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata)`.
    RebuildTensorV2,
    /// The same with the element type after the hooks; for types without a storage class of their own.
    RebuildTensorV3,
    /// `torch._utils._rebuild_parameter(tensor, ...)`, also with its state.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2(function, type, args, state)`: a subclass of the tensor.
    RebuildFromType,
    /// `torch.Size`.
    Size,
    /// A class of tensors, named as an argument and not needed.
    TensorType,
    /// `torch.FloatStorage` and the like.
    Storage(Element),
    /// A storage that is bytes: the tensor says what they are.
    UntypedStorage,
    /// `torch.float32` and the like.
    Element(Element),
}

/// Type of a tensor's elements as torch stores them, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    U8,
    /// One byte, 0 or 1; read as `u8`.
    Bool,
    /// Exists in torch and not in candle; refused when a tensor has it.
    Unsupported,
}

impl Element {
    /// The type in memory, before a conversion.
    pub(super) fn dtype(self) -> Option<DType> {
        Some(match self {
            Self::F64 => DType::F64,
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
            Self::I64 => DType::I64,
            Self::I32 => DType::I32,
            Self::I16 => DType::I16,
            Self::U8 | Self::Bool => DType::U8,
            Self::Unsupported => return None,
        })
    }

    fn of_storage(class: &str) -> Option<Self> {
        Some(match class.strip_suffix("Storage")? {
            "Double" => Self::F64,
            "Float" => Self::F32,
            "Half" => Self::F16,
            "BFloat16" => Self::BF16,
            "Long" => Self::I64,
            "Int" => Self::I32,
            "Short" => Self::I16,
            "Byte" => Self::U8,
            "Bool" => Self::Bool,
            "Char" | "ComplexDouble" | "ComplexFloat" | "QUInt8" | "QInt8" | "QInt32" | "QUInt4x2" | "QUInt2x4" => {
                Self::Unsupported
            }
            _ => return None,
        })
    }

    fn of_dtype(name: &str) -> Option<Self> {
        Some(match name {
            "float64" => Self::F64,
            "float32" => Self::F32,
            "float16" => Self::F16,
            "bfloat16" => Self::BF16,
            "int64" => Self::I64,
            "int32" => Self::I32,
            "int16" => Self::I16,
            "uint8" => Self::U8,
            "bool" => Self::Bool,
            "int8" | "uint16" | "uint32" | "uint64" | "complex64" | "complex128" | "float8_e4m3fn" | "float8_e5m2"
            | "float8_e4m3fnuz" | "float8_e5m2fnuz" | "float8_e8m0fnu" => Self::Unsupported,
            _ => return None,
        })
    }
}

impl Global {
    /// Finds the meaning of `module.name`.
    ///
    /// # Errors
    /// [`Fault::Code`] for every name that no dictionary of tensors needs.
    pub(super) fn named(module: &str, name: &str) -> Result<Self, Fault> {
        let found = match (module, name) {
            ("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => Some(Self::Dict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensorV2),
            ("torch._utils", "_rebuild_tensor_v3") => Some(Self::RebuildTensorV3),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Self::RebuildParameter),
            ("torch._tensor", "_rebuild_from_type_v2") => Some(Self::RebuildFromType),
            ("torch", "Size") => Some(Self::Size),
            ("torch", "Tensor") | ("torch._tensor", "Tensor") => Some(Self::TensorType),
            ("torch.nn.parameter", "Parameter" | "Buffer") => Some(Self::TensorType),
            ("torch.storage", "UntypedStorage" | "TypedStorage") | ("torch", "UntypedStorage") => {
                Some(Self::UntypedStorage)
            }
            ("torch", name) => {
                Element::of_storage(name).map(Self::Storage).or_else(|| Element::of_dtype(name).map(Self::Element))
            }
            _ => None,
        };
        found.ok_or_else(|| Fault::Code(printable(module, name)))
    }
}

/// `module.name` for a message: no control characters, not longer than a line or two.
fn printable(module: &str, name: &str) -> String {
    let full_name = format!("{module}.{name}");
    let cut: String = full_name.chars().take(120).collect();
    cut.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_torch_writes_is_known_and_anything_else_is_code() {
        assert_eq!(Global::named("torch", "BFloat16Storage").unwrap(), Global::Storage(Element::BF16));
        assert_eq!(Global::named("torch", "float32").unwrap(), Global::Element(Element::F32));
        assert_eq!(Global::named("__builtin__", "dict").unwrap(), Global::Dict);
        for (module, name) in [("os", "system"), ("torch", "load"), ("builtins", "eval"), ("collections", "Counter")] {
            let refused = Global::named(module, name).unwrap_err().to_string();
            assert_eq!(
                refused,
                format!("refers to {module}.{name}, which is code and not a tensor; refused without running it")
            );
        }
        let odd = Global::named("os\u{1b}[2J", &"x".repeat(1 << 20)).unwrap_err().to_string();
        assert!(odd.len() < 300 && !odd.contains('\u{1b}'));
    }
}
