#!/usr/bin/env bash
# Runs cargo with the CUDA feature on a machine that has no CUDA toolkit and no GPU: the compiler and the libraries come
# from NVIDIA's packages on PyPI (1.2 GB, fetched once). Needs Python 3 with venv, a C++ compiler with binutils, and cargo.
#
#   scripts/build-cuda.sh                      build --release
#   scripts/build-cuda.sh check                whether our code and our kernels compile; candle's do not (see below)
#   scripts/build-cuda.sh clippy -- -D warnings
#   scripts/build-cuda.sh test --release --no-run    anything else that cargo does
#
# CUDA_HOME          a toolkit that is there already; nothing is fetched then
# CUDA_VENV          where the packages go [default: cuda/venv in the target directory]
# CUDA_COMPUTE_CAP   what the kernels are compiled for [default: 90, H100 and H200]
# CUDAFORGE_THREADS  compilers at once [default: 1]
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)

if [ -z "${CUDA_HOME:-}" ]; then
  venv=${CUDA_VENV:-$target/cuda/venv}
  if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
  fi
  # One toolkit release: 13.0. The driver must be 580 or newer.
  "$venv/bin/python" -m pip install --quiet \
    nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85 \
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-nvrtc==13.0.88 nvidia-cublas==13.1.0.3 nvidia-curand==10.4.0.35
  unpacked=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/nvidia/cu13
  # Build scripts look for a toolkit's usual layout.
  CUDA_HOME=$target/cuda/home
  rm -rf "$CUDA_HOME"
  mkdir -p "$CUDA_HOME/lib64"
  for part in bin include nvvm; do
    ln -sfn "$unpacked/$part" "$CUDA_HOME/$part"
  done
  # Libraries are opened at the first call, so that the program also starts, on the CPU, where there are none: each is
  # stood for by a small static library that the linker finds under its name. The driver's is known by its header only,
  # and the runtime comes as a static library that does the same for the driver.
  if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "build-cuda.sh knows Linux on x86-64 only; set CUDA_HOME to a toolkit to build elsewhere" >&2
    exit 1
  fi
  lazy() { "$venv/bin/python" scripts/lazy_library.py "$1" "$CUDA_HOME/lib64/$2.a" "$3"; }
  lazy libcuda.so.1 libcuda "$unpacked/include/cuda.h"
  for name in libcublas libcublasLt libcurand libnvrtc; do
    library=$(echo "$unpacked/lib/$name".so.*)
    lazy "$(basename "$library")" "$name" "$library"
  done
  ln -sf "$unpacked/lib/libcudart_static.a" "$CUDA_HOME/lib64/libcudart.a"
fi

export CUDA_HOME CUDA_PATH=$CUDA_HOME PATH="$CUDA_HOME/bin:$PATH"
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90} CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-1}
if [ $# -eq 0 ]; then set -- build --release; fi

case $1 in
check | clippy)
  # These link nothing and run nothing, and candle's kernels take a quarter of an hour. So a stand-in for nvcc leaves
  # empty files, in a target directory of its own, that no build may ever find.
  checked=$target/cuda/check
  mkdir -p "$checked/home/bin"
  ln -sfn "$CUDA_HOME/include" "$checked/home/include"
  ln -sfn "$CUDA_HOME/lib64" "$checked/home/lib64"
  cat >"$checked/home/bin/nvcc" <<STAND_IN
#!/usr/bin/env bash
folder= source= out= makes=
while [ \$# -gt 0 ]; do
  case \$1 in
  -o) out=\$2; shift ;;
  --output-directory) folder=\$2; shift ;;
  -c | --lib | --ptx) makes=\$1 ;;
  *.cu) source=\$1 ;;
  --version | --list-gpu-code) exec "$CUDA_HOME/bin/nvcc" "\$1" ;;
  esac
  shift
done
if [ "\$makes" = --ptx ]; then out=\$folder/\$(basename "\$source" .cu).ptx; fi
if [ -n "\$makes" ] && [ -n "\$out" ]; then exec touch "\$out"; fi
echo "nvcc is not run by a check" >&2
exit 1
STAND_IN
  chmod +x "$checked/home/bin/nvcc"
  if [ -n "${unpacked:-}" ]; then
    "$venv/bin/python" scripts/check_kernels.py "$(echo "$unpacked"/lib/libnvrtc.so.*)" backend/model/kernels/kernels.cu
  fi
  export CUDA_HOME=$checked/home CUDA_PATH=$checked/home PATH="$checked/home/bin:$PATH" CARGO_TARGET_DIR=$checked
  ;;
esac
exec cargo "$1" --features cuda "${@:2}"
