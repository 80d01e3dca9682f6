"""Bugs in attention and in the pages of keys and values."""
from entry import bug

SPLITS = [
    bug("attention/attention.cu", "bounds", "rows past the last have a query", "at < a.group * rep && mine.row < a.rows.n_row && head >= 0 && head < a.rows.n_head;", "at < a.group * rep && head >= 0 && head < a.rows.n_head;"),
    bug("attention/attention.cu", "bounds", "a page in front of the window is looked up",
        "page * WEIR_PAGE < sh.all.end && (page + 1) * WEIR_PAGE > sh.all.first;", "page * WEIR_PAGE < sh.all.end;"),
    bug("attention/attention.cu", "barrier", "pages are asked for before they are known",
        "        __syncthreads(); /* pages and queries are there, the last round's sums have been read */\n", ""),
    bug("attention/attention.cu", "barrier", "scores are weighed before they are there",
        "head_dim, chunk);\n        __syncthreads();\n        weigh", "head_dim, chunk);\n        weigh"),
    bug("attention/attention.cu", "barrier", "weights are used before they are there",
        "weigh<MT>(a, split, sh);\n        __syncthreads();\n", "weigh<MT>(a, split, sh);\n"),
    bug("attention/attention.cu", "barrier", "sums of warps are overwritten while they are read",
        "        if (m0 > 0) __syncthreads();\n", ""),
    bug("attention/attention.cu", "barrier", "a split is counted before it is written",
        "    __syncthreads();\n    if (threadIdx.x == 0) {\n        uint32_t *counter", "    if (threadIdx.x == 0) {\n        uint32_t *counter"),
    bug("attention/attention.cu", "wait", "rows are read before the kernel ahead has made them", "    ptx::grid_launch_dependents();\n    ptx::grid_wait();\n",
        "    ptx::grid_launch_dependents();\n"),
    bug("attention/attention.cu", "wait", "the last block leaves its counter", "        if (sh.last) *counter = 0;\n", ""),
    bug("attention/attention.cu", "index", "blocks of two heads share a counter", "static_cast<size_t>(blockIdx.z) * gridDim.y + blockIdx.y;",
        "static_cast<size_t>(blockIdx.z);"),
    bug("attention/attention.cu", "reduction", "scores add other positions' lanes", "__shfl_xor_sync(0xffffffffu, give, 16)", "__shfl_xor_sync(0xffffffffu, give, 4)"),
    bug("attention/attention.cu", "mask", "a key past the row's last", "const bool own = t >= who.keys.first && t < who.keys.end;\n        const float *part",
        "const bool own = t >= who.keys.first && t <= who.keys.end;\n        const float *part"),
    bug("attention/attention.cu", "mask", "weights of positions that are not the query's",
        "const bool own = t >= who.keys.first && t < who.keys.end;\n        const float p =", "const bool own = t < who.keys.end;\n        const float p ="),
    bug("attention/attention.cu", "mask", "values that weigh -1 are added", "            if (p < 0.0f) continue;\n", ""),
    bug("attention/attention.cu", "bounds", "values of positions that nobody looks at",
        "if (t + WARPS * u >= sh.all.first && t + WARPS * u < sh.all.end) {", "if (t + WARPS * u >= 0) {"),
    bug("attention/attention.cu", "math", "a split's sum keeps its own maximum", "sum = fmaf(p[1], keep, sum);", "sum += p[1];"),
    bug("attention/attention.cu", "dead row", "a dead row's output is not zeros", "for (int d = lane; d < head_dim; d += 32) o[d] = 0.0f;", "(void)o;"),
    bug("attention/attention.cu", "index", "a window's parts lie at absolute splits", "(split - w.keys.first / SPLIT);", "split;"),
    bug("attention/attention.cuh", "math", "softcap without its scale", "softcap * tanhf(s / softcap)", "tanhf(s / softcap)"),
    bug("attention/attention.cuh", "bounds", "far distances have no bias of their own", "distance < -bias_left ? -bias_left : distance > bias_right", "distance > bias_right"),
    bug("attention/attention.cuh", "off by one", "the window is one position wider", "static_cast<int64_t>(pos) + 1 - a.window", "static_cast<int64_t>(pos) - a.window"),
    bug("attention/attention.cuh", "dead row", "a dead row has positions", "    if (a.slot[r] < 0) return attention_nothing();\n", ""),
    bug("attention/attention_loads.cuh", "layout", "halves of a word change places", "raw[e / 2] >> (e % 2 * 16)", "raw[e / 2] >> ((1 - e % 2) * 16)"),
    bug("attention/kv.cuh", "layout", "heads of a page lie half as far apart", "static_cast<int64_t>(head) * 2 * head_dim", "static_cast<int64_t>(head) * head_dim"),
    bug("attention/kv.cuh", "layout", "values lie where keys do", "return keys(page, head) + head_dim * WEIR_PAGE;", "return keys(page, head) + WEIR_PAGE;"),
    bug("attention/kv.cuh", "index", "a layer's pool begins at the first layer's", "static_cast<int64_t>(layer) * v->n_head_kv", "static_cast<int64_t>(layer * 0) * v->n_head_kv"),
]

PREFILL = [
    bug("attention/attention_prefill.cu", "wait", "keys are used before they are there",
        "        ptx::cp_async_wait<1>();\n        __syncthreads(); /* K and bias have arrived */\n", "        ptx::cp_async_wait<2>();\n        __syncthreads(); /* K and bias have arrived */\n"),
    bug("attention/attention_prefill.cu", "wait", "values are used before they are there",
        "        ptx::cp_async_wait<1>();\n        __syncthreads(); /* V has arrived */\n", "        ptx::cp_async_wait<2>();\n        __syncthreads(); /* V has arrived */\n"),
    bug("attention/attention_prefill.cu", "barrier", "keys are overwritten while they are read", "        __syncthreads(); /* K has been read */\n", ""),
    bug("attention/attention_prefill.cu", "barrier", "values are overwritten while they are read",
        "        __syncthreads(); /* V and bias have been read */\n", ""),
    bug("attention/attention_prefill.cu", "math", "a row without a position yet has weights of NaN", "top[half] == -INFINITY ? 0.0f : top[half];", "top[half];"),
    bug("attention/attention_prefill.cu", "math", "sums keep the old maximum", "        st.sum[half] *= keep[half];\n", ""),
    bug("attention/attention_prefill.cu", "mask", "values that nobody looks at are copied", "seen ? 16 : 0", "seen ? 16 : 16"),
    bug("attention/attention_prefill.cu", "bounds", "rows past the last are stored", "        if (row[half] >= a.n_row) continue;\n", ""),
    bug("attention/attention_prefill.cu", "off by one", "the bias of the position before", "bias[at - index[half] + WEIR_PAGE]", "bias[at - index[half] + WEIR_PAGE - 1]"),
    bug("attention/attention_prefill.cu", "dead row", "a dead row's output is what no positions give", "= live[half] ? o[n][2 * half] / sum : 0.0f;", "= o[n][2 * half] / sum;"),
]

APPEND = [
    bug("attention/kv_append.cu", "wait", "rows are read before the product has made them", "    ptx::grid_wait();\n", ""),
    bug("attention/kv_append.cu", "barrier", "keys are written before they have turned", "    __syncthreads();\n    const int64_t r = row0 + lane;", "    const int64_t r = row0 + lane;"),
    bug("attention/kv_append.cu", "index", "keys do not turn", "turned[lane][i]);", "turned[i][lane]);"),
    bug("attention/kv_append.cu", "dead row", "values of a dead row are written", "|| column >= width || slot[r] < 0) continue;", "|| column >= width) continue;"),
    bug("attention/kv_append.cu", "dead row", "keys of a dead row are written", "if (r >= n_row || slot[r] < 0) return;", "if (r >= n_row) return;"),
]

BUGS = SPLITS + PREFILL + APPEND
