"""Makes a static library that stands for a shared one and opens it at the first call.

A program linked with it starts where the shared library is missing, and can say so. x86-64 and ELF only.

    python3 lazy_library.py SONAME OUT.a FROM

FROM is the shared library itself, or a C header whose functions are to be found in it.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define HIDDEN __attribute__((visibility("hidden")))

static const char *const names[] = {@names@};
HIDDEN void *@id@_table[@count@];

/* Finds a function. Two threads that look at once find the same one. */
HIDDEN void *@id@_find(unsigned long index) {
    void *library = dlopen("@soname@", RTLD_NOW | RTLD_LOCAL);
    void *function = library ? dlsym(library, names[index]) : NULL;
    if (!function) {
        fprintf(stderr, "error: %s\n", dlerror());
        _Exit(1);
    }
    @id@_table[index] = function;
    return function;
}

/* Arguments are kept while the function is looked for: whatever its type, it is called as if directly. */
__asm__(
    ".text\n"
    "@id@_enter:\n"
    "  pushq %rdi\n  pushq %rsi\n  pushq %rdx\n  pushq %rcx\n  pushq %r8\n  pushq %r9\n  pushq %rax\n"
    "  subq $136, %rsp\n"
    "  movups %xmm0, 0(%rsp)\n  movups %xmm1, 16(%rsp)\n  movups %xmm2, 32(%rsp)\n  movups %xmm3, 48(%rsp)\n"
    "  movups %xmm4, 64(%rsp)\n  movups %xmm5, 80(%rsp)\n  movups %xmm6, 96(%rsp)\n  movups %xmm7, 112(%rsp)\n"
    "  movq 192(%rsp), %rdi\n"
    "  call @id@_find\n"
    "  movq %rax, %r11\n"
    "  movups 0(%rsp), %xmm0\n  movups 16(%rsp), %xmm1\n  movups 32(%rsp), %xmm2\n  movups 48(%rsp), %xmm3\n"
    "  movups 64(%rsp), %xmm4\n  movups 80(%rsp), %xmm5\n  movups 96(%rsp), %xmm6\n  movups 112(%rsp), %xmm7\n"
    "  addq $136, %rsp\n"
    "  popq %rax\n  popq %r9\n  popq %r8\n  popq %rcx\n  popq %rdx\n  popq %rsi\n  popq %rdi\n"
    "  addq $8, %rsp\n"
    "  jmpq *%r11\n"
@functions@);
"""

FUNCTION = (
    '    ".globl {name}\\n.type {name},@function\\n{name}:\\n"\n'
    '    "  movq {id}_table+{offset}(%rip), %r11\\n  testq %r11, %r11\\n  je 1f\\n  jmpq *%r11\\n"\n'
    '    "1:\\n  pushq ${index}\\n  jmp {id}_enter\\n"\n'
)


def functions(source: pathlib.Path) -> list[str]:
    if source.suffix == ".h":
        words = re.findall(r"\bcu[A-Z][A-Za-z0-9]*(?:_v\d+)?(?:_ptsz|_ptds)?\b", source.read_text())
        return sorted(set(words))
    listed = subprocess.run(["nm", "-D", "--defined-only", source], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return sorted({row[2].split("@")[0] for row in rows if len(row) == 3 and row[1] in "TWi"})


def main() -> None:
    soname, out, source = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    names = functions(source)
    if not names:
        sys.exit(f"{source} has no functions")
    id = "lazy_" + re.sub(r"\W", "_", soname.split(".so")[0])
    parts = {
        "names": ", ".join(f'"{name}"' for name in names),
        "count": str(len(names)),
        "soname": soname,
        "functions": "".join(
            FUNCTION.format(name=name, id=id, index=index, offset=8 * index) for index, name in enumerate(names)
        ),
        "id": id,
    }
    text = SOURCE
    for key, value in parts.items():
        text = text.replace(f"@{key}@", value)
    with tempfile.TemporaryDirectory() as folder:
        code, object = pathlib.Path(folder, f"{id}.c"), pathlib.Path(folder, f"{id}.o")
        code.write_text(text)
        subprocess.run(["cc", "-c", "-O1", "-fPIC", "-o", object, code], check=True)
        out.unlink(missing_ok=True)
        subprocess.run(["ar", "rcs", out, object], check=True)


main()
