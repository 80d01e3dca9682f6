#include <string.h>
#include <sys/mman.h>

#include "kernels/accept/cpu.h"
#include "kernels/attention/cpu.h"
#include "kernels/backend.h"
#include "kernels/base/clock.h"
#include "kernels/base/mem.h"
#include "kernels/linear/cpu.h"
#include "kernels/loop/cpu.h"
#include "kernels/moe/cpu.h"
#include "kernels/rows/cpu.h"

/* Scratch of a new backend: enough for products of this many inputs; larger models reserve more. */
enum { OPEN_K = 1024 };

enum { HUGE = 2 << 20 }; /* bytes of a large page */

static const weir_backend_ops portable_ops = {
    .embed = weir__embed_cpu,
    .rmsnorm = weir__rmsnorm_cpu,
    .linear = weir__linear_cpu,
    .bias = weir__bias_cpu,
    .rope = weir__rope_cpu,
    .kv_append = weir__kv_append_cpu,
    .attention = weir__attention_cpu,
    .row_keys = weir__row_keys_cpu,
    .gather = weir__gather_cpu,
    .permute = weir__permute_cpu,
    .route = weir__route_cpu,
    .glu = weir__glu_cpu,
    .combine = weir__combine_cpu,
    .row_stats = weir__row_stats_cpu,
    .draw = weir__draw_cpu,
    .top = weir__top_cpu,
    .accept = weir__accept_cpu,
    .emit = weir__emit_cpu,
    .gate = weir__gate_cpu,
    .loop_rows = weir__loop_rows_cpu,
    .loop_sample = weir__loop_sample_cpu,
    .loop_lookup = weir__loop_lookup_cpu,
    .loop_close = weir__loop_close_cpu,
};

static weir_backend_ops ops_for(weir_isa isa) {
    weir_backend_ops op = portable_ops;
#if defined(__x86_64__)
    switch (isa) {
    case WEIR_ISA_PORTABLE: break;
    case WEIR_ISA_AVX2:
        op.rmsnorm = weir__rmsnorm_avx2;
        op.linear = weir__linear_avx2;
        op.rope = weir__rope_avx2;
        op.attention = weir__attention_avx2;
        op.glu = weir__glu_avx2;
        break;
    case WEIR_ISA_AVX512:
    case WEIR_ISA_AVX512BF16:
    case WEIR_ISA_AMX:
        op.rmsnorm = weir__rmsnorm_avx512;
        op.linear = isa == WEIR_ISA_AMX          ? weir__linear_amx
                    : isa == WEIR_ISA_AVX512BF16 ? weir__linear_avx512bf16
                                                 : weir__linear_avx512;
        op.attention = weir__attention_avx512;
        op.glu = weir__glu_avx512;
        op.rope = weir__rope_avx512;
        break;
    }
#else
    (void)isa;
#endif
    return op;
}

/* ---- memory: host memory, and nothing is ever queued --------------------------------------------------- */

/* Large pages for weights where the system has them: fewer page faults while loading, and fewer TLB misses
 * while streaming weights. Advice only. */
static void advise_large_pages(void *p, size_t bytes) {
    const uintptr_t begin = ((uintptr_t)p + HUGE - 1) / HUGE * HUGE,
                    end = ((uintptr_t)p + bytes) / HUGE * HUGE;
    if (end > begin) (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

static void *cpu_alloc(weir_backend *be, size_t bytes) {
    (void)be;
    void *p = weir_alloc(bytes, 1);
    if (p) advise_large_pages(p, bytes);
    return p;
}

static void cpu_free(weir_backend *be, void *p) {
    (void)be;
    weir_free(p);
}

static void *cpu_alloc_mapped(weir_backend *be, size_t bytes, void **device) {
    (void)be;
    *device = weir_calloc(bytes, 1);
    return *device;
}

static weir_status cpu_copy(weir_backend *be, void *dst, const void *src, size_t bytes) {
    (void)be;
    if (bytes > 0) memmove(dst, src, bytes);
    return WEIR_OK;
}

static weir_status cpu_zero(weir_backend *be, void *p, size_t bytes) {
    (void)be;
    if (bytes > 0) memset(p, 0, bytes);
    return WEIR_OK;
}

static weir_status cpu_wait(weir_backend *be) {
    (void)be;
    return WEIR_OK;
}

static weir_status cpu_poll(weir_backend *be, bool *busy) {
    (void)be;
    *busy = false;
    return WEIR_OK;
}

static weir_status cpu_reserve(weir_backend *be, size_t floats) {
    if (floats <= be->scratch_floats) return WEIR_OK;
    if (floats > SIZE_MAX / 2) return WEIR_ENOMEM;
    floats = (floats + 15) / 16 * 16; /* each worker's part starts on a cache line */
    const size_t n_worker = (size_t)weir__pool_size(be->pool);
    float *p = floats > SIZE_MAX / sizeof *p / n_worker ? NULL : weir_alloc(n_worker, floats * sizeof *p);
    if (!p) return WEIR_ENOMEM;
    weir_free(be->scratch);
    be->scratch = p;
    be->scratch_floats = floats;
    return WEIR_OK;
}

static weir_status cpu_stamp(weir_backend *be, int i) {
    if (i < 0 || i >= WEIR_STAMPS) return WEIR_EINVAL;
    if (!be->stamps) be->stamps = weir_calloc(WEIR_STAMPS, sizeof *be->stamps);
    if (!be->stamps) return WEIR_ENOMEM;
    be->stamps[i] = weir_seconds();
    return WEIR_OK;
}

static weir_status cpu_elapsed(weir_backend *be, int from, int to, double *seconds) {
    if (from < 0 || from >= WEIR_STAMPS || to < 0 || to >= WEIR_STAMPS || !be->stamps) return WEIR_EINVAL;
    if (be->stamps[from] <= 0.0 || be->stamps[to] <= 0.0) return WEIR_EINVAL;
    *seconds = be->stamps[to] - be->stamps[from];
    return WEIR_OK;
}

static void cpu_close(weir_backend *be) {
    weir__pool_free(be->pool);
    weir_free(be->stamps);
    weir_free(be->scratch);
    weir_free(be);
}

static const weir_backend_stream cpu_stream = {
    .alloc = cpu_alloc,
    .free = cpu_free,
    .alloc_mapped = cpu_alloc_mapped,
    .free_mapped = cpu_free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .wait = cpu_wait,
    .poll = cpu_poll,
    .reserve = cpu_reserve,
    .close = cpu_close,
    .stamp = cpu_stamp,
    .elapsed = cpu_elapsed,
};

weir_status weir__backend_cpu_open(weir_backend **out, int n_thread, weir_isa isa, weir_err *err) {
    if (!out) return weir_fail(err, WEIR_EINVAL, "backend cpu: no place for the result");
    if (n_thread < 1 || n_thread > 256) {
        return weir_fail(err, WEIR_EINVAL, "backend cpu: %d threads, expected 1 to 256", n_thread);
    }
    const weir_isa best = weir__isa_best();
    if ((int)isa < 0 || isa > best) {
        return weir_fail(err, WEIR_ENOTSUP, "backend cpu: instruction set %s asked for, this machine has %s",
                         weir__isa_name(isa), weir__isa_name(best));
    }
    weir_backend *be = weir_calloc(1, sizeof *be);
    if (!be) return weir_fail(err, WEIR_ENOMEM, "backend cpu: out of memory");
    be->name = "cpu";
    be->about = weir__isa_name(isa);
    be->stream = &cpu_stream;
    be->exchange = &weir__exchange_cpu;
    be->chunk = WEIR_PAGE;
    be->isa = isa;
    be->op = ops_for(isa);
    weir_status s = weir__pool_create(&be->pool, n_thread);
    if (s != WEIR_OK) {
        weir_fail(err, s, "backend cpu: cannot start %d threads", n_thread);
        goto fail;
    }
    s = weir__backend_reserve(be, weir__linear_scratch_floats(OPEN_K));
    if (s != WEIR_OK) {
        weir_fail(err, s, "backend cpu: no memory for the scratch of %d threads", n_thread);
        goto fail;
    }
    *out = be;
    return WEIR_OK;

fail:
    weir__backend_close(be);
    return s;
}
