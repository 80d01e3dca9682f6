#ifndef WEIR_TESTS_RUNNER_RUNNER_H
#define WEIR_TESTS_RUNNER_RUNNER_H

/* Comes first (-include) in every .cu that the CPU runner compiles: what nvcc has built in. Code here is
 * compiled with the kernels, sanitizers included; the bodies of the declared functions are not instrumented
 * (tests/runner/README.md). */
#include "tests/runner/include/cuda_runtime.h"

#include <math.h>
#include <string.h>

#include <type_traits>

extern dim3 blockDim, gridDim; /* of the kernel that runs */

namespace runner {

struct site {
    const char *file;
    int line;
};
#define RUNNER_AT runner::site at = {__builtin_FILE(), __builtin_LINE()}

/* The thread that runs. */
struct view {
    uint3 tid, bid;
};
extern view *self;

[[noreturn]] void fail(site at, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void name_launch(const char *kernel, const char *file, int line, bool team);

/* ---- shared memory: a heap block a declaration and block ---- */
void *shared_static(int *slot, size_t bytes, size_t align, const char *name);
void *shared_dynamic();
template <class T, class Tag> T &shared_block(Tag, const char *name) {
    static int slot = -1;
    return *static_cast<T *>(shared_static(&slot, sizeof(T), alignof(T), name));
}

/* ---- barriers ---- */
enum reduce { REDUCE_NONE, REDUCE_OR, REDUCE_AND, REDUCE_COUNT };
int barrier_all(reduce how, int predicate, site at);
void sync_warp(unsigned mask, site at);

/* ---- warp operations: every lane of the mask gives `in`, the last one to come computes all results ---- */
enum warp_op {
    SHFL,
    SHFL_UP,
    SHFL_DOWN,
    SHFL_XOR,
    BALLOT,
    MATCH,
    REDUCE_ADD,
    REDUCE_MIN,
    REDUCE_MAX,
    REDUCE_IADD,
    REDUCE_IMIN,
    REDUCE_IMAX,
    REDUCE_BAND,
    REDUCE_BOR,
    REDUCE_BXOR,
    SYNC,
    LDMATRIX,
    LDMATRIX_TRANS,
    MMA
};
/* n words of 2, 4 or 8 bytes; out is not in. */
void shuffle(warp_op op, unsigned mask, const void *in, void *out, size_t word, size_t n, int arg, int width,
             site at);
unsigned vote(warp_op op, unsigned mask, uint64_t value, site at);
void ldmatrix_x4(uint32_t (&r)[4], uint4 row, bool trans, site at);
void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], site at);
void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], site at);

template <class T> T shuffle_of(warp_op op, unsigned mask, T v, int arg, int width, site at) {
    constexpr size_t SIZE = sizeof(T), WORD = SIZE == 2 || SIZE == 8 ? SIZE : 4;
    static_assert(std::is_trivially_copyable<T>::value && SIZE % WORD == 0, "shuffle");
    T r;
    shuffle(op, mask, &v, &r, WORD, SIZE / WORD, arg, width, at);
    return r;
}

/* ---- memory ---- */
inline void aligned16(const void *p, const char *what, site at) {
    if (reinterpret_cast<uintptr_t>(p) % 16 != 0)
        fail(at, "%s of an address that is not a multiple of 16", what);
}
inline uint4 load16(const void *p, const char *what, site at) {
    aligned16(p, what, at);
    return *static_cast<const uint4 *>(p);
}
float f32_of_f16(uint16_t h);

/* A copy that lands at issue (WEIR_RUNNER_CP=early) or not before it is waited for (late). The copy itself
 * happens here, in the calling thread and instrumented. */
struct pending {
    void *smem;
    const void *gmem;
    int bytes;
};
bool cp_early();
void cp_issued(); /* counts launches that copy before grid_wait */
void cp_push(const pending &p, site at);
bool cp_pop(int keep, pending *out);
void cp_async_commit();
inline void cp_land(const pending &p) {
    uint4 v = {0, 0, 0, 0};
    if (p.bytes == 16) {
        v = *static_cast<const uint4 *>(p.gmem);
    } else if (p.bytes > 0) {
        memcpy(&v, p.gmem, static_cast<size_t>(p.bytes));
    }
    *static_cast<uint4 *>(p.smem) = v;
}
inline void cp_async16(void *smem, const void *gmem, int bytes, site at) {
    aligned16(smem, "cp.async into shared memory", at);
    aligned16(gmem, "cp.async from global memory", at);
    if (bytes < 0 || bytes > 16) fail(at, "cp.async of %d bytes, expected 0 to 16", bytes);
    const pending p = {smem, gmem, bytes};
    cp_issued();
    if (cp_early()) {
        cp_land(p);
    } else {
        cp_push(p, at);
    }
}
inline void cp_async_wait(int keep) {
    pending p;
    while (cp_pop(keep, &p)) cp_land(p);
}

/* ---- waiting ---- */
void spin(site at);
void progress(); /* something that a spinning thread may wait for has happened */
uint64_t global_ns();
/* A flag of this scope. One that devices share needs the system's: its memory is noted by whoever reaches it
 * from another device. */
void at_device_scope(const void *p, site at);
void at_system_scope(const void *p, site at);
void grid_wait();
void grid_launch_dependents();

/* ThreadSanitizer knows no fences, so every atomic is ordered under it. */
#ifdef __SANITIZE_THREAD__
enum { ATOMIC = __ATOMIC_ACQ_REL };
#else
enum { ATOMIC = __ATOMIC_RELAXED };
#endif
template <class T, class F> T atomic_rmw(T *p, F f) {
    using U = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    static_assert(sizeof(T) == sizeof(U), "atomics of 4 or 8 bytes");
    U *word = reinterpret_cast<U *>(p);
    U old = __atomic_load_n(word, __ATOMIC_RELAXED), next;
    T o, n;
    do {
        memcpy(&o, &old, sizeof o);
        n = f(o);
        memcpy(&next, &n, sizeof next);
    } while (!__atomic_compare_exchange_n(word, &old, next, false, ATOMIC, __ATOMIC_RELAXED));
    progress();
    return o;
}
template <class T> struct same { using type = T; };
template <class T> using same_t = typename same<T>::type;

} // namespace runner

#include "tests/runner/intrinsics.h"

#endif /* WEIR_TESTS_RUNNER_RUNNER_H */
