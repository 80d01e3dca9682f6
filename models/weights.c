/* Checkpoint tensors by name to packed weights and vectors on a backend. */
#include "models/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "kernels/weight/pack.h"

void weir__note_exchange(weights *w, int64_t floats) {
    w->n_exchange++;
    w->given_floats += (size_t)floats;
    if ((size_t)floats > w->exchange_floats) w->exchange_floats = (size_t)floats;
}

/* ---- tensors by name ----------------------------------------------------------------------------------- */

/* A tensor of one matrix, or (outer > 0) of a stack of them. own: a load wants its elements, too. */
static weir_status want(const weights *w, const char *name, int outer, int64_t rows, int64_t cols, bool own,
                        weir_tensor *t) {
    const weir_tensor shape = {
        .dtype = w->dtype, .rows = rows, .cols = cols, .n_outer = outer > 0, .outer = {outer}};
    char wanted[WEIR_SHAPE_TEXT], has[WEIR_SHAPE_TEXT];
    if (!w->src) {
        if (w->visit) WEIR_TRY(w->visit(w->visitor, name));
        *t = shape;
        return WEIR_OK;
    }
    weir_tensor_shape(&shape, wanted);
    if (!w->src->find(w->src->ud, name, t))
        return weir_fail(w->err, WEIR_EFORMAT, "tensor %s: missing; want %s", name, wanted);
    if (t->n_outer != shape.n_outer || t->rows != rows || t->cols != cols || (outer && t->outer[0] != outer))
        return weir_fail(w->err, WEIR_EFORMAT, "tensor %s: want %s, file has %s", name, wanted,
                         weir_tensor_shape(t, has));
    if (!w->vector || !own || t->data) return WEIR_OK;
    t->data = w->src->data ? w->src->data(w->src->ud, name) : NULL;
    return t->data ? WEIR_OK : weir_fail(w->err, WEIR_ENOMEM, "tensor %s: no memory for its elements", name);
}

weir_status weir__want(const weights *w, const char *name, int64_t rows, int64_t cols, weir_tensor *t) {
    return want(w, name, 0, rows, cols, true, t);
}

static weir_status want_floats(const weights *w, const char *name, int64_t rows, int64_t cols,
                               weir_tensor *t) {
    WEIR_TRY(weir__want(w, name, rows, cols, t));
    if (!w->src || weir_dtype_is_float(t->dtype)) return WEIR_OK;
    return weir_fail(w->err, WEIR_EFORMAT, "tensor %s: %s, want f32, f16 or bf16", name,
                     weir_dtype_name(t->dtype));
}

weir_status weir__want_vector(const weights *w, const char *name, int64_t n, weir_tensor *t) {
    return want_floats(w, name, 1, n, t);
}

/* ---- vectors ------------------------------------------------------------------------------------------- */

float *weir__next_vector(weights *w, int64_t n, const float **out) {
    const int64_t at = w->n_vector;
    w->n_vector += weir__stride(n);
    if (!w->vector) return NULL;
    *out = w->there + at;
    return w->vector + at;
}

static weir_status load_vector(weights *w, const char *name, int64_t n, float plus, const float **out) {
    weir_tensor t;
    WEIR_TRY(weir__want_vector(w, name, n, &t));
    float *to = weir__next_vector(w, n, out);
    for (int64_t i = 0; to && i < n; i++) to[i] = plus + weir_tensor_get(&t, 0, i);
    w->n_param += n;
    return WEIR_OK;
}

weir_status weir__load_norm(weights *w, const char *prefix, const char *what, int64_t n, const float **out) {
    char name[WEIR__NAME_CAP];
    (void)snprintf(name, sizeof name, "%s%s.weight", prefix, what);
    return load_vector(w, name, n, w->norm_plus, out);
}

weir_status weir__load_vector(weights *w, const char *prefix, const char *what, int64_t n,
                              const float **out) {
    char name[WEIR__NAME_CAP];
    (void)snprintf(name, sizeof name, "%s%s", prefix, what);
    return load_vector(w, name, n, 0.0f, out);
}

weir_status weir__load_bias(weights *w, const matrix_list *l, const float **out) {
    int64_t n = 0;
    for (int i = 0; i < l->n; i++) n += l->rows[i].own, w->n_param += l->rows[i].n;
    float *to = weir__next_vector(w, n, out);
    for (int p = 0; p < l->n; p++) {
        char name[WEIR__NAME_CAP];
        weir_tensor t;
        (void)snprintf(name, sizeof name, "%s%s.bias", l->prefix, l->what[p]);
        WEIR_TRY(weir__want_vector(w, name, l->rows[p].n, &t));
        for (int64_t i = 0; to && i < l->rows[p].own; i++)
            *to++ = weir_tensor_get(&t, 0, l->rows[p].first + i);
    }
    return WEIR_OK;
}

/* ---- matrices ------------------------------------------------------------------------------------------ */

/* A matrix of the file under its name. */
typedef struct part {
    char name[WEIR__NAME_CAP];
    weir_tensor t;
    weir_dtype as; /* on the backend */
} part;

/* What the matrix becomes: blocks, where the source wants that and rows are whole blocks. */
static weir_dtype quantised(weights *w, const matrix_list *l, weir_dtype file) {
    const weir_dtype to = w->src ? w->src->quantise : WEIR_DTYPE_F32;
    if (weir_dtype_is_float(to) || (l->looked_up && l->use == WEIR_USE_PREFILL)) return file;
    const bool can = weir_dtype_is_float(file) && l->cols.n % weir_dtype_block(to) == 0;
    w->n_quantised += can, w->n_left += !can;
    return can ? to : file;
}

/* Some products cannot have their inputs in another order. */
static weir_status refuse_order(const weights *w, const part *p, const char *why) {
    if (!p->t.order) return WEIR_OK;
    return weir_fail(w->err, WEIR_ENOTSUP,
                     "tensor %s: its inputs are in act-order (desc_act, g_idx), which %s", p->name, why);
}

static weir_status find_matrix(weights *w, const matrix_list *l, const char *what, int outer, int64_t rows,
                               bool own, part *p) {
    (void)snprintf(p->name, sizeof p->name, "%s%s.weight", l->prefix, what);
    WEIR_TRY(want(w, p->name, outer, rows, l->cols.n, own, &p->t));
    const int block = weir_dtype_block(p->t.dtype);
    p->as = quantised(w, l, p->t.dtype);
    if (l->looked_up) WEIR_TRY(refuse_order(w, p, "is not supported of a table that is looked up"));
    if (l->cols.n % block == 0) return WEIR_OK;
    return weir_fail(w->err, WEIR_EFORMAT, "tensor %s: rows of %" PRId64 " are not whole blocks of %d (%s)",
                     p->name, l->cols.n, block, weir_dtype_name(p->t.dtype));
}

/* Rows of the one tensor that holds all of them. */
static weir_status find_fused(weights *w, const matrix_list *l, bool own, part *p) {
    part whole;
    int64_t n = 0, at = 0;
    for (int i = 0; i < l->n; i++) n += l->rows[i].n;
    WEIR_TRY(find_matrix(w, l, l->fused, 0, n, own, &whole));
    for (int i = 0; i < l->n; at += l->rows[i].n, i++) {
        p[i] = whole;
        p[i].t = weir_tensor_rows(&whole.t, at, l->rows[i].n);
    }
    return WEIR_OK;
}

/* own: as want. */
static weir_status find_parts(weights *w, const matrix_list *l, bool own, part *p) {
    if (l->fused) return find_fused(w, l, own, p);
    for (int i = 0; i < l->n; i++) WEIR_TRY(find_matrix(w, l, l->what[i], 0, l->rows[i].n, own, &p[i]));
    return WEIR_OK;
}

/* This rank's part of a weight from n parts of one kind, stacked or a gated pair, without its data; own: the
 * parts' tensors cut to it. */
static weir_weight shape_of(weights *w, const matrix_list *l, const part *p, const weir_span *rows, int n,
                            bool gated, weir_tensor *own) {
    int64_t n_own = 0, n_whole = 0;
    for (int i = 0; i < n; i++) {
        const weir_tensor t = weir_tensor_rows(&p[i].t, rows[i].first, rows[i].own);
        own[i] = weir_tensor_cols(&t, l->cols.first, l->cols.own);
        n_own += gated && i ? 0 : rows[i].own;
        n_whole += gated && i ? 0 : rows[i].n;
        w->n_param += p[i].t.rows * p[i].t.cols;
    }
    const weir_dtype dtype = p[0].as;
    const weir_layout layout = weir__layout_of(w->place.device, dtype, l->use);
    weir_weight made = weir__weight_shape(layout, dtype, n_own, l->cols.own, gated);
    made.n_whole = n_whole;
    return made;
}

/* Of a matrix of decode and verify rows that is split along its inputs. */
static void split(weights *w, const model_shape *s, const matrix_list *l, weir_weight *made) {
    const int block = weir_dtype_block(made->dtype);
    if (l->inputs == SHARED_NONE || l->use != WEIR_USE_ROWS) return;
    if (block > w->block[l->inputs]) w->block[l->inputs] = block;
    weir__note_exchange(w, made->n);
    const bool shared = weir__body_is_shared(s);
    weir__weight_split_inputs(made, l->cols.n, weir__shared_unit(s, l->inputs, w->block[l->inputs]),
                              shared ? s->place.rank : 0, shared ? s->place.n_rank : 1);
}

/* Each rank has some of the inputs. */
static bool is_split(const weights *w, const matrix_list *l) {
    return l->inputs != SHARED_NONE && l->use == WEIR_USE_ROWS && weir__body_is_shared(w->shape);
}

/* The parts' inputs in their order: room beside the vectors, which have 4 bytes an element too. */
static void load_order(weights *w, const weir_tensor *t, weir_weight *made) {
    const float *there = NULL;
    if (!t->order) return;
    float *to = weir__next_vector(w, made->k, &there);
    if (to) memcpy(to, t->order, (size_t)made->k * sizeof *t->order);
    made->order = (const int32_t *)there;
    if (made->k > w->ordered) w->ordered = made->k;
}

static void release(const weights *w, const part *p, int n) {
    for (int k = 0; k < n && w->src->release; k++) w->src->release(w->src->ud, p[k].name);
}

/* Parts [i, i + n) of the list. A rank that has nothing of them gets a weight without data. */
static weir_status pack(weights *w, const matrix_list *l, const part *p, int i, int n, bool gated,
                        weir_weight *out) {
    weir_tensor own[WEIR__PARTS];
    weir_weight made = shape_of(w, l, p + i, l->rows + i, n, gated, own);
    if (is_split(w, l))
        WEIR_TRY(refuse_order(w, p + i, "-tp cannot share out: run it without, a drafter with --draft-tp 1"));
    const bool some = made.n > 0 && made.k > 0;
    const size_t bytes = some ? weir__weight_bytes(made.layout, made.dtype, made.n, made.k, gated) : 0;
    w->matrix_bytes += bytes;
    if (l->use == WEIR_USE_ROWS) w->row_bytes += bytes;
    if (w->vector && some) {
        const int64_t n_whole = made.n_whole;
        const weir_status s = weir__weight_pack_as(w->be, own, n, gated, l->use, p[i].as, &made);
        if (s != WEIR_OK) return weir_fail(w->err, s, "tensor %s: %s", p[i].name, weir_status_str(s));
        made.n_whole = n_whole;
    }
    split(w, w->shape, l, &made);
    load_order(w, &own[0], &made);
    *out = made;
    if (w->vector) release(w, p + i, n);
    return WEIR_OK;
}

static bool same_order(const weir_tensor *a, const weir_tensor *b) {
    if (!a->order || !b->order) return a->order == b->order;
    return memcmp(a->order, b->order, (size_t)a->cols * sizeof *a->order) == 0;
}

/* Of one dtype, in the file and on the backend, and of one order of inputs. */
static bool same_kind(const part *a, const part *b) {
    return a->t.dtype == b->t.dtype && a->as == b->as && same_order(&a->t, &b->t);
}

weir_status weir__load_stacked(weights *w, const matrix_list *l, weir_weight *out, int *n_out) {
    part p[WEIR__PARTS];
    *n_out = 0;
    WEIR_TRY(find_parts(w, l, true, p));
    for (int i = 0, n; i < l->n; i += n) {
        for (n = 1; i + n < l->n && same_kind(&p[i + n], &p[i]);) n++;
        WEIR_TRY(pack(w, l, p, i, n, false, &out[*n_out]));
        ++*n_out;
    }
    return WEIR_OK;
}

weir_status weir__load_gated(weights *w, const matrix_list *l, weir_weight out[2], int *n_out) {
    part p[WEIR__PARTS];
    *n_out = 0;
    WEIR_TRY(find_parts(w, l, true, p));
    *n_out = same_kind(&p[0], &p[1]) ? 1 : 2;
    if (*n_out == 1) return pack(w, l, p, 0, 2, true, &out[0]);
    WEIR_TRY(pack(w, l, p, 0, 1, false, &out[0]));
    return pack(w, l, p, 1, 1, false, &out[1]);
}

weir_status weir__load_matrix(weights *w, const matrix_list *l, weir_weight *out) {
    int n;
    return weir__load_stacked(w, l, out, &n);
}

/* ---- several alike ------------------------------------------------------------------------------------- */

static bool is_own(const matrix_stack *s, int64_t i) {
    return i >= s->which.first && i < s->which.first + s->which.own;
}

/* The parts of number i, with their elements if this rank has it, or any of a stacked list. whole: tensors of
 * a stacked list, found with number 0. */
static weir_status find_nth(weights *w, const matrix_stack *s, int64_t i, part *whole, part *p) {
    matrix_list one = s->each;
    char prefix[WEIR__PREFIX_CAP];
    if (!s->stacked) {
        (void)snprintf(prefix, sizeof prefix, "%s%d.", one.prefix, (int)i);
        one.prefix = prefix;
        return find_parts(w, &one, is_own(s, i), p);
    }
    for (int k = 0; k < one.n; k++) {
        const int64_t rows = one.rows[k].n, n = s->which.n;
        if (i == 0) WEIR_TRY(find_matrix(w, &one, one.what[k], (int)n, rows, s->which.own > 0, &whole[k]));
        p[k] = whole[k];
        p[k].t.n_outer = 0;
        p[k].t = weir_tensor_rows(&p[k].t, i * rows, rows);
    }
    return WEIR_OK;
}

/* Bytes that a row reads of this rank's, with number `at` of them: on average n_used of all. */
static bool is_read(const matrix_stack *s, int64_t at) { return at * s->which.n < s->n_used * s->which.own; }

/* Number i's n parts to their place in *out, which number 0 makes. */
static weir_status pack_nth(weights *w, const matrix_stack *s, const part *p, int64_t i, int n,
                            const weir_span *rows, weir_weight *out) {
    const matrix_list *l = &s->each;
    weir_tensor own[WEIR__PARTS];
    const bool gated = n == 2 && !s->apart;
    weir_weight made = shape_of(w, l, p, rows, n, gated, own);
    const int64_t at = i - s->which.first;
    const size_t bytes = weir__weight_bytes(made.layout, made.dtype, made.n, made.k, made.gated);
    if (i == 0) *out = made;
    if (!is_own(s, i)) return WEIR_OK;
    w->matrix_bytes += bytes;
    if (is_read(s, at)) w->row_bytes += bytes;
    if (!w->vector) return WEIR_OK;
    const size_t room = (size_t)s->which.own;
    if (at == 0) out->data = bytes > SIZE_MAX / room ? NULL : weir__backend_alloc(w->be, bytes * room);
    const weir_status st = !out->data
                               ? (w->be->device ? WEIR_EDEVMEM : WEIR_ENOMEM)
                               : weir__weight_pack_at(w->be, own, n, gated, l->use, p->as,
                                                      (unsigned char *)out->data + bytes * (size_t)at, &made);
    return st == WEIR_OK ? WEIR_OK : weir_fail(w->err, st, "tensor %s: %s", p->name, weir_status_str(st));
}

static weir_status check_alike(const weights *w, const part *p, const part *first, int n) {
    for (int k = 0; k < n; k++) {
        if (p[k].t.dtype == first[k].t.dtype) continue;
        return weir_fail(w->err, WEIR_EFORMAT, "tensor %s: %s, but %s is %s", p[k].name,
                         weir_dtype_name(p[k].t.dtype), first[k].name, weir_dtype_name(first[k].t.dtype));
    }
    return WEIR_OK;
}

weir_status weir__load_stack_bias(weights *w, const matrix_stack *s, const float **out) {
    const matrix_list *l = &s->each;
    int64_t width = 0, at = 0;
    for (int p = 0; p < l->n; p++) width += l->rows[p].n;
    float *to = weir__next_vector(w, s->which.n * width, out);
    w->n_param += s->which.n * width;
    for (int p = 0; p < l->n; at += l->rows[p].n, p++) {
        char name[WEIR__NAME_CAP];
        weir_tensor t;
        (void)snprintf(name, sizeof name, "%s%s.bias", l->prefix, l->what[p]);
        WEIR_TRY(want_floats(w, name, s->which.n, l->rows[p].n, &t));
        for (int64_t i = 0; to && i < s->which.n * l->rows[p].n; i++)
            to[i / l->rows[p].n * width + at + i % l->rows[p].n] =
                weir_tensor_get(&t, i / l->rows[p].n, i % l->rows[p].n);
        if (w->vector && w->src->release) w->src->release(w->src->ud, name);
    }
    return WEIR_OK;
}

weir_status weir__load_stack(weights *w, const matrix_stack *s, weir_weight *out, int *n_out) {
    const int n = s->each.n;
    part first[WEIR__PARTS], whole[WEIR__PARTS], p[WEIR__PARTS];
    *n_out = 0;
    for (int64_t i = 0; i < s->which.n; i++) {
        WEIR_TRY(find_nth(w, s, i, whole, p));
        if (i == 0) memcpy(first, p, (size_t)n * sizeof *first);
        WEIR_TRY(check_alike(w, p, first, n));
        for (int k = 0; k < n; k++) WEIR_TRY(refuse_order(w, &p[k], "is not supported of experts"));
        const bool pair = n == 2 && p[0].t.dtype == p[1].t.dtype;
        *n_out = pair ? 1 : n;
        for (int k = 0; k < *n_out; k++)
            WEIR_TRY(pack_nth(w, s, p + k, i, pair ? 2 : 1, s->each.rows + k, &out[k]));
        if (w->vector && (s->stacked ? i == s->which.n - 1 : is_own(s, i))) release(w, p, n);
    }
    return WEIR_OK;
}
