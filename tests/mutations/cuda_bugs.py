"""Bugs in what every device source starts from."""
from entry import bug

BUGS = [
    bug("cuda/util.cuh", "reduction", "a warp's sum misses a half",
        "for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync", "for (int d = 8; d > 0; d /= 2) x += __shfl_xor_sync"),
    bug("cuda/util.cuh", "reduction", "lanes meet 1, 2, 4, 8, 16 apart",
        "for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync", "for (int d = 1; d < 32; d *= 2) x += __shfl_xor_sync"),
    bug("cuda/util.cuh", "reduction", "a warp's maximum misses a half",
        "for (int d = 16; d > 0; d /= 2) x = fmaxf", "for (int d = 8; d > 0; d /= 2) x = fmaxf"),
    bug("cuda/util.cuh", "bounds", "a vector load across the end", "if (vector && at + 4 <= end)", "if (vector && at < end)"),
    bug("cuda/util.cuh", "bounds", "the last group of four reads past the end", "at + 3 < end ? p[at + 3] : 0.0f;", "p[at + 3];"),
]
