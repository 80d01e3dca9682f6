#ifndef WEIR_KERNELS_ATTENTION_ATTENTION_CUH
#define WEIR_KERNELS_ATTENTION_ATTENTION_CUH

#include "kernels/attention/kv.cuh"

/* What both attention kernels know about a call. Rows from `row0` on are one launch. */
struct attention_rows {
    const float *q;
    int64_t ldq;
    float *o;
    int64_t ldo;
    const int32_t *slot, *pos, *n_key;
    int64_t n_row;
    int32_t n_head, head0, heads_of_kv; /* query head h reads KV head (head0 + h) / heads_of_kv */
    float scale, softcap;
    const float *bias;
    int32_t bias_left, bias_right, window;
    const float *sinks;

    explicit attention_rows(const weir_attention *a, int64_t row0 = 0, int64_t n = -1)
        : q(a->q + row0 * a->ldq), ldq(a->ldq), o(a->o + row0 * a->ldo), ldo(a->ldo), slot(a->slot + row0),
          pos(a->pos + row0), n_key(a->n_key + row0), n_row(n < 0 ? a->n_row : n), n_head(a->n_head),
          head0(a->head), heads_of_kv(weir__attention_heads_of_kv(a)), scale(a->scale), softcap(a->softcap),
          bias(a->bias), bias_left(a->bias_left), bias_right(a->bias_right), window(a->window),
          sinks(a->sinks) {}

    /* cap(scale * dot), without the bias. */
    __device__ float score(float dot) const {
        const float s = dot * scale;
        return softcap > 0.0f ? softcap * tanhf(s / softcap) : s;
    }
    /* A row's sum of weights e^(score - max), with the sink's. */
    __device__ float with_sink(int32_t head, float sum, float max) const {
        return sinks ? sum + expf(sinks[head] - max) : sum;
    }
    __device__ float bias_at(int32_t head, int32_t distance) const {
        const int32_t d = distance < -bias_left ? -bias_left : distance > bias_right ? bias_right : distance;
        return bias[static_cast<int64_t>(head) * (bias_left + 1 + bias_right) + bias_left + d];
    }
};

/* One row's positions [first, end); empty if the row is dead or the window leaves none: then only o is used.
 * Plain data, since it is kept in shared memory. */
struct attention_range {
    int32_t slot, pos, first, end;
    __device__ bool empty() const { return end <= first; }
};

PTX_FN attention_range attention_nothing() { return {-1, 0, INT_MAX, 0}; }

PTX_FN attention_range attention_range_of(const attention_rows &a, int64_t r) {
    /* in one round trip: of a dead row too, whose position and length are not used */
    const int32_t slot = ptx::load_here(a.slot + r), pos = ptx::load_here(a.pos + r),
                  n = ptx::load_here(a.n_key + r);
    const int64_t begin = a.window > 0 ? static_cast<int64_t>(pos) + 1 - a.window : 0;
    if (slot < 0 || begin >= n) return attention_nothing();
    return {slot, pos, begin < 0 ? 0 : static_cast<int32_t>(begin), n};
}

/* The union of what several rows of one slot look at. */
PTX_FN attention_range attention_union(const attention_range &a, const attention_range &b) {
    return {a.slot > b.slot ? a.slot : b.slot, a.pos, a.first < b.first ? a.first : b.first,
            a.end > b.end ? a.end : b.end};
}

/* Tensor cores: bf16 pools, head_dim a multiple of 16 up to 128. */
bool attention_prefill_serves(const weir_attention *a);
weir_status attention_prefill(weir_backend *be, const weir_attention *a);

#endif /* WEIR_KERNELS_ATTENTION_ATTENTION_CUH */
