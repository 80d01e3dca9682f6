#!/usr/bin/env python3
"""tests/golden/quant/blocks.txt: random blocks of the quantised dtypes, dequantised by the gguf package
(0.19).

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
                value = gguf.quants.dequantize(block, kind).astype("<f4")
                bits = value.view(np.uint32)
                out.write(f"{name.lower()} {block.tobytes().hex()} {''.join(f'{b:08x}' for b in bits)}\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
