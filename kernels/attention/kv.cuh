#ifndef WEIR_KERNELS_ATTENTION_KV_CUH
#define WEIR_KERNELS_ATTENTION_KV_CUH

#include "kernels/cuda/util.cuh"

#include "kernels/cuda/ptx.cuh"

/* One layer of a weir_kv_view, passed to kernels by value. T is float, or uint16_t for bf16. */
template <typename T> struct kv_pool {
    T *pool; /* at the layer */
    const int32_t *table;
    int64_t table_stride, page_elems;
    int32_t n_head_kv, head_dim;

    kv_pool(const weir_kv_view *v, int32_t layer)
        : pool(static_cast<T *>(v->pool) +
               static_cast<int64_t>(layer) * v->n_head_kv * 2 * v->head_dim * WEIR_PAGE),
          table(v->table), table_stride(v->table_stride), page_elems(v->page_elems), n_head_kv(v->n_head_kv),
          head_dim(v->head_dim) {}

    __device__ T *page(int32_t slot, int32_t page) const {
        return pool + table[slot * table_stride + page] * page_elems;
    }
    __device__ T *keys(T *page, int32_t head) const {
        return page + static_cast<int64_t>(head) * 2 * head_dim * WEIR_PAGE;
    }
    __device__ T *values(T *page, int32_t head) const { return keys(page, head) + head_dim * WEIR_PAGE; }
};

PTX_FN void store(float *p, float x) { *p = x; }
PTX_FN void store(uint16_t *p, float x) { *p = ptx::bf16(x); }

#endif /* WEIR_KERNELS_ATTENTION_KV_CUH */
