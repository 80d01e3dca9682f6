"""Instructions of a warp of the CUDA decode product, for T5 and Gemma 2: sm_90a's code, walked (sass.py).

    python3 bench/model/instructions.py                   a table of all products
    python3 bench/model/instructions.py large.wi          one of them, by the kernel's lines
    python3 bench/model/instructions.py large.wi --code   and warp 0's instructions

Needs nvcc, nvdisasm (of the CUDA toolkit) and g++ on PATH. A launch's arguments are those that the host code
makes (launches.cc). A scheduler has warps w and w + 4 of a block; `of a warp` is the mean of the scheduler
with the most to do, which the block's time depends on.
"""
import argparse
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter

from sass import Code, Launch

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SOURCE, LOOP = "kernels/linear/linear.cu", "multiply("
NVCC = ("nvcc -std=c++17 -O3 -DNDEBUG -D_GNU_SOURCE -I. -gencode arch=compute_90a,code=sm_90a -fmad=false "
        "-cubin -lineinfo")  # tests/ptxas.sh's
HOST = ("g++ -D_GNU_SOURCE -I. -O0 -std=gnu++17 -Itests/runner/include -include tests/runner/runner.h "
        "-Wno-unknown-pragmas -static -no-pie -Wl,--unresolved-symbols=ignore-all -x c++")


def run(command, *more):
    words = [*command.split(), *more]
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def sections(text):
    """{name of a section: its lines} of nvdisasm."""
    out, now = {}, []
    for row in text.splitlines():
        m = re.match(r"(\.(?:text|nv\.constant2)\.\S+):", row)
        if m:
            now = out.setdefault(m[1], [])
        elif row.startswith("//-----"):
            now = []
        now.append(row)
    return out


def tables(rows):
    return bytes(int(b, 16) for row in rows if ".byte" in row for b in re.findall(r"0x([0-9a-f]{2})\b", row))


def places(rows):
    """{pc: [(file, line), …]}, from the inlined function to the kernel."""
    out, frames, begun = {}, [], False
    for row in rows:
        m = re.match(r'\s*//## File "([^"]*)", line (\d+)', row)
        if m:
            frames, begun = (frames if begun else []) + [(os.path.basename(m[1]), int(m[2]))], True
        m = re.match(r"\s*/\*([0-9a-f]{4,})\*/", row)
        if m:
            out[int(m[1], 16)], begun = frames, False
    return out


def of_scheduler(warps, count):
    """The mean of a scheduler's warps, where it is the largest."""
    n = [count(w) for w in warps]
    return max((n[i] + n[i + 4]) / 2 for i in range(4))


class Products:
    def __init__(self, work):
        run(NVCC, "-o", f"{work}/linear.cubin", SOURCE)
        run(HOST, "-o", f"{work}/launches", "bench/model/launches.cc")
        self.sections = sections(run("nvdisasm -gi", f"{work}/linear.cubin"))
        self.rows = [row.split() for row in run(f"{work}/launches").splitlines()]
        with open(os.path.join(ROOT, SOURCE), encoding="utf-8") as f:
            self.source = f.read().splitlines()
        self.codes = {}

    def kernel(self, name):
        """Code and places of fragment_kernel<…>."""
        if name not in self.codes:
            mangled = "fragment_kernelI" + "".join(f"Li{n}E" for n in name.split(",")[:4]) + f"Lb{name[-1]}E"
            key = next(k for k in self.sections if k.startswith(".text") and mangled in k)
            jumps = tables(self.sections.get(key.replace(".text", ".nv.constant2", 1), []))
            self.codes[name] = Code(self.sections[key], jumps), places(self.sections[key])
        return self.codes[name]

    def walk(self, row):
        """(kernel's arguments of its template, grid, [{pc: times} of each warp])."""
        _, _, name, x, y, z, split, ints, params = row
        code, _ = self.kernel(name)
        words = [(int(ints) << 32, int(ints) + 1 << 32)]
        launch = Launch(code, bytes.fromhex(params), 256, (int(x), int(y), int(z)), int(split) - 1, words)
        return name, launch.grid, launch.run()

    def line_of(self, name, pc):
        """The kernel's own line, or 0."""
        frames = self.kernel(name)[1].get(pc) or [("", 0)]
        return frames[-1][1] if frames[-1][0] == os.path.basename(SOURCE) else 0

    def in_loop(self, name, pc):
        return LOOP in self.source[self.line_of(name, pc) - 1]


def table(products):
    print("| product | rows | kernel | blocks | of a warp | besides the loop | warps |")
    print("|---|---|---|---|---|---|---|")
    for row in products.rows:
        name, grid, warps = products.walk(row)
        rest = of_scheduler(warps, lambda w: sum(n for pc, n in w.items() if not products.in_loop(name, pc)))
        all_of = [sum(w.values()) for w in warps]
        print(f"| {row[0]} | {row[1]} | <{name.replace(',', ', ')}> | {grid[0] * grid[1] * grid[2]} | "
              f"{of_scheduler(warps, lambda w: sum(w.values())):.0f} | {rest:.0f} | "
              f"{min(all_of)}–{max(all_of)} |")


def one(products, wanted, code):
    for row in products.rows:
        if row[0] != wanted:
            continue
        name, _, warps = products.walk(row)
        lines = Counter()
        for w in warps:
            for pc, n in w.items():
                lines[products.line_of(name, pc)] += n / len(warps)
        for line, n in sorted(lines.items()):
            text = products.source[line - 1].strip()[:90] if line else "(other files)"
            print(f"{n:8.1f}  {line:4}  {text}")
        what, where = products.kernel(name)
        for pc in sorted(what.at) if code else []:
            if warps[0][pc]:
                print(f"{pc:05x} {warps[0][pc]:4} {what.text[pc]:70} "
                      f"{' '.join(f'{file}:{line}' for file, line in where.get(pc, []))}")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("product", nargs="?", help="small.qkv … large.head")
    p.add_argument("--code", action="store_true")
    a = p.parse_args()
    for tool in ("nvcc", "nvdisasm", "g++"):
        if not shutil.which(tool):
            p.error(f"{tool} is not on PATH: nvcc and nvdisasm are a CUDA toolkit's, "
                    "PyPI's triton has the latter")
    with tempfile.TemporaryDirectory() as work:
        products = Products(work)
        if a.product:
            one(products, a.product, a.code)
        else:
            table(products)


if __name__ == "__main__":
    main()
