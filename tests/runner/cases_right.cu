/* Kernels whose answers are known. */
#include "tests/runner/cases.cuh"

namespace {

constexpr unsigned ALL = 0xffffffffu;

__global__ void shuffles(unsigned *out) {
    const unsigned l = threadIdx.x % 32, t = threadIdx.x;
    unsigned *o = out + 8 * t;
    o[0] = __shfl_sync(ALL, l, 7);
    o[1] = __shfl_up_sync(ALL, l, 3);
    o[2] = __shfl_down_sync(ALL, l, 5);
    o[3] = __shfl_xor_sync(ALL, l, 16);
    o[4] = __shfl_sync(ALL, l, 1, 8);
    o[5] = __shfl_up_sync(ALL, l, 2, 8);
    o[6] = static_cast<unsigned>(__shfl_xor_sync(ALL, 1.5 * l, 1) * 2);
    o[7] = static_cast<unsigned>(__shfl_down_sync(ALL, 0.5f * l, 4, 8) * 2);
}

__global__ void votes(unsigned *out) {
    const unsigned l = threadIdx.x % 32;
    unsigned *o = out + 6 * threadIdx.x;
    o[0] = __ballot_sync(ALL, l % 3 == 0);
    o[1] = __any_sync(ALL, l == 31);
    o[2] = __all_sync(ALL, l < 31);
    o[3] = __match_any_sync(ALL, l / 8);
    o[4] = __any_sync(ALL, 0);
    o[5] = __all_sync(ALL, 1);
}

__global__ void reductions(int *out) {
    const int l = threadIdx.x % 32;
    int *o = out + 6 * threadIdx.x;
    o[0] = __reduce_add_sync(ALL, l - 16);
    o[1] = __reduce_min_sync(ALL, l - 16);
    o[2] = __reduce_max_sync(ALL, l - 16);
    o[3] = static_cast<int>(__reduce_max_sync(ALL, static_cast<unsigned>(l - 16)));
    o[4] = static_cast<int>(__reduce_or_sync(ALL, 1u << l));
    o[5] = static_cast<int>(__reduce_xor_sync(ALL, static_cast<unsigned>(l)));
}

/* Halves of a warp go their own ways, each with its own mask. */
__global__ void partial_masks(unsigned *out) {
    const unsigned l = threadIdx.x;
    const unsigned mask = l < 16 ? 0xffffu : 0xffff0000u;
    unsigned sum = l;
    if (l < 16) {
        for (int by = 8; by > 0; by /= 2) sum += __shfl_xor_sync(mask, sum, by);
    } else {
        for (int by = 1; by < 16; by *= 2) sum += __shfl_xor_sync(mask, sum, by);
        __syncwarp(mask);
    }
    out[l] = sum;
}

__global__ void partial_warp(unsigned *out) { out[threadIdx.x] = __ballot_sync(ALL, 1); }

__global__ void barriers(int *out) {
    K_SHARED(a, int[100]);
    const int t = threadIdx.x, n = blockDim.x;
    if (t < n) a[t] = t;
    __syncthreads();
    int *o = out + 4 * t;
    o[0] = a[n - 1 - t];
    o[1] = __syncthreads_or(t == 50);
    o[2] = __syncthreads_and(t < 99);
    o[3] = __syncthreads_count(t % 2);
}

template <int N> __device__ int sum_of_squares(int t) {
    K_SHARED(square, int[N]);
    if (t < N) square[t] = t * t;
    __syncthreads();
    int sum = 0;
    for (int i = 0; i < N; i++) sum += square[i];
    return sum;
}

__global__ void shared_memory(int *out) {
    K_DYN_SHARED(int, d);
    K_SHARED(one, int);
    const int t = threadIdx.x;
    d[t] = 10 * t;
    if (t == 0) one = 7;
    const int a = sum_of_squares<10>(t), b = sum_of_squares<20>(t);
    out[t] = a + b + d[(t + 1) % blockDim.x] + one;
}

__global__ void grid(int *out) {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
    out[i] = static_cast<int>(i);
}

__global__ void atomics(unsigned *n, float *f, unsigned long long *big) {
    atomicAdd(&n[0], 2u);
    atomicMax(&n[1], threadIdx.x);
    atomicMin(&n[2], threadIdx.x + 5);
    atomicOr(&n[3], 1u << threadIdx.x % 32);
    atomicInc(&n[4], 9);
    if (atomicCAS(&n[5], 0u, 1u) == 0u) atomicAdd(&n[6], 1u);
    atomicAdd(f, 0.5f);
    atomicAdd(big, 1ull << 32);
    ptx::add_release(&n[7], 3);
}

__global__ void numbers(unsigned *o) {
    o[0] = __float_as_uint(1.0f);
    o[1] = __brev(1);
    o[2] = static_cast<unsigned>(__clz(1));
    o[3] = static_cast<unsigned>(__ffs(8));
    o[4] = __umulhi(0x80000000u, 6);
    o[5] = __byte_perm(0x03020100u, 0x07060504u, 0x7531);
    o[6] = __funnelshift_l(0x80000000u, 1, 1);
    o[7] = ptx::bf16(1.00390625f);                  /* halfway: to even */
    o[8] = ptx::bf16(__uint_as_float(0x7f800001u)); /* a NaN stays one */
    o[9] = ptx::bf16x2(1.0f, 2.0f);
    o[10] = __float_as_uint(ptx::f32_of_f16(0x3555));
    o[11] = __float_as_uint(ptx::f32_of_f16(0x8001)); /* subnormal */
    o[12] = __float_as_uint(ptx::f32_of_f16(0xfc00));
    o[13] = static_cast<unsigned>(min(3, 4) + max(7u, 5u));
}

__global__ void load_matrices(const uint16_t *in, uint32_t *out) {
    K_SHARED(m, uint16_t[32][8]);
    const int t = threadIdx.x;
    for (int c = 0; c < 8; c++) m[t][c] = in[8 * t + c];
    __syncwarp();
    uint32_t r[4];
    ptx::ldmatrix_x4(r, m[t]);
    for (int j = 0; j < 4; j++) out[8 * t + j] = r[j];
    ptx::ldmatrix_x4_trans(r, m[t]);
    for (int j = 0; j < 4; j++) out[8 * t + 4 + j] = r[j];
}

/* d = a b, a (16, 16) and b (16, 8) of small integers. */
__global__ void multiply(const float *a, const float *b, float *d) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    uint32_t fa[4], fb[2];
    for (int i = 0; i < 4; i++) {
        const int row = g + 8 * (i % 2), column = 2 * t + 8 * (i / 2);
        fa[i] = ptx::bf16x2(a[16 * row + column], a[16 * row + column + 1]);
    }
    for (int i = 0; i < 2; i++)
        fb[i] = ptx::bf16x2(b[8 * (2 * t + 8 * i) + g], b[8 * (2 * t + 8 * i + 1) + g]);
    float acc[4] = {1, 1, 1, 1};
    ptx::mma_bf16(acc, fa, fb);
    for (int i = 0; i < 4; i++) d[8 * (g + 8 * (i / 2)) + 2 * t + i % 2] = acc[i];
}

/* d = 5 + a b, a (16, 32) and b (8, 32) by columns, of bytes; and the same of their first 16 columns. */
__global__ void multiply_bytes(const uint32_t *a, const uint32_t *b, int *d) {
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    int32_t all[4] = {5, 5, 5, 5}, half[4] = {5, 5, 5, 5};
    const uint32_t first[2] = {a[8 * g + t], a[8 * (g + 8) + t]};
    ptx::mma_s8(all, {first[0], first[1], a[8 * g + 4 + t], a[8 * (g + 8) + 4 + t]},
                {b[8 * g + t], b[8 * g + 4 + t]});
    ptx::mma_s8(half, first, b[8 * g + t]);
    for (int i = 0; i < 4; i++) {
        const int at = 8 * (g + 8 * (i / 2)) + 2 * t + i % 2;
        d[at] = all[i], d[128 + at] = half[i];
    }
}

} // namespace

long right_shuffles(void) {
    device_array<unsigned> out(8 * 64);
    K_LAUNCH(shuffles, 1, 64, 0, nullptr)(out.p);
    return differing(out, [](size_t i) -> size_t {
        const size_t l = i / 8 % 32;
        switch (i % 8) {
        case 0: return 7;
        case 1: return l < 3 ? l : l - 3;
        case 2: return l > 26 ? l : l + 5;
        case 3: return l ^ 16;
        case 4: return l / 8 * 8 + 1;
        case 5: return l % 8 < 2 ? l : l - 2;
        case 6: return 3 * (l ^ 1);
        default: return l % 8 > 3 ? l : l + 4;
        }
    });
}

long right_votes(void) {
    device_array<unsigned> out(6 * 64);
    K_LAUNCH(votes, 1, 64, 0, nullptr)(out.p);
    return differing(out, [](size_t i) -> size_t {
        const size_t want[6] = {0x49249249u, 1, 0, size_t{0xff} << (i / 6 % 32 / 8 * 8), 0, 1};
        return want[i % 6];
    });
}

long right_reductions(void) {
    device_array<int> out(6 * 32);
    K_LAUNCH(reductions, 1, 32, 0, nullptr)(out.p);
    return differing(out, [](size_t i) -> int {
        const int want[6] = {-16, -16, 15, -1, -1, 0};
        return want[i % 6];
    });
}

long right_partial_masks(void) {
    device_array<unsigned> out(32);
    K_LAUNCH(partial_masks, 1, 32, 0, nullptr)(out.p);
    return differing(out, [](size_t i) { return i < 16 ? 120 : 376; });
}

long right_partial_warp(void) {
    device_array<unsigned> out(37);
    K_LAUNCH(partial_warp, 1, 37, 0, nullptr)(out.p);
    return differing(out, [](size_t i) { return i < 32 ? ALL : 31u; });
}

long right_barriers(void) {
    device_array<int> out(400);
    K_LAUNCH(barriers, 1, 100, 0, nullptr)(out.p);
    return differing(out, [](size_t i) -> size_t {
        const size_t want[4] = {99 - i / 4, 1, 0, 50};
        return want[i % 4];
    });
}

long right_shared_memory(void) {
    device_array<int> out(32);
    K_LAUNCH(shared_memory, 1, 32, 32 * sizeof(int), nullptr)(out.p);
    return differing(out, [](size_t i) { return 285 + 2470 + 10 * ((i + 1) % 32) + 7; });
}

long right_grid(void) {
    device_array<int> out(2 * 3 * 4 * 2 * 2 * 5);
    K_LAUNCH(grid, dim3(2, 3, 4), dim3(5, 2, 2), 0, nullptr)(out.p);
    return differing(out, [](size_t i) { return i; });
}

long right_atomics(void) {
    device_array<unsigned> n(8);
    device_array<float> f(1);
    device_array<unsigned long long> big(1);
    const unsigned start[8] = {0, 0, 1000, 0, 0, 0, 0, 0};
    n.put(start);
    cudaMemset(f.p, 0, sizeof(float));
    cudaMemset(big.p, 0, 8);
    K_LAUNCH(atomics, 4, 64, 0, nullptr)(n.p, f.p, big.p);
    const unsigned want[8] = {512, 63, 5, ALL, 6, 1, 1, 768};
    return differing(n, [&](size_t i) { return want[i]; }) + differing(f, [](size_t) { return 128.0f; }) +
           differing(big, [](size_t) { return 256ull << 32; });
}

long right_numbers(void) {
    device_array<unsigned> out(14);
    K_LAUNCH(numbers, 1, 1, 0, nullptr)(out.p);
    const unsigned want[14] = {0x3f800000u, 0x80000000u, 31,          4,      3,
                               0x07050301u, 3,           0x3f80,      0x7fc0, 0x40003f80u,
                               0x3eaaa000u, 0xb3800000u, 0xff800000u, 10};
    return differing(out, [&](size_t i) { return want[i]; });
}

long right_ldmatrix(void) {
    uint16_t in[256];
    for (int i = 0; i < 256; i++) in[i] = static_cast<uint16_t>(i);
    device_array<uint16_t> m(256);
    device_array<uint32_t> out(256);
    m.put(in);
    K_LAUNCH(load_matrices, 1, 32, 0, nullptr)(m.p, out.p);
    return differing(out, [](size_t i) {
        const size_t lane = i / 8, j = i % 4, g = lane / 4, t = lane % 4;
        const bool trans = i % 8 >= 4;
        const size_t low = 64 * j + (trans ? 8 * (2 * t) + g : 8 * g + 2 * t);
        return low | (low + (trans ? 8 : 1)) << 16;
    });
}

long right_mma(void) {
    float a[256], b[128], want[128];
    for (int i = 0; i < 256; i++) a[i] = static_cast<float>(i * 7 % 13 - 6);
    for (int i = 0; i < 128; i++) b[i] = static_cast<float>(i * 5 % 11 - 5);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 8; j++) {
            want[8 * i + j] = 1;
            for (int k = 0; k < 16; k++) want[8 * i + j] += a[16 * i + k] * b[8 * k + j];
        }
    }
    device_array<float> da(256), db(128), d(128);
    da.put(a);
    db.put(b);
    K_LAUNCH(multiply, 1, 32, 0, nullptr)(da.p, db.p, d.p);
    return differing(d, [&](size_t i) { return want[i]; });
}

long right_mma_bytes(void) {
    alignas(4) int8_t a[16][32], b[8][32];
    int want[256];
    for (int i = 0; i < 512; i++)
        a[i / 32][i % 32] = static_cast<int8_t>(i % 5 == 0 ? -128 : i * 37 % 255 - 127);
    for (int i = 0; i < 256; i++)
        b[i / 32][i % 32] = static_cast<int8_t>(i % 7 == 0 ? 127 : i * 61 % 255 - 127);
    for (int i = 0; i < 256; i++) {
        want[i] = 5;
        for (int k = 0; k < (i < 128 ? 32 : 16); k++) want[i] += a[i % 128 / 8][k] * b[i % 8][k];
    }
    device_array<uint32_t> da(128), db(64);
    device_array<int> d(256);
    da.put(reinterpret_cast<const uint32_t *>(a));
    db.put(reinterpret_cast<const uint32_t *>(b));
    K_LAUNCH(multiply_bytes, 1, 32, 0, nullptr)(da.p, db.p, d.p);
    return differing(d, [&](size_t i) { return want[i]; });
}

long right_memory_is_poisoned(void) {
    device_array<unsigned> out(64);
    return differing(out, [](size_t) { return ALL; });
}
