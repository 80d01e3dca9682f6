#include <string.h>

#include "kernels/rows/cpu.h"
#include "kernels/weight/quant.h"

/* weir_f32_from_bf16 inlined: one call per element took two thirds of the op's time. */
static inline float widen_bf16(uint16_t bits) {
    const uint32_t u = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static void embed_blocks(float *x, const weir_weight *w, int32_t token, float scale) {
    const int64_t block = weir_dtype_block(w->dtype);
    float row[WEIR_QUANT_BLOCK];
    for (int64_t b = 0; b < w->k / block; b++, x += block) {
        weir__weight_block(w, token, b, false, row);
        for (int64_t i = 0; i < block; i++) x[i] = scale * row[i];
    }
}

/* A token's row is one lane of a panel: 4 bytes, one f32 or a pair of 16-bit inputs, of every 64. One loop
 * per dtype, since reading a row through weir__weight_get, element by element, costs as much as a small
 * product. */
static void embed_row(float *x, const weir_weight *w, int32_t token, float scale) {
    if (!weir_dtype_is_float(w->dtype)) {
        embed_blocks(x, w, token, scale);
        return;
    }
    const int64_t panel = token / WEIR_PANEL, lane = token % WEIR_PANEL, k = w->k;
    if (w->dtype == WEIR_DTYPE_F32) {
        const float *p = (const float *)w->data + panel * w->k_pad * WEIR_PANEL + lane;
        for (int64_t i = 0; i < k; i++) x[i] = scale * p[i * WEIR_PANEL];
        return;
    }
    const uint16_t *p = (const uint16_t *)w->data + (panel * w->k_pad / 2 * WEIR_PANEL + lane) * 2;
    if (w->dtype == WEIR_DTYPE_BF16) {
        for (int64_t i = 0; i < k; i++) x[i] = scale * widen_bf16(p[i / 2 * WEIR_PANEL * 2 + i % 2]);
    } else {
        for (int64_t i = 0; i < k; i++) x[i] = scale * weir_f32_from_f16(p[i / 2 * WEIR_PANEL * 2 + i % 2]);
    }
}

weir_status weir__embed_cpu(weir_backend *be, weir_embed *a) {
    WEIR_TRY(weir__embed_check(a));
    for (int64_t r = 0; r < a->n_row; r++) {
        if (a->token[r] < 0 || a->token[r] >= a->table->n_whole) return WEIR_EINVAL;
    }
    if (a->keys) {
        weir_row_keys keys = *a->keys;
        WEIR_TRY(weir__row_keys_cpu(be, &keys));
    }
    for (int64_t r = 0; r < a->n_row; r++) {
        const int32_t row = a->token[r] - a->first;
        if (row >= 0 && row < a->table->n) embed_row(a->x + r * a->table->k, a->table, row, a->scale);
    }
    return WEIR_OK;
}
