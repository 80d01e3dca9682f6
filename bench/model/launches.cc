/* What fragment_rows launches for products of T5 and Gemma 2, with the kernel's arguments byte by byte: for
 * bench/model/instructions.py. Host code of linear.cu, compiled as the CPU runner compiles it; a launch is
 * printed in place of being made:
 *
 *   name rows P,S,NT,D,ONCE grid.x grid.y grid.z split INTS bytes of job, cut and cache in hex
 *
 * INTS: integers lie at addresses from INTS << 32 on, floats elsewhere. */
#include "kernels/cuda/cuda.cuh"

#include <string>

namespace {

/* Addresses of device memory: 4 GiB each, integers from INTS on. */
template <class T> T *device(int64_t i) { return reinterpret_cast<T *>(i << 32); }
enum { X = 1, NORM, WEIGHT, Y, POOL, SCRATCH, INTS };

const char *product;
long long product_rows;

template <class T> void hex(const T &x) {
    unsigned char b[sizeof x];
    memcpy(b, &x, sizeof x);
    for (unsigned char c : b) printf("%02x", c);
}

struct note {
    int p, s, nt, d, once;
    dim3 grid;

    template <class Job, class Cut, class Kept>
    void operator()(const Job &j, const Cut &c, const Kept &kept) const {
        static_assert(sizeof j % 8 == 0 && sizeof c % 8 == 0, "no gaps between arguments");
        printf("%s %lld %d,%d,%d,%d,%d %u %u %u %d %d ", product, product_rows, p, s, nt, d, once, grid.x,
               grid.y, grid.z, c.p.split, INTS);
        hex(j), hex(c), hex(kept);
        printf("\n");
    }
};

} // namespace

#define allow_smem(...) (static_cast<void>(asked), cudaSuccess)
#undef K_LAUNCH_HOW
#define K_LAUNCH_HOW(how, kernel, grid, block, smem, stream) \
    note { P, S, NT, D, ONCE, grid }
#include "kernels/linear/linear.cu"

weir_status weir__cuda_launched(weir_backend *, const char *, const char *, ...) { return WEIR_OK; }
extern "C" const char *weir_dtype_name(weir_dtype) { return ""; }
weir_status weir__cuda_check(weir_backend *, cudaError_t, const char *, ...) { return WEIR_OK; }

namespace {

struct model {
    const char *name;
    int64_t dim, ff, inner, inner_kv, vocab, rows;
    bool t5; /* keys and values without rotation, no norms after the sub-layers */
};

struct matrix {
    const char *name;
    int64_t n, k;
    bool gated, inputs, norm, append, minmax;
    weir_epilogue epilogue;
    float softcap;
};

void launch(weir_cuda *cu, const model &m, const matrix &s) {
    weir_weight w = {};
    w.data = device<void>(WEIGHT), w.dtype = WEIR_DTYPE_BF16, w.layout = WEIR_LAYOUT_FRAGMENT;
    w.n = w.n_whole = s.n, w.k = w.k_whole = w.k_pad = s.k, w.gated = s.gated;
    w.n_panel = weir__linear_panels(s.n, s.gated);
    w.split = s.inputs ? WEIR_SPLIT_INPUTS : WEIR_SPLIT_OUTPUTS;
    w.segments = s.inputs ? weir__segments_of(s.k, 64, 0, 1) : weir__one_segment(s.k);
    weir_kv_view kv = {};
    kv.pool = device<void>(POOL), kv.n_layer = 24, kv.n_head_kv = static_cast<int32_t>(m.inner_kv / 64);
    kv.head_dim = 64, kv.dtype = WEIR_DTYPE_BF16, kv.table = device<int32_t>(INTS), kv.table_stride = 64;
    kv.page_elems = weir__kv_page_elems(kv.n_layer, kv.n_head_kv, kv.head_dim);
    weir_kv_append append = {};
    append.kv = &kv, append.k = device<float>(Y) + m.inner, append.n_row = m.rows, append.ld = s.n;
    append.v = append.k + m.inner_kv, append.slot = append.pos = device<int32_t>(INTS);
    weir_linear a = {};
    a.x = device<float>(X), a.ldx = s.k, a.norm = s.norm ? device<float>(NORM) : nullptr, a.eps = 1e-6f;
    a.w = &w, a.y = device<float>(Y), a.ldy = s.n, a.n_row = m.rows, a.rows = true, a.scale = 1.0f;
    a.epilogue = s.epilogue, a.softcap = s.softcap, a.append = s.append ? &append : nullptr;
    if (s.minmax) a.minmax = device<weir_minmax>(SCRATCH), a.minmax_n = static_cast<int32_t>(s.n);
    const std::string name = std::string(m.name) + "." + s.name;
    product = name.c_str(), product_rows = m.rows;
    if (weir__linear_check(&a) != WEIR_OK || fragment_rows(cu, &a) != WEIR_OK)
        fprintf(stderr, "launches: %s is refused\n", product), exit(1);
}

} // namespace

int main() {
    static weir_cuda cu;
    cu.sm_count = 132, cu.smem_optin = 232448, cu.n_counter = WEIR_COUNT_ALL;
    cu.base.scratch = device<float>(SCRATCH), cu.base.scratch_floats = size_t{1} << 26;
    cu.counters = device<uint32_t>(SCRATCH);
    const model models[] = {
        {"small", 512, 1024, 384, 384, 32128, 1, true},   {"large", 1024, 2816, 1024, 1024, 32128, 6, true},
        {"XL", 2048, 5120, 2048, 2048, 32128, 6, true},   {"XL1", 2048, 5120, 2048, 2048, 32128, 1, true},
        {"2B", 2304, 9216, 2048, 1024, 256000, 1, false}, {"27B", 4608, 36864, 4096, 2048, 256000, 6, false}};
    for (const model &m : models) {
        const weir_epilogue back = m.t5 ? WEIR_EPI_ADD : WEIR_EPI_STORE;
        const matrix of_layer[] = {
            {"qkv", m.inner + 2 * m.inner_kv, m.dim, false, false, true, m.t5, false, WEIR_EPI_STORE, 0.0f},
            {"q", m.inner, m.dim, false, false, true, false, false, WEIR_EPI_STORE, 0.0f},
            {"o", m.dim, m.inner, false, true, false, false, false, back, 0.0f},
            {"wi", m.ff, m.dim, true, false, true, false, false, WEIR_EPI_GELU_TANH, 0.0f},
            {"wo", m.dim, m.ff, false, true, false, false, false, back, 0.0f},
            {"head", m.vocab, m.dim, false, false, true, false, true, WEIR_EPI_STORE, m.t5 ? 0.0f : 30.0f},
        };
        for (const matrix &s : of_layer) {
            if (m.t5 || strcmp(s.name, "q") != 0) launch(&cu, m, s);
        }
    }
    return 0;
}
