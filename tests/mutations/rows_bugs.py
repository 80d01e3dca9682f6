"""Bugs in embeddings, norms, rotation and gathers."""
from entry import bug

BUGS = [
    bug("rows/embed.cu", "index", "a tile's groups of two change places", "i % 4 / 2 * 4 + lane / 8 * 2", "i % 4 / 2 * 2 + lane / 8 * 4"),
    bug("rows/embed.cu", "dead row", "a token outside the table is looked up", "return row >= 0 && row < t.n ? row : -1;", "return row;"),
    bug("rows/embed.cu", "math", "the scale is forgotten", "from >= 0 ? scale * element(t, from, i)", "from >= 0 ? (scale < 0.0f ? scale : 1.0f) * element(t, from, i)"),
    bug("rows/rmsnorm.cu", "barrier", "warps' sums are read before they are there",
        "part[threadIdx.x / 32] = sum;\n    __syncthreads();\n", "part[threadIdx.x / 32] = sum;\n"),
    bug("rows/rmsnorm.cu", "reduction", "what does not stay in registers is left out of the sum",
        "        sum = squares(k_load4(x, at, a.dim, a.vector), sum);\n", "        (void)at;\n"),
    bug("rows/rmsnorm.cu", "epilogue", "a norm behind a sub-layer overwrites the residual", "    if (a.add) {\n", "    if (false) {\n"),
    bug("rows/rmsnorm.cu", "index", "rows follow each other without a gap", "const float *x = a.x + row * a.ld;", "const float *x = a.x + row * a.dim;"),
    bug("rows/rmsnorm.cu", "bounds", "rows off a boundary are read 16 bytes at a time", "a->dim % 4 == 0 && j.ld % 4 == 0 &&", "a->dim % 4 == 0 &&"),
    bug("rows/rope.cu", "barrier", "partners are read before they are there", "    __syncwarp(0xffffffffu);\n", ""),
    bug("rows/rope.cu", "dead row", "a dead row is turned", "if (h >= n_all || a.slot[row] < 0) return;", "if (h >= n_all) return;"),
    bug("rows/rope.cu", "mask", "warps behind the last head go on", "if (h >= n_all || a.slot", "if ((h >= n_all && h < 0) || a.slot"),
    bug("rows/rope.cu", "bounds", "a lane writes past its head", "        if (i < a.head_dim) o.x[i] = o.turns", "        o.x[i] = o.turns"),
    bug("rows/rope.cu", "index", "keys begin a head late", "a.k + at + (h - a.n_head) * n", "a.k + at + (h - a.n_head + 1) * n"),
    bug("rows/rope.cu", "index", "keys take the norm of queries", "(h - a.n_head) * n, o.norm = a.k_norm", "(h - a.n_head) * n, o.norm = a.q_norm"),
    bug("rows/rope.cu", "layout", "neighbours take each other's frequencies", "a.interleaved ? i / 2 : i < half", "a.interleaved ? i : i < half"),
    bug("rows/rope.cu", "math", "what turns is the head, not its leading part", "o.turns && i < a.n_dim ? turned", "o.turns ? turned"),
    bug("rows/rope.cu", "math", "sines are not scaled", "- other * (a.scale * s)", "- other * s"),
    bug("rows/rope.cu", "math", "turned the wrong way", "first ? u[i] * (a.scale * c) -", "!first ? u[i] * (a.scale * c) -"),
    bug("rows/gather.cu", "off by one", "one key too few", "a.n_key[i] = pos + 1;", "a.n_key[i] = pos;"),
    bug("rows/gather.cu", "index", "rows of the batch, not those of the index", "const int64_t r = a.index ? a.index[i] : i;", "const int64_t r = i;"),
    bug("rows/gather.cu", "dead row", "a dead row's source length is looked up", "slot >= 0 && a.cross_len ? a.cross_len[slot]", "a.cross_len ? a.cross_len[slot]"),
]
