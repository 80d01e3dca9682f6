#include "kernels/weight/weight.h"

#include <string.h>

#include "kernels/weight/weight_quant.h"

/* ---- shape --------------------------------------------------------------------------------------------- */

static int64_t panels_of(weir_layout layout, int64_t n, bool gated) {
    return layout == WEIR_LAYOUT_ROWS ? 0 : (n + WEIR_PANEL - 1) / WEIR_PANEL * (gated ? 2 : 1);
}

static int64_t padded_k(weir_layout layout, weir_dtype dtype, int64_t k) {
    if (!weir_dtype_is_float(dtype)) return k;
    const int64_t unit = layout == WEIR_LAYOUT_PANEL ? 2 : layout == WEIR_LAYOUT_FRAGMENT ? 16 : 1;
    return (k + unit - 1) / unit * unit;
}

static int64_t panel_bytes_of(weir_dtype dtype, int64_t k_pad) {
    return weir_dtype_is_float(dtype) ? k_pad * WEIR_PANEL * weir_dtype_bytes(dtype)
                                      : weir__quant_panel_bytes(dtype, k_pad);
}

int64_t weir__weight_panel_bytes(const weir_weight *w) { return panel_bytes_of(w->dtype, w->k_pad); }

size_t weir__weight_bytes(weir_layout layout, weir_dtype dtype, int64_t n, int64_t k, bool gated) {
    if (n <= 0 || k <= 0 || n > INT64_MAX / 4 || k > INT64_MAX / 4) return SIZE_MAX;
    if (layout == WEIR_LAYOUT_FRAGMENT && dtype != WEIR_DTYPE_BF16) return SIZE_MAX;
    if (k % weir_dtype_block(dtype) != 0 || k > INT64_MAX / 1024) return SIZE_MAX;
    const bool rows = layout == WEIR_LAYOUT_ROWS;
    const size_t count = rows ? (size_t)n * (gated ? 2 : 1) : (size_t)panels_of(layout, n, gated);
    const size_t each =
        (size_t)(rows ? weir_dtype_row_bytes(dtype, k) : panel_bytes_of(dtype, padded_k(layout, dtype, k)));
    return count > SIZE_MAX / each ? SIZE_MAX : count * each;
}

weir_weight weir__weight_shape(weir_layout layout, weir_dtype dtype, int64_t n, int64_t k, bool gated) {
    return (weir_weight){.dtype = dtype,
                         .n = n,
                         .k = k,
                         .n_panel = panels_of(layout, n, gated),
                         .k_pad = padded_k(layout, dtype, k),
                         .gated = gated,
                         .layout = layout,
                         .n_whole = n,
                         .k_whole = k,
                         .segments = weir__one_segment(k)};
}

void weir__weight_split_inputs(weir_weight *w, int64_t k_whole, int64_t unit, int rank, int n_rank) {
    w->split = WEIR_SPLIT_INPUTS;
    w->k_whole = k_whole;
    w->segments = weir__segments_of(k_whole, unit, rank, n_rank);
}

weir_weight weir__weight_at(const weir_weight *w, int64_t i) {
    weir_weight one = *w;
    one.data =
        (unsigned char *)w->data + (size_t)i * weir__weight_bytes(w->layout, w->dtype, w->n, w->k, w->gated);
    return one;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static int64_t element_at(const weir_weight *w, int64_t n, int64_t k, bool up) {
    if (w->layout == WEIR_LAYOUT_ROWS) return ((w->gated && up ? w->n : 0) + n) * w->k + k;
    const int64_t panel = w->gated ? n / WEIR_PANEL * 2 + (up ? 1 : 0) : n / WEIR_PANEL,
                  lane = n % WEIR_PANEL;
    const int64_t before = panel * w->k_pad * WEIR_PANEL;
    if (w->dtype == WEIR_DTYPE_F32) return before + k * WEIR_PANEL + lane;
    return before +
           (w->layout == WEIR_LAYOUT_FRAGMENT ? weir__fragment_at(k, lane) : weir__panel16_at(k, lane));
}

void weir__weight_block(const weir_weight *w, int64_t n, int64_t b, bool up, float *out) {
    const unsigned char *data = w->data;
    if (w->layout == WEIR_LAYOUT_ROWS) {
        const int64_t row = (w->gated && up ? w->n : 0) + n, row_bytes = weir_dtype_row_bytes(w->dtype, w->k);
        weir__dequantise_block(w->dtype, data + row * row_bytes + b * weir_dtype_block_bytes(w->dtype), out);
        return;
    }
    const int64_t panel = w->gated ? n / WEIR_PANEL * 2 + (up ? 1 : 0) : n / WEIR_PANEL;
    unsigned char block[WEIR_QUANT_BYTES];
    weir__quant_unpack_block(w->dtype, data + panel * weir__weight_panel_bytes(w), w->k, n % WEIR_PANEL, b,
                             block);
    weir__dequantise_block(w->dtype, block, out);
}

float weir__weight_get(const weir_weight *w, int64_t n, int64_t k, bool up) {
    if (!weir_dtype_is_float(w->dtype)) {
        float block[WEIR_QUANT_BLOCK];
        weir__weight_block(w, n, k / weir_dtype_block(w->dtype), up, block);
        return block[k % weir_dtype_block(w->dtype)];
    }
    const unsigned char *p =
        (const unsigned char *)w->data + element_at(w, n, k, up) * weir_dtype_bytes(w->dtype);
    if (w->dtype == WEIR_DTYPE_F32) {
        float f;
        memcpy(&f, p, sizeof f);
        return f;
    }
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return w->dtype == WEIR_DTYPE_F16 ? weir_f32_from_f16(h) : weir_f32_from_bf16(h);
}
