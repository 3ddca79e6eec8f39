"""Compiles the GPU's kernels as the program does on a machine with a GPU: needs NVRTC, no GPU.

    python check_kernels.py LIBNVRTC backend/model/kernels/kernels.cu
"""

import ctypes
import glob
import os
import sys

# NVRTC opens this one by its name, wherever it is.
for builtins in glob.glob(os.path.join(os.path.dirname(sys.argv[1]), "libnvrtc-builtins.so*")):
    ctypes.CDLL(builtins)
nvrtc = ctypes.CDLL(sys.argv[1])
with open(sys.argv[2], "rb") as file:
    source = file.read()

heads = [[], *([f"-DHEAD_DIM={dim}", f"-DGROUP={group}"] for dim, group in [(32, 2), (64, 2), (80, 1), (96, 4), (128, 4), (128, 8), (256, 8)])]
for number in range(3):
    for fixed in heads:
        # Machine code for H100 and H200, so that what the assembler says of registers and shared memory counts too.
        options = [f"-DNUMBER={number}", *fixed, "--gpu-architecture=sm_90"]
        program = ctypes.c_void_p()
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 0, None, None)
        words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        status = nvrtc.nvrtcCompileProgram(program, len(options), words)
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        said = log.value.decode().strip()
        if status or said:
            sys.exit(f"{' '.join(options)}: {said or status}")
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
print(f"kernels.cu compiles in {3 * len(heads)} variants")
