/* KV pools of both models. */
#include "host/deck/deck.h"
#include "host/deck/plan.h"
#include "host/deck/prefix.h"
#include "kernels/base/mem.h"

static weir_status open_pool(weir_backend *be, const weir_kv_shape *shape, weir_kv_pool **pool,
                             weir_kv_view *view) {
    if (shape->n_layer == 0) return WEIR_OK;
    WEIR_TRY(weir__kv_pool_create(pool, be, shape));
    *view = *weir__kv_pool_view(*pool);
    return WEIR_OK;
}

/* Lengths of the sources that an encoder has read. */
static weir_status open_cross_lengths(weir_engine *e, weir_deck_side *m) {
    weir_backend *be = e->pair.be;
    const size_t n = (size_t)e->pair.n_parallel, bytes = n * sizeof *m->cross_len;
    m->cross_len = weir_calloc(n, sizeof *m->cross_len);
    if (!m->cross_len) return WEIR_ENOMEM;
    m->kv.cross_len = m->cross_len;
    if (!be->device) return WEIR_OK;
    m->kv.cross_len = m->dev_cross_len = weir__backend_alloc(be, bytes);
    return m->dev_cross_len ? weir__backend_zero(be, m->dev_cross_len, bytes) : WEIR_EDEVMEM;
}

weir_status weir__caches_open(weir_engine *e, int side) {
    weir_deck_side *m = &e->deck.side[side];
    const weir_model_facts *f = &e->pair.side[side].facts;
    const weir_kv_shape self = weir__plan_self(e, f), slide = weir__plan_slide(e, f);
    WEIR_TRY(open_pool(e->pair.be, &self, &m->self, &m->kv.self));
    WEIR_TRY(open_pool(e->pair.be, &slide, &m->slide, &m->kv.slide));
    if (e->pair.facts.prefix_cache[side])
        WEIR_TRY(weir__prefix_open(&m->prefix, m->self, f->n_layer_cross > 0 ? 0 : e->pair.be->chunk));
    if (f->n_layer_cross == 0) return WEIR_OK;
    m->kv.cross = m->kv.self;
    m->kv.cross.table += e->pair.n_parallel * m->kv.self.table_stride;
    return open_cross_lengths(e, m);
}

void weir__caches_close(weir_engine *e) {
    for (int i = 0; i < 2; i++) {
        weir_deck_side *m = &e->deck.side[i];
        weir_free(m->cross_len);
        if (m->dev_cross_len) weir__backend_free(e->pair.be, m->dev_cross_len);
        weir__prefix_close(m->prefix);
        weir__kv_pool_free(m->self);
        weir__kv_pool_free(m->slide);
    }
}

weir_status weir__caches_sync(weir_deck_side *m) {
    WEIR_TRY(weir__kv_pool_sync(m->self));
    return m->slide ? weir__kv_pool_sync(m->slide) : WEIR_OK;
}
