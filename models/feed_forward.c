#include "models/feed_forward.h"

#include "kernels/weight/pack.h"
#include "models/product.h"

enum {
    FF_UNIT = 64
}; /* inputs of down that are shared out together: whole lines of its rows, if they divide */

size_t weir__feed_forward_floats(const model_shape *s, int64_t chunk) {
    const size_t in = weir__linear_cuda_scratch_floats((s->gated ? 2 : 1) * s->ff_dim, s->dim, chunk);
    const size_t out = weir__linear_cuda_scratch_floats(s->dim, s->ff_dim, chunk);
    return in > out ? in : out;
}

weir_status weir__feed_forward_load(weights *w, const model_shape *s, const feed_forward_names *n,
                                    weir_use use, feed_forward *f) {
    const matrix_list in = {.prefix = n->prefix,
                            .what = {n->gate, n->up},
                            .rows = {s->ff_dim, s->ff_dim},
                            .cols = s->dim,
                            .n = n->up ? 2 : 1,
                            .use = use};
    WEIR_TRY(n->up ? weir__load_gated(w, &in, f->in, &f->n_in) : weir__load_stacked(w, &in, f->in, &f->n_in));
    const matrix_list out = {.prefix = n->prefix,
                             .what = {n->down},
                             .rows = {s->dim},
                             .cols = s->ff_dim,
                             .n = 1,
                             .use = use,
                             .inputs = SHARED_FF,
                             .natural = s->ff_dim % FF_UNIT == 0 ? FF_UNIT : 1};
    return weir__load_matrix(w, &out, &f->out);
}

void weir__feed_forward_free(weir_backend *be, feed_forward *f) {
    for (int i = 0; i < 2; i++) weir__weight_free(be, &f->in[i]);
    weir__weight_free(be, &f->out);
}

weir_status weir__feed_forward(weir_model *m, const feed_forward *f, const model_rows *r) {
    weir_linear in = {.x = r->x,
                      .ldx = m->shape.dim,
                      .norm = f->norm,
                      .y = m->a.h,
                      .ldy = m->shape.ff_dim,
                      .epilogue = m->act};
    for (int i = 0; i < f->n_in; i++) {
        in.w = &f->in[i];
        if (i > 0) in.epilogue = WEIR_EPI_MUL;
        WEIR_TRY(weir__product(m, r, in));
    }
    return weir__residual(m, r, &f->out, m->a.h, f->post);
}
