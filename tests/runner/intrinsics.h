#ifndef WEIR_TESTS_RUNNER_INTRINSICS_H
#define WEIR_TESTS_RUNNER_INTRINSICS_H

/* CUDA's global names, for kernels only (runner.h includes this). */
#define threadIdx (runner::self->tid)
#define blockIdx (runner::self->bid)
constexpr int warpSize = 32;

/* ---- barriers, warps ---- */
inline void __syncthreads(RUNNER_AT) { runner::barrier_all(runner::REDUCE_NONE, 0, at); }
inline int __syncthreads_or(int p, RUNNER_AT) { return runner::barrier_all(runner::REDUCE_OR, p, at); }
inline int __syncthreads_and(int p, RUNNER_AT) { return runner::barrier_all(runner::REDUCE_AND, p, at); }
inline int __syncthreads_count(int p, RUNNER_AT) { return runner::barrier_all(runner::REDUCE_COUNT, p, at); }
inline void __syncwarp(unsigned mask = ~0u, RUNNER_AT) { runner::sync_warp(mask, at); }

template <class T> T __shfl_sync(unsigned mask, T v, int lane, int width = 32, RUNNER_AT) {
    return runner::shuffle_of(runner::SHFL, mask, v, lane, width, at);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, RUNNER_AT) {
    return runner::shuffle_of(runner::SHFL_UP, mask, v, static_cast<int>(by), width, at);
}
template <class T> T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, RUNNER_AT) {
    return runner::shuffle_of(runner::SHFL_DOWN, mask, v, static_cast<int>(by), width, at);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, RUNNER_AT) {
    return runner::shuffle_of(runner::SHFL_XOR, mask, v, bits, width, at);
}
inline unsigned __ballot_sync(unsigned mask, int p, RUNNER_AT) {
    return runner::vote(runner::BALLOT, mask, p != 0, at);
}
inline int __any_sync(unsigned mask, int p, RUNNER_AT) {
    return runner::vote(runner::BALLOT, mask, p != 0, at) != 0;
}
inline int __all_sync(unsigned mask, int p, RUNNER_AT) {
    return runner::vote(runner::BALLOT, mask, p == 0, at) == 0;
}
template <class T> unsigned __match_any_sync(unsigned mask, T v, RUNNER_AT) {
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    return runner::vote(runner::MATCH, mask, bits, at);
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned v, RUNNER_AT) {
    return runner::vote(runner::REDUCE_ADD, mask, v, at);
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned v, RUNNER_AT) {
    return runner::vote(runner::REDUCE_MIN, mask, v, at);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned v, RUNNER_AT) {
    return runner::vote(runner::REDUCE_MAX, mask, v, at);
}
inline int __reduce_add_sync(unsigned mask, int v, RUNNER_AT) {
    return static_cast<int>(runner::vote(runner::REDUCE_ADD, mask, static_cast<unsigned>(v), at));
}
inline int __reduce_min_sync(unsigned mask, int v, RUNNER_AT) {
    return static_cast<int>(runner::vote(runner::REDUCE_IMIN, mask, static_cast<unsigned>(v), at));
}
inline int __reduce_max_sync(unsigned mask, int v, RUNNER_AT) {
    return static_cast<int>(runner::vote(runner::REDUCE_IMAX, mask, static_cast<unsigned>(v), at));
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned v, RUNNER_AT) {
    return runner::vote(runner::REDUCE_BOR, mask, v, at);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned v, RUNNER_AT) {
    return runner::vote(runner::REDUCE_BAND, mask, v, at);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned v, RUNNER_AT) {
    return runner::vote(runner::REDUCE_BXOR, mask, v, at);
}

/* ---- memory ---- */
template <class T> T __ldg(const T *p) { return *p; }
template <class T> T __ldcs(const T *p) { return *p; }
template <class T> T __ldcg(const T *p) { return *p; }
template <class T> T __ldca(const T *p) { return *p; }
template <class T> void __stcs(T *p, runner::same_t<T> v) { *p = v; }
template <class T> void __stcg(T *p, runner::same_t<T> v) { *p = v; }
inline void __threadfence() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_system() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }
#define __trap() runner::fail({__FILE__, __LINE__}, "__trap")
#define __builtin_assume(x) ((void)0)

template <class T> T atomicAdd(T *p, runner::same_t<T> v) {
    return runner::atomic_rmw(p, [=](T o) { return static_cast<T>(o + v); });
}
template <class T> T atomicSub(T *p, runner::same_t<T> v) {
    return runner::atomic_rmw(p, [=](T o) { return static_cast<T>(o - v); });
}
template <class T> T atomicMin(T *p, runner::same_t<T> v) {
    return runner::atomic_rmw(p, [=](T o) { return o < v ? o : v; });
}
template <class T> T atomicMax(T *p, runner::same_t<T> v) {
    return runner::atomic_rmw(p, [=](T o) { return o > v ? o : v; });
}
template <class T> T atomicExch(T *p, runner::same_t<T> v) {
    return runner::atomic_rmw(p, [=](T) { return v; });
}
template <class T> T atomicOr(T *p, runner::same_t<T> v) {
    return runner::atomic_rmw(p, [=](T o) { return static_cast<T>(o | v); });
}
template <class T> T atomicAnd(T *p, runner::same_t<T> v) {
    return runner::atomic_rmw(p, [=](T o) { return static_cast<T>(o & v); });
}
template <class T> T atomicCAS(T *p, runner::same_t<T> compare, runner::same_t<T> v) {
    return runner::atomic_rmw(p, [=](T o) { return o == compare ? v : o; });
}
inline unsigned atomicInc(unsigned *p, unsigned limit) {
    return runner::atomic_rmw(p, [=](unsigned o) { return o >= limit ? 0u : o + 1; });
}

/* ---- numbers: glibc declares some of these names, hence macros ---- */
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __exp2f(x) exp2f(x)
#define __fdividef(x, y) ((x) / (y))
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __frsqrt_rn(float x) { return static_cast<float>(1.0 / sqrt(static_cast<double>(x))); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

template <class To, class From> To runner_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
inline int __float_as_int(float x) { return runner_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return runner_bits<unsigned>(x); }
inline float __int_as_float(int x) { return runner_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return runner_bits<float>(x); }
inline long long __double_as_longlong(double x) { return runner_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return runner_bits<double>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(rintf(x)); }
inline int __float2int_rd(float x) { return static_cast<int>(floorf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline unsigned __float2uint_rn(float x) { return static_cast<unsigned>(rintf(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= (x >> i & 1u) << (31 - i);
    return r;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned __funnelshift_l(unsigned lo, unsigned hi, unsigned by) {
    by &= 31;
    return by ? hi << by | lo >> (32 - by) : hi;
}
inline unsigned __funnelshift_r(unsigned lo, unsigned hi, unsigned by) {
    by &= 31;
    return by ? lo >> by | hi << (32 - by) : lo;
}
inline int __dp4a(int a, int b, int c) {
    unsigned sum = static_cast<unsigned>(c);
    for (int i = 0; i < 4; i++) {
        const int8_t x = static_cast<int8_t>(a >> 8 * i), y = static_cast<int8_t>(b >> 8 * i);
        sum += static_cast<unsigned>(x * y);
    }
    return static_cast<int>(sum);
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned select) {
    const uint64_t both = static_cast<uint64_t>(y) << 32 | x;
    unsigned r = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned pick = select >> 4 * i & 15;
        unsigned byte = static_cast<unsigned>(both >> 8 * (pick & 7)) & 0xff;
        if (pick & 8) byte = byte & 0x80 ? 0xff : 0; /* the sign of the byte, eight times */
        r |= byte << 8 * i;
    }
    return r;
}

#define RUNNER_MIN_MAX(T)                            \
    inline T min(T a, T b) { return b < a ? b : a; } \
    inline T max(T a, T b) { return a < b ? b : a; }
RUNNER_MIN_MAX(int)
RUNNER_MIN_MAX(unsigned)
RUNNER_MIN_MAX(long)
RUNNER_MIN_MAX(unsigned long)
RUNNER_MIN_MAX(long long)
RUNNER_MIN_MAX(unsigned long long)
#undef RUNNER_MIN_MAX
/* As on the device: the operand that is a number. */
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

#endif /* WEIR_TESTS_RUNNER_INTRINSICS_H */
