#!/usr/bin/env python3
"""tests/golden/quant/blocks.txt: random blocks of the quantised dtypes, dequantised by the gguf package
(0.19); of int4 and int4_128 by numpy from kernels/weight/quant.h, of fp8 from the definition of e4m3 (arXiv
2209.05433, table 1), for none of them is a type of GGUF.

usage: make_quant.py OUTPUT

MXFP4's scale is a byte, without NaN: its first blocks have the least and the largest.

A line: dtype, the block's bytes, the elements' f32 bits, in hexadecimal. Scales are ordinary numbers in most
blocks; the last three of a dtype have all scales infinite, NaN and subnormal.
"""

import sys

import gguf
import numpy as np

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4", "Q2_K",
         "Q3_K"]
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [], "Q2_K": [80, 82],
          "Q3_K": [108]}
BLOCKS = {"Q4_K": 6, "Q5_K": 6, "Q6_K": 6, "IQ4_XS": 6, "Q2_K": 6, "Q3_K": 6}
EXPONENTS = [0, 1, 2, 100, 255]  # of the first blocks of MXFP4


def int4_blocks(rng, n=1):
    """Pairs of a block's bytes and its n times 32 elements: d (q - z) in f32, d an f16 or a bf16."""
    for i in range(12):
        d = np.float32(np.float16(rng.normal() * 0.05))
        if i % 2:
            d = (np.float32(rng.normal()).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        if i >= 9:
            d = np.float32([np.inf, np.nan, np.float16(3e-7)][i - 9])
        z, q = int(rng.integers(0, 16)), rng.integers(0, 16, (n, 32))
        word = np.uint32(d.view(np.uint32) | np.uint32(z))
        codes = (q[:, :16] | q[:, 16:] << 4).astype(np.uint8).ravel()
        value = d * (q - z).astype(np.float32).ravel()
        yield np.concatenate([np.frombuffer(word.tobytes(), np.uint8), codes]), value


def e4m3(code):
    sign = np.where(code & 128, -1.0, 1.0)
    exponent, mantissa = code >> 3 & 15, code & 7
    return sign * np.where(exponent, 2.0 ** (exponent - 7.0) * (1 + mantissa / 8), 2.0**-6 * mantissa / 8)


def fp8_blocks(rng):
    """The same; codes of NaN are not used."""
    for i in range(8):
        code = rng.integers(0, 255, 64, dtype=np.uint8)
        code[code == 127] = 126
        scale = np.float32([np.inf, np.nan, 3e-42][i - 5] if i > 4 else rng.normal() * 0.05)
        value = (scale.astype(np.float64) * e4m3(code.astype(np.int64))).astype("<f4")
        yield np.concatenate([np.frombuffer(scale.tobytes(), np.uint8), code]), value


def put(out, name, block, value):
    bits = value.astype("<f4").view(np.uint32)
    out.write(f"{name} {block.tobytes().hex()} {''.join(f'{b:08x}' for b in bits)}\n")


def main(path):
    rng = np.random.default_rng(5)
    np.seterr(all="ignore")
    with open(path, "w", encoding="ascii") as out:
        for name in TYPES:
            kind = gguf.GGMLQuantizationType[name]
            size = gguf.GGML_QUANT_SIZES[kind][1]
            n = BLOCKS.get(name, 12)
            for i in range(n):
                block = rng.integers(0, 256, size, dtype=np.uint8)
                for at in SCALES[name]:
                    scale = np.float16(rng.normal() * 0.05)
                    if i == n - 3:
                        scale = np.float16(np.inf)
                    if i == n - 2:
                        scale = np.float16(np.nan)
                    if i == n - 1:
                        scale = np.float16(3e-7)
                    block[at : at + 2] = np.frombuffer(scale.tobytes(), np.uint8)
                if name == "MXFP4" and i < len(EXPONENTS):
                    block[0] = EXPONENTS[i]
                put(out, name.lower(), block, gguf.quants.dequantize(block, kind))
        for block, value in int4_blocks(rng):
            put(out, "int4", block, value)
        for block, value in fp8_blocks(rng):
            put(out, "fp8", block, value)
        for block, value in int4_blocks(rng, 4):
            put(out, "int4_128", block, value)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
