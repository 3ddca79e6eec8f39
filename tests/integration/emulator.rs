//! The GPU's kernels on the CPU: `kernels.cu` is compiled by the machine's C++ compiler (`tests/emulator`) into a library, and
//! runs thread by thread. This holds its logic, not its speed.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_uint, c_void};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Result};
use libloading::{Library, Symbol};
use trimkv_trace::model::captured::{Argument, Launch, Machine, Manner, Operation, Prepared, Product};
use trimkv_trace::model::decoder::Decoder;

/// Number types, as `kernels.cu` numbers them.
const NUMBERS: [DType; 3] = [DType::F32, DType::BF16, DType::F16];

type Emulate = unsafe extern "C" fn(*const c_char, c_uint, c_uint, c_uint, *mut *mut c_void, c_uint) -> bool;

/// The kernels for a number type and, where they need them, a head width and group. One block runs at a time.
#[derive(Clone)]
pub struct Emulator {
    library: Arc<Mutex<Library>>,
}

/// Libraries by what they were compiled for; `None` without a C++ compiler.
static LIBRARIES: Mutex<BTreeMap<String, Option<Emulator>>> = Mutex::new(BTreeMap::new());

impl Emulator {
    /// Compiles the kernels, once per process; `None` where no C++ compiler is found.
    pub fn new(dtype: DType, fixed: &[(&'static str, usize)]) -> Option<Self> {
        let number = NUMBERS.iter().position(|known| *known == dtype).unwrap();
        let sizes: Vec<String> = fixed.iter().map(|(_, size)| size.to_string()).collect();
        let name = format!("kernels-{number}-{}", sizes.join("-"));
        let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = libraries.get(&name) {
            return known.clone();
        }
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.so", std::process::id()));
        let built = Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned()))
            .args(["-std=c++20", "-O1", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-fvisibility=hidden", "-o"])
            .arg(&file)
            .arg(format!("-DNUMBER={number}"))
            .args(fixed.iter().map(|(name, size)| format!("-D{name}={size}")))
            .arg("tests/emulator/emulator.cpp")
            .output();
        let made = match built {
            Err(error) => {
                println!("skipped: the GPU's kernels on the CPU ({error})");
                None
            }
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                // SAFETY: the library was made a moment ago and has no initialisers but its own.
                #[allow(unsafe_code)]
                let library = unsafe { Library::new(&file) }.unwrap();
                std::fs::remove_file(file).unwrap();
                Some(Self { library: Arc::new(Mutex::new(library)) })
            }
        };
        libraries.insert(name, made.clone());
        made
    }

    /// Runs a kernel. Addresses among the arguments must be those of living memory, as large as the kernel is told.
    pub fn launch(&self, launch: &Launch) {
        let Launch { kernel, blocks: [x, y], threads, arguments, .. } = launch;
        let mut values: Vec<u64> = arguments
            .iter()
            .map(|argument| match *argument {
                Argument::At(address) => address,
                Argument::Size(size) => size,
                Argument::Real(real) => u64::from(real.to_bits()),
            })
            .collect();
        let mut places: Vec<*mut c_void> = values.iter_mut().map(|value| (&raw mut *value).cast()).collect();
        let name = CString::new(*kernel).unwrap();
        let library = self.library.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the library has this one function, with this signature, and looks only at as many places as it is told.
        #[allow(unsafe_code)]
        let known = unsafe {
            let emulate: Symbol<'_, Emulate> = library.get(b"emulate\0").unwrap();
            emulate(name.as_ptr(), *x as u32, *y as u32, *threads, places.as_mut_ptr(), places.len() as u32)
        };
        assert!(known, "there is no {kernel} with {} arguments", arguments.len());
    }
}

/// A machine whose kernels are emulated, and whose products are summed here.
#[derive(Debug, Default)]
pub struct Emulated;

impl Emulated {
    /// The same model, its decoding steps captured.
    pub fn run(model: Decoder) -> Decoder {
        model.on_machine(Some(Arc::new(Self)))
    }
}

struct Step {
    operations: Vec<(Operation, Option<Emulator>)>,
    dtype: DType,
    runs: usize,
}

impl Machine for Emulated {
    fn blocks_wanted(&self) -> usize {
        6
    }

    fn prepare(&self, operations: Vec<Operation>, dtype: DType) -> Result<Box<dyn Prepared>> {
        let emulator = |operation: &Operation| match operation {
            Operation::Launch(launch) => Some(Emulator::new(dtype, &launch.fixed).unwrap()),
            Operation::Product(_) => None,
        };
        let operations = operations.into_iter().map(|operation| (operation.clone(), emulator(&operation))).collect();
        Ok(Box::new(Step { operations, dtype, runs: 0 }))
    }
}

impl Prepared for Step {
    fn run(&mut self) -> Result<()> {
        for (operation, emulator) in &self.operations {
            match (operation, emulator) {
                (Operation::Launch(launch), Some(emulator)) => emulator.launch(launch),
                (Operation::Product(product), _) => match self.dtype {
                    DType::F32 => multiply::<f32>(product, |x| x, |x| x),
                    DType::BF16 => multiply(product, half::bf16::to_f32, half::bf16::from_f32),
                    _ => multiply(product, half::f16::to_f32, half::f16::from_f32),
                },
                _ => unreachable!(),
            }
        }
        self.runs += 1;
        Ok(())
    }

    fn manner(&self) -> Manner {
        if self.runs > 1 { Manner::Graph } else { Manner::Launches(None) }
    }
}

fn multiply<T: Copy>(product: &Product, widen: impl Fn(T) -> f32, narrow: impl Fn(f32) -> T) {
    let Product { left, weight, out, rows, columns, inner } = *product;
    let numbers = |address: u64, count: usize| {
        // SAFETY: a product's addresses are those of tensors of these shapes.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<T>(address as usize), count)
        }
    };
    let (left, weight) = (numbers(left, rows * inner), numbers(weight, columns * inner));
    let dot = |(a, b): (&[T], &[T])| a.iter().zip(b).map(|(&a, &b)| widen(a) * widen(b)).sum::<f32>();
    let made: Vec<T> = left
        .chunks_exact(inner)
        .flat_map(|row| weight.chunks_exact(inner).map(|column| narrow(dot((row, column)))).collect::<Vec<_>>())
        .collect();
    // SAFETY: as above; the result overlaps neither operand.
    #[allow(unsafe_code)]
    unsafe {
        std::ptr::copy_nonoverlapping(made.as_ptr(), std::ptr::with_exposed_provenance_mut(out as usize), made.len());
    }
}
