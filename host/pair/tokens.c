/* Text to ids and back. Reads the pair alone: any thread may call. */
#include <string.h>

#include "host/state.h"
#include "kernels/base/mem.h"

static weir_status need_tokenizer(const weir_engine *e, weir_err *err) {
    if (e->pair.tok) return WEIR_OK;
    return weir_fail(err, WEIR_ENOTSUP,
                     "%s has no tokenizer (spiece.model, tokenizer.model, tokenizer.json, merges.txt): "
                     "texts need one, ids do not",
                     e->pair.side[WEIR_VERIFIER].ck.dir);
}

weir_status weir_tokenize(const weir_engine *e, const char *text, size_t bytes, bool add_special,
                          bool parse_special, int32_t **ids, size_t *n_ids, weir_err *err) {
    WEIR_TRY(need_tokenizer(e, err));
    const weir_engine_facts *f = &e->pair.facts;
    const int32_t end =
        weir__tokenizer_end(e->pair.tok); /* transformers goes by it, not by the configuration */
    weir__ids all = {0};
    weir_status st = add_special && f->add_bos ? weir__ids_push(&all, f->bos_id, err) : WEIR_OK;
    if (st == WEIR_OK) st = weir__tokenizer_append(e->pair.tok, text, bytes, parse_special, true, &all, err);
    if (st == WEIR_OK && add_special && e->pair.side[WEIR_VERIFIER].family->ends_prompts && f->n_eos > 0)
        st = weir__ids_push(&all, end >= 0 ? end : f->eos[0], err);
    return weir__ids_take(&all, st, ids, n_ids, err);
}

void weir_ids_free(int32_t *ids) { weir_free(ids); }

weir_status weir_detokenize(const weir_engine *e, const int32_t *ids, size_t n_ids, char **text,
                            size_t *bytes, weir_err *err) {
    WEIR_TRY(need_tokenizer(e, err));
    for (size_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || ids[i] >= e->pair.n_vocab)
            return weir_fail(err, WEIR_EINVAL, "token %zu is %d; ids are in [0, %d)", i, (int)ids[i],
                             (int)e->pair.n_vocab);
    return weir__tokenizer_decode(e->pair.tok, ids, n_ids, text, bytes, err);
}

weir_status weir_token_bytes(const weir_engine *e, int32_t id, char **bytes, size_t *n, weir_err *err) {
    WEIR_TRY(need_tokenizer(e, err));
    if (id < 0 || id >= e->pair.n_vocab)
        return weir_fail(err, WEIR_EINVAL, "token %d; ids are in [0, %d)", (int)id, (int)e->pair.n_vocab);
    return weir__tokenizer_bytes(e->pair.tok, id, bytes, n, err);
}

void weir_text_free(char *text) { weir_free(text); }

const char *weir_token_piece(const weir_engine *e, int32_t id) {
    return e->pair.tok ? weir__tokenizer_piece(e->pair.tok, id) : NULL;
}
