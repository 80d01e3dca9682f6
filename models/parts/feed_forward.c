#include "models/parts/feed_forward.h"

#include "kernels/weight/pack.h"
#include "models/parts/product.h"

size_t weir__feed_forward_floats(const model_shape *s, int64_t chunk) {
    const size_t in = weir__linear_cuda_scratch_floats((s->gated ? 2 : 1) * s->ff_dim, s->dim, chunk);
    const size_t out = weir__linear_cuda_scratch_floats(s->dim, s->ff_dim, chunk);
    return in > out ? in : out;
}

weir_status weir__feed_forward_load(weights *w, const model_shape *s, const feed_forward_names *n,
                                    weir_use use, feed_forward *f) {
    const weir_span ff =
        use == WEIR_USE_ROWS ? (weir_span){s->ff_dim, s->own.ff, s->own.n_ff} : weir__span_all(s->ff_dim);
    const matrix_list in = {.prefix = n->prefix,
                            .what = {n->gate, n->up},
                            .fused = n->gate_up,
                            .rows = {ff, ff},
                            .cols = weir__span_all(s->dim),
                            .n = n->up ? 2 : 1,
                            .use = use};
    WEIR_TRY(n->up ? weir__load_gated(w, &in, f->in, &f->n_in) : weir__load_stacked(w, &in, f->in, &f->n_in));
    const matrix_list out = {.prefix = n->prefix,
                             .what = {n->down},
                             .rows = {weir__span_all(s->dim)},
                             .cols = ff,
                             .n = 1,
                             .use = use,
                             .inputs = SHARED_FF};
    return weir__load_matrix(w, &out, &f->out);
}

void weir__feed_forward_free(weir_backend *be, feed_forward *f) {
    for (int i = 0; i < 2; i++) weir__weight_free(be, &f->in[i]);
    weir__weight_free(be, &f->out);
}

weir_status weir__feed_forward(weir_model *m, const feed_forward *f, const model_rows *r) {
    weir_linear in = {
        .x = r->x, .ldx = r->dim, .norm = f->norm, .y = m->a.h, .ldy = f->in[0].n, .epilogue = m->act};
    for (int i = 0; i < f->n_in && f->in[0].n > 0; i++) {
        in.w = &f->in[i];
        if (i > 0) in.epilogue = WEIR_EPI_MUL;
        WEIR_TRY(weir__product(m, r, in));
    }
    return weir__residual(m, r, &f->out, m->has_ff, m->a.h, f->post);
}
