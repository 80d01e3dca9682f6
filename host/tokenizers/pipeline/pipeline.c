#include "host/tokenizers/pipeline/pipeline.h"

#include "kernels/base/mem.h"

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
