//! What a step consists of.

use super::Address;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Run a kernel.
    Launch(Launch),
    /// Multiply.
    Product(Product),
}

/// One launch of a kernel of `kernels.cu`, for the number type of the step.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// Its name.
    pub kernel: &'static str,
    /// What the compiler must know, by name.
    pub fixed: Vec<(&'static str, usize)>,
    /// Blocks, in two directions.
    pub blocks: [usize; 2],
    /// Threads of a block.
    pub threads: u32,
    /// In the order of the kernel's own.
    pub arguments: Vec<Argument>,
}

/// One argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// A pointer; 0 is null.
    At(Address),
    /// An unsigned integer of 64 bits.
    Size(u64),
    /// A float.
    Real(f32),
}

/// `out = left weight^T`, in the number type of the step, summed in f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Product {
    /// `(rows, inner)`.
    pub left: Address,
    /// `(columns, inner)`.
    pub weight: Address,
    /// `(rows, columns)`.
    pub out: Address,
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// Numbers that are summed for each of its numbers.
    pub inner: usize,
}

impl Launch {
    /// A launch of `kernel` without arguments.
    pub fn new(kernel: &'static str, blocks: [usize; 2], threads: u32) -> Self {
        Self { kernel, fixed: Vec::new(), blocks, threads, arguments: Vec::new() }
    }

    /// Adds pointers.
    pub fn at(mut self, addresses: &[Address]) -> Self {
        self.arguments.extend(addresses.iter().map(|&address| Argument::At(address)));
        self
    }

    /// Adds integers.
    pub fn sizes(mut self, sizes: &[usize]) -> Self {
        self.arguments.extend(sizes.iter().map(|&size| Argument::Size(size as u64)));
        self
    }

    /// Adds an integer that may be negative, for kernels that read it as a signed one.
    pub fn integer(mut self, integer: i64) -> Self {
        self.arguments.push(Argument::Size(integer.cast_unsigned()));
        self
    }

    /// Adds a float.
    pub fn real(mut self, real: f64) -> Self {
        self.arguments.push(Argument::Real(real as f32));
        self
    }
}
