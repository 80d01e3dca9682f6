#ifndef WEIR_KERNELS_ATTENTION_ATTENTION_LOADS_CUH
#define WEIR_KERNELS_ATTENTION_ATTENTION_LOADS_CUH

#include "kernels/cuda/ptx.cuh"

/* What a lane of attention.cu loads at once. It stays in memory format until it is used, so that many loads
 * in flight fit in few registers. T is float, or uint16_t for bf16. STAGED: from shared memory, where the
 * split has been copied. */
template <bool STAGED> PTX_FN uint4 load_pool16(const void *p) {
    if constexpr (STAGED) return *static_cast<const uint4 *>(p);
    return ptx::load_once16(p);
}

/* 8 neighbouring positions of K. */
template <typename T, bool STAGED> struct key_chunk;
template <bool STAGED> struct key_chunk<uint16_t, STAGED> {
    uint4 raw;
    __device__ void load(const uint16_t *p) { raw = load_pool16<STAGED>(p); }
    __device__ void clear() { raw = make_uint4(0, 0, 0, 0); }
    __device__ void widen(float (&f)[8]) const {
        const uint32_t w[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            f[2 * i] = ptx::f32_of_bf16(static_cast<uint16_t>(w[i]));
            f[2 * i + 1] = ptx::f32_of_bf16(static_cast<uint16_t>(w[i] >> 16));
        }
    }
};
template <bool STAGED> struct key_chunk<float, STAGED> {
    uint4 raw[2];
    __device__ void load(const float *p) {
        raw[0] = load_pool16<STAGED>(p);
        raw[1] = load_pool16<STAGED>(p + 4);
    }
    __device__ void clear() { raw[0] = raw[1] = make_uint4(0, 0, 0, 0); }
    __device__ void widen(float (&f)[8]) const { memcpy(f, raw, sizeof raw); }
};

/* E dimensions of one position of V: neighbours from lane * E on (VEC), else lane, lane + 32, ... */
template <typename T, int E, bool VEC, bool STAGED> struct value_chunk {
    static constexpr int WORDS = VEC ? E * static_cast<int>(sizeof(T)) / 4 : E;
    uint32_t raw[WORDS];
    __device__ void clear() {
#pragma unroll
        for (int i = 0; i < WORDS; i++) raw[i] = 0;
    }
    __device__ void load(const T *row, int lane, int head_dim) {
        clear();
        if constexpr (VEC) {
            if (lane * E < head_dim) load_words(row + lane * E);
        } else {
#pragma unroll
            for (int i = 0; i < E; i++) {
                if (lane + 32 * i >= head_dim) continue;
                const float x = widen_one(row[lane + 32 * i]);
                memcpy(&raw[i], &x, sizeof x);
            }
        }
    }
    __device__ void load_words(const T *p) {
        if constexpr (WORDS >= 4) {
#pragma unroll
            for (int i = 0; i < WORDS / 4; i++) {
                const uint4 w = load_pool16<STAGED>(p + i * (16 / sizeof(T)));
                memcpy(&raw[4 * i], &w, sizeof w);
            }
        } else if constexpr (WORDS == 2) {
            const uint2 w = *reinterpret_cast<const uint2 *>(p);
            memcpy(raw, &w, sizeof w);
        } else {
            raw[0] = *reinterpret_cast<const uint32_t *>(p);
        }
    }
    __device__ float get(int e) const {
        if constexpr (VEC && sizeof(T) == 2) {
            return ptx::f32_of_bf16(static_cast<uint16_t>(raw[e / 2] >> (e % 2 * 16)));
        } else {
            float x;
            memcpy(&x, &raw[e], sizeof x);
            return x;
        }
    }
    static __device__ float widen_one(float x) { return x; }
    static __device__ float widen_one(uint16_t x) { return ptx::f32_of_bf16(x); }
};

#endif /* WEIR_KERNELS_ATTENTION_ATTENTION_LOADS_CUH */
