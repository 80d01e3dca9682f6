#include "host/tokenizers/pipeline/pipeline.h"

#include <string.h>

#include "kernels/base/mem.h"

/* ---- open ---------------------------------------------------------------------------------------------- */

weir__pipeline *weir__pipeline_new(weir_err *err) {
    weir__pipeline *p = weir_calloc(1, sizeof *p);
    if (!p) {
        weir_fail(err, WEIR_ENOMEM, "no memory for a tokenizer");
        return NULL;
    }
    p->unk_id = p->end = -1;
    return p;
}

void weir__pipeline_free(void *pipeline) {
    weir__pipeline *p = pipeline;
    if (!p) return;
    weir__vocab_free(&p->vocab);
    weir__vocab_free(&p->parts);
    weir__pairs_free(&p->pairs);
    weir__unigram_free(p->unigram);
    weir_free(p->rank);
    weir__added_free(&p->before);
    weir__added_free(&p->after);
    weir__steps_free(&p->norm);
    weir__steps_free(&p->prep);
    weir__steps_free(&p->each);
    weir__pretok_free(p->pretok);
    weir__pretok_free(p->each_pretok);
    weir_free(p);
}

weir_status weir__encoder_emit(weir__encoder *e, int32_t id, weir_err *err) {
    if (e->n == e->cap || !e->ids) {
        const size_t cap = e->cap + e->cap / 2 + 64;
        int32_t *more = weir_alloc(cap, sizeof *more);
        if (!more) return weir_fail(err, WEIR_ENOMEM, "no memory for %zu ids", cap);
        if (e->n) memcpy(more, e->ids, e->n * sizeof *more);
        weir_free(e->ids);
        e->ids = more;
        e->cap = cap;
    }
    e->ids[e->n++] = id;
    return WEIR_OK;
}
