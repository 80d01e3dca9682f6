#include "host/formats/safetensors/f8.h"

#include <stdio.h>
#include <string.h>

#include "host/formats/json/json_file.h"
#include "kernels/base/mem.h"
#include "kernels/weight/quantise.h"

static const char WEIGHT[] = ".weight";
/* Those of the weights first. */
static const char *const SCALES[] = {".weight_scale", ".weight_scale_inv", ".input_scale"};
enum { N_SCALE = sizeof SCALES / sizeof *SCALES, N_OF_WEIGHTS = 2 };

bool weir__is_f8(const weir_entry *e) { return strcmp(e->type, "F8_E4M3") == 0; }

bool weir__f8_is_scale(const weir_safetensors *s, const char *name) {
    char weight[WEIR__ENTRY_NAME_CAP];
    weir_entry e;
    for (int i = 0; i < N_SCALE; i++)
        if (weir__entry_renamed(name, SCALES[i], WEIGHT, weight) && weir__safetensors_find(s, weight, &e) &&
            weir__is_f8(&e))
            return true;
    return false;
}

static bool find_scale(const weir_safetensors *s, const weir_entry *e, weir_entry *scale) {
    char name[WEIR__ENTRY_NAME_CAP];
    for (int i = 0; i < N_OF_WEIGHTS; i++)
        if (weir__entry_renamed(e->name, WEIGHT, SCALES[i], name) && weir__safetensors_find(s, name, scale))
            return true;
    return false;
}

/* ---- which scale an element has ------------------------------------------------------------------------ */

/* Scale of element (r, c): [r / rows * per_row + c / cols]. */
typedef struct scale_grid {
    weir_tensor t; /* (1, n) */
    int64_t rows, cols, per_row;
} scale_grid;

/* What a configuration that says nothing means. */
static weir_f8_block or_usual(weir_f8_block b) { return b.rows > 0 ? b : (weir_f8_block){128, 128}; }

static int64_t ceil_div(int64_t n, int64_t d) { return (n + d - 1) / d; }

/* One number; one for each row, as a vector or a column; one for each block. */
static bool grid_of(const weir_entry *e, const weir_entry *scale, weir_f8_block block, scale_grid *out) {
    const int64_t rows = e->shape[0], cols = e->shape[1];
    block = or_usual(block);
    const int64_t down = scale->n_dim > 0 ? scale->shape[0] : 1,
                  across = scale->n_dim > 1 ? scale->shape[1] : 1;
    if (scale->n_dim > 2 || scale->dtype < 0) return false;
    const int64_t n = down * across;
    *out = (scale_grid){.t = weir_tensor_of(scale->data, (weir_dtype)scale->dtype, &n, 1), .per_row = across};
    if (n == 1) {
        out->rows = rows, out->cols = cols;
    } else if (down == rows && across == 1) {
        out->rows = 1, out->cols = cols;
    } else if (down == ceil_div(rows, block.rows) && across == ceil_div(cols, block.cols)) {
        out->rows = block.rows, out->cols = block.cols;
    } else {
        return false;
    }
    return true;
}

weir_status weir__f8_check(const weir_safetensors *s, const weir_entry *e, weir_f8_block block,
                           const char *label, weir_err *err) {
    weir_entry scale;
    scale_grid g;
    if (e->n_dim != 2)
        return weir_fail(err, WEIR_ENOTSUP,
                         "%s: tensor %.100s: F8_E4M3 with %d dimensions, expected a matrix",
                         weir__label(label), e->name, e->n_dim);
    if (!find_scale(s, e, &scale))
        return weir_fail(err, WEIR_EFORMAT,
                         "%s: tensor %.100s: F8_E4M3 without a scale, expected a weight_scale or "
                         "weight_scale_inv beside it",
                         weir__label(label), e->name);
    if (grid_of(e, &scale, block, &g)) return WEIR_OK;
    return weir_fail(
        err, WEIR_EFORMAT,
        "%s: tensor %.100s: %.10s (%lld, %lld) in %d dimensions does not fit a matrix (%lld, %lld): "
        "expected F32, F16 or BF16, one, one a row, or one for %d x %d",
        weir__label(label), scale.name, scale.type, (long long)scale.shape[0], (long long)scale.shape[1],
        scale.n_dim, (long long)e->shape[0], (long long)e->shape[1], (int)or_usual(block).rows,
        (int)or_usual(block).cols);
}

static float scale_of(const scale_grid *g, int64_t r, int64_t c) {
    return weir_tensor_get(&g->t, 0, r / g->rows * g->per_row + c / g->cols);
}

/* ---- elements ------------------------------------------------------------------------------------------ */

/* 4 bits of exponent, biased by 7, 3 of mantissa; all bits set but the sign: NaN. */
static float f32_of_e4m3(unsigned bits) {
    const unsigned exponent = bits >> 3 & 15, mantissa = bits & 7;
    const uint32_t sign = (uint32_t)(bits & 128) << 24;
    uint32_t u = sign | (exponent + 120) << 23 | mantissa << 20;
    float f;
    if (exponent == 0) {
        f = (float)mantissa * 0x1p-9f;
        return sign ? -f : f;
    }
    if ((bits & 127) == 127) u = sign | 0x7fc00000u;
    memcpy(&f, &u, sizeof f);
    return f;
}

static void *widen(const weir_entry *e, const scale_grid *g) {
    const int64_t rows = e->shape[0], cols = e->shape[1];
    const uint8_t *from = e->data;
    float value[256];
    uint16_t *out = weir_alloc((size_t)rows * (size_t)cols, sizeof *out), *to = out;
    if (!out) return NULL;
    for (unsigned i = 0; i < 256; i++) value[i] = f32_of_e4m3(i);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t begin = 0, end; begin < cols; begin = end) {
            const float x = scale_of(g, r, begin);
            end = cols - begin < g->cols ? cols : begin + g->cols;
            for (int64_t c = begin; c < end; c++) *to++ = weir_bf16_from_f32(value[*from++] * x);
        }
    }
    return out;
}

static void *blocks(const weir_entry *e, const scale_grid *g) {
    const int64_t rows = e->shape[0], cols = e->shape[1], each = weir_dtype_block(WEIR_DTYPE_FP8);
    const uint8_t *from = e->data;
    uint8_t *out = weir_alloc((size_t)rows, (size_t)weir_dtype_row_bytes(WEIR_DTYPE_FP8, cols)), *to = out;
    if (!out) return NULL;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < cols; c += each, from += each, to += weir_dtype_block_bytes(WEIR_DTYPE_FP8))
            weir__fp8_block(scale_of(g, r, c), from, to);
    }
    return out;
}

static bool own_grid(const weir_safetensors *s, const weir_entry *e, weir_f8_block block, scale_grid *g) {
    weir_entry scale;
    return find_scale(s, e, &scale) && grid_of(e, &scale, block, g);
}

weir_dtype weir__f8_dtype(const weir_safetensors *s, const weir_entry *e, weir_f8_block block) {
    const int64_t cols = e->shape[1], each = weir_dtype_block(WEIR_DTYPE_FP8);
    scale_grid g;
    const bool whole =
        cols % each == 0 && own_grid(s, e, block, &g) && (g.cols >= cols || g.cols % each == 0);
    return whole ? WEIR_DTYPE_FP8 : WEIR_DTYPE_BF16;
}

void *weir__f8_elements(const weir_safetensors *s, const weir_entry *e, weir_f8_block block) {
    scale_grid g;
    if (!own_grid(s, e, block, &g)) return NULL;
    return weir__f8_dtype(s, e, block) == WEIR_DTYPE_FP8 ? blocks(e, &g) : widen(e, &g);
}
