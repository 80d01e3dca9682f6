/* Checkpoint tensors by name to packed weights and vectors on a backend. */
#include "models/weights.h"

#include <inttypes.h>
#include <stdio.h>

#include "kernels/weight/pack.h"

/* ---- tensors by name ----------------------------------------------------------------------------------- */

weir_status weir__want(const weights *w, const char *name, int64_t rows, int64_t cols, weir_tensor *t) {
    if (!w->src) {
        if (w->visit) WEIR_TRY(w->visit(w->visitor, name));
        *t = (weir_tensor){.dtype = w->dtype, .rows = rows, .cols = cols};
        return WEIR_OK;
    }
    char has[WEIR_SHAPE_TEXT];
    if (!w->src->find(w->src->ud, name, t)) {
        return weir_fail(w->err, WEIR_EFORMAT, "tensor %s: missing; want (%" PRId64 ", %" PRId64 ")", name,
                         rows, cols);
    }
    if (t->n_outer == 0 && t->rows == rows && t->cols == cols) return WEIR_OK;
    return weir_fail(w->err, WEIR_EFORMAT, "tensor %s: want (%" PRId64 ", %" PRId64 "), file has %s", name,
                     rows, cols, weir_tensor_shape(t, has));
}

weir_status weir__want_vector(const weights *w, const char *name, int64_t n, weir_tensor *t) {
    WEIR_TRY(weir__want(w, name, 1, n, t));
    if (!w->src || weir_dtype_is_float(t->dtype)) return WEIR_OK;
    return weir_fail(w->err, WEIR_EFORMAT, "tensor %s: %s, want f32, f16 or bf16", name,
                     weir_dtype_name(t->dtype));
}

/* ---- vectors ------------------------------------------------------------------------------------------- */

float *weir__next_vector(weights *w, int64_t n, const float **out) {
    const int64_t at = w->n_vector;
    w->n_vector += weir__stride(n);
    if (!w->vector) return NULL;
    *out = w->there + at;
    return w->vector + at;
}

weir_status weir__load_norm(weights *w, const char *prefix, const char *what, int64_t n, const float **out) {
    char name[WEIR__NAME_CAP];
    weir_tensor t;
    (void)snprintf(name, sizeof name, "%s%s.weight", prefix, what);
    WEIR_TRY(weir__want_vector(w, name, n, &t));
    float *to = weir__next_vector(w, n, out);
    for (int64_t i = 0; to && i < n; i++) to[i] = w->norm_plus + weir_tensor_get(&t, 0, i);
    w->n_param += n;
    return WEIR_OK;
}

weir_status weir__load_bias(weights *w, const matrix_list *l, const float **out) {
    int64_t n = 0;
    for (int i = 0; i < l->n; i++) n += l->rows[i];
    float *to = weir__next_vector(w, n, out);
    for (int p = 0; p < l->n; p++) {
        char name[WEIR__NAME_CAP];
        weir_tensor t;
        (void)snprintf(name, sizeof name, "%s%s.bias", l->prefix, l->what[p]);
        WEIR_TRY(weir__want_vector(w, name, l->rows[p], &t));
        for (int64_t i = 0; to && i < l->rows[p]; i++) *to++ = weir_tensor_get(&t, 0, i);
    }
    w->n_param += n;
    return WEIR_OK;
}

/* ---- dimensions that ranks share out ------------------------------------------------------------------- */

static int64_t common_multiple(int64_t a, int64_t b) {
    int64_t x = a, y = b;
    while (y) {
        const int64_t rest = x % y;
        x = y, y = rest;
    }
    return a / x * b;
}

enum { TILE = 16 }; /* inputs of a tile (kernels/weight/weight.h: FRAGMENT) */

int64_t weir__shared_unit(int64_t natural, int block) {
    return common_multiple(common_multiple(natural, TILE), block > 0 ? block : 1);
}

static void split(weights *w, const matrix_list *l, weir_weight *out) {
    const int block = weir_dtype_block(out->dtype);
    if (l->inputs == SHARED_NONE || l->use != WEIR_USE_ROWS) return;
    if (block > w->block[l->inputs]) w->block[l->inputs] = block;
    weir__weight_split_inputs(out, l->cols, weir__shared_unit(l->natural, w->block[l->inputs]), 0, 1);
}

/* ---- matrices ------------------------------------------------------------------------------------------ */

/* A matrix of the file under its name. */
typedef struct part {
    char name[WEIR__NAME_CAP];
    weir_tensor t;
} part;

static weir_status find_part(const weights *w, const matrix_list *l, int i, part *p) {
    (void)snprintf(p->name, sizeof p->name, "%s%s.weight", l->prefix, l->what[i]);
    WEIR_TRY(weir__want(w, p->name, l->rows[i], l->cols, &p->t));
    const int block = weir_dtype_block(p->t.dtype);
    if (l->cols % block == 0) return WEIR_OK;
    return weir_fail(w->err, WEIR_EFORMAT, "tensor %s: rows of %" PRId64 " are not whole blocks of %d (%s)",
                     p->name, l->cols, block, weir_dtype_name(p->t.dtype));
}

static weir_status find_parts(const weights *w, const matrix_list *l, part *p) {
    for (int i = 0; i < l->n; i++) {
        WEIR_TRY(find_part(w, l, i, &p[i]));
        if (!w->one_dtype || p[i].t.dtype == p[0].t.dtype) continue;
        return weir_fail(w->err, WEIR_EFORMAT, "tensor %s: %s, but %s is %s; both must agree", p[i].name,
                         weir_dtype_name(p[i].t.dtype), p[0].name, weir_dtype_name(p[0].t.dtype));
    }
    return WEIR_OK;
}

/* One packed weight from n parts of one dtype, stacked or a gated pair. */
static weir_status pack(weights *w, const matrix_list *l, const part *p, int n, bool gated,
                        weir_weight *out) {
    weir_tensor t[WEIR__PARTS] = {{0}};
    int64_t rows = 0;
    for (int i = 0; i < n; i++) {
        t[i] = p[i].t;
        rows += gated && i ? 0 : t[i].rows;
        w->n_param += t[i].rows * t[i].cols;
    }
    const weir_layout layout = weir__layout_of(w->device, t[0].dtype, l->use);
    weir_weight made = weir__weight_shape(layout, t[0].dtype, rows, t[0].cols, gated);
    const size_t bytes = weir__weight_bytes(layout, made.dtype, made.n, made.k, gated);
    w->matrix_bytes += bytes;
    if (l->use == WEIR_USE_ROWS) w->row_bytes += bytes;
    if (w->vector) {
        const weir_status s = weir__weight_pack(w->be, t, n, gated, l->use, &made);
        if (s != WEIR_OK) return weir_fail(w->err, s, "tensor %s: %s", p[0].name, weir_status_str(s));
    }
    split(w, l, &made);
    *out = made;
    if (!w->vector) return WEIR_OK;
    for (int i = 0; i < n && w->src->release; i++) w->src->release(w->src->ud, p[i].name);
    return WEIR_OK;
}

weir_status weir__load_stacked(weights *w, const matrix_list *l, weir_weight *out, int *n_out) {
    part p[WEIR__PARTS];
    *n_out = 0;
    WEIR_TRY(find_parts(w, l, p));
    for (int i = 0, n; i < l->n; i += n) {
        for (n = 1; i + n < l->n && p[i + n].t.dtype == p[i].t.dtype;) n++;
        WEIR_TRY(pack(w, l, p + i, n, false, &out[*n_out]));
        ++*n_out;
    }
    return WEIR_OK;
}

weir_status weir__load_gated(weights *w, const matrix_list *l, weir_weight out[2], int *n_out) {
    part p[WEIR__PARTS];
    *n_out = 0;
    WEIR_TRY(find_parts(w, l, p));
    *n_out = p[0].t.dtype == p[1].t.dtype ? 1 : 2;
    if (*n_out == 1) return pack(w, l, p, 2, true, &out[0]);
    WEIR_TRY(pack(w, l, &p[0], 1, false, &out[0]));
    return pack(w, l, &p[1], 1, false, &out[1]);
}

weir_status weir__load_matrix(weights *w, const matrix_list *l, weir_weight *out) {
    int n;
    return weir__load_stacked(w, l, out, &n);
}
