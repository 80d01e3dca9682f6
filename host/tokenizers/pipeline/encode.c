#include "host/tokenizers/pipeline/encode.h"

#include "host/tokenizers/pipeline/bpe.h"
#include "kernels/base/mem.h"

weir_status weir__pipeline_finish(weir__pipeline *p, weir_err *err) {
    WEIR_TRY(weir__bpe_finish(p, err));
    WEIR_TRY(weir__added_finish(&p->before, err));
    return weir__added_finish(&p->after, err);
}

/* ---- ids ----------------------------------------------------------------------------------------------- */

static int32_t pipeline_size(const void *impl) { return ((const weir__pipeline *)impl)->vocab.n; }

static const char *pipeline_piece(const void *impl, int32_t id) {
    return weir__vocab_text(&((const weir__pipeline *)impl)->vocab, id);
}

static weir_piece_kind pipeline_kind(const void *impl, int32_t id) {
    const weir__token_kind k = ((const weir__pipeline *)impl)->vocab.kind[id];
    return k == WEIR__TOKEN_CONTROL || k == WEIR__TOKEN_UNKNOWN ? WEIR_PIECE_CONTROL : WEIR_PIECE_TEXT;
}

/* ---- Unigram ------------------------------------------------------------------------------------------ */

/* A run of unknown characters: a token that spells the whole run, its bytes, or one unknown token. */
static weir_status emit_unknown(weir__encoder *e, const char *s, size_t n, weir_err *err) {
    const weir__pipeline *p = e->p;
    const int32_t id = weir__vocab_find(&p->vocab, s, n);
    bool bytes = p->byte_fallback && id < 0;
    for (size_t i = 0; i < n && bytes; i++) bytes = p->unit[(uint8_t)s[i]] >= 0;
    if (!bytes) return weir__encoder_emit(e, id >= 0 ? id : p->unk_id, err);
    for (size_t i = 0; i < n; i++) WEIR_TRY(weir__encoder_emit(e, p->unit[(uint8_t)s[i]], err));
    return WEIR_OK;
}

static weir_status unigram_word(weir__encoder *e, const char *word, size_t n, weir_err *err) {
    weir__lattice_node *nodes;
    WEIR_TRY(weir__unigram_search(e->p->unigram, &e->lattice, word, n, err));
    nodes = e->lattice.nodes;
    size_t ahead = n;
    for (size_t at = n;
         at > 0;) { /* turns the way back into a way there: from of a node is then where its successor ends */
        const size_t from = nodes[at].from;
        nodes[at].from = (uint32_t)ahead;
        ahead = at;
        at = from;
    }
    for (size_t begin = 0, end = ahead; begin < n;) {
        if (nodes[end].id != e->p->unk_id) {
            WEIR_TRY(weir__encoder_emit(e, nodes[end].id, err));
        } else {
            while (end < n && nodes[nodes[end].from].id == e->p->unk_id) end = nodes[end].from;
            WEIR_TRY(emit_unknown(e, word + begin, end - begin, err));
        }
        begin = end;
        end = nodes[end].from;
    }
    return WEIR_OK;
}

/* ---- encode ------------------------------------------------------------------------------------------- */

static weir_status encode_word(weir__encoder *e, const char *word, size_t n, weir_err *err) {
    if (n == 0) return WEIR_OK;
    return e->p->unigram ? unigram_word(e, word, n, err) : weir__bpe_word(e, word, n, err);
}

/* A word that is changed and cut once more. */
static weir_status encode_each(weir__encoder *e, const char *word, size_t n, bool first, weir_err *err) {
    weir__marked t;
    weir_status s = weir__marked_copy(&t, word, n, NULL, 0, err);
    if (s == WEIR_OK) s = weir__steps_run(&e->p->each, first, &t, err);
    if (s == WEIR_OK) s = weir__pretok_split(e->p->each_pretok, t.text, t.bytes, &e->again, err);
    for (size_t i = 0; s == WEIR_OK && i < e->again.n; i++) {
        const weir__word w = e->again.list[i];
        s = encode_word(e, t.text + w.begin, w.end - w.begin, err);
    }
    weir__marked_free(&t);
    return s;
}

static weir_status encode_words(weir__encoder *e, const char *text, size_t n, bool first, weir_err *err) {
    if (!e->p->pretok) return encode_word(e, text, n, err);
    WEIR_TRY(weir__pretok_split(e->p->pretok, text, n, &e->words, err));
    for (size_t i = 0; i < e->words.n; i++) {
        const weir__word w = e->words.list[i];
        if (e->p->each_pretok)
            WEIR_TRY(encode_each(e, text + w.begin, w.end - w.begin, first && w.begin == 0, err));
        else
            WEIR_TRY(encode_word(e, text + w.begin, w.end - w.begin, err));
    }
    return WEIR_OK;
}

/* A stretch [from, to) of a text between added tokens; first: nothing precedes it. */
typedef weir_status section_fn(weir__encoder *e, const char *text, size_t from, size_t to, bool first,
                               weir_err *err);

static weir_status encode_section(weir__encoder *e, const char *text, size_t from, size_t to, bool first,
                                  weir_err *err) {
    weir__marked t;
    if (from == to) return WEIR_OK;
    weir_status s = weir__marked_copy(&t, text + from, to - from, NULL, 0, err);
    if (s == WEIR_OK) s = weir__steps_run(&e->p->prep, first, &t, err);
    if (s == WEIR_OK) s = encode_words(e, t.text, t.bytes, first, err);
    weir__marked_free(&t);
    return s;
}

/* Hands the text between added tokens to `section`, and the tokens out. */
static weir_status between_added(weir__encoder *e, const weir__added *a, const char *text, size_t n,
                                 const weir__ranges *special, bool first, section_fn *section,
                                 weir_err *err) {
    weir__scan at = {0};
    bool any = false;
    while (weir__added_next(a, text, n, special, &at)) {
        if (at.taken < at.begin) WEIR_TRY(section(e, text, at.taken, at.begin, first && !any, err));
        WEIR_TRY(weir__encoder_emit(e, at.id, err));
        any = true;
    }
    return section(e, text, at.taken, n, first && !any, err);
}

static weir_status normalise_section(weir__encoder *e, const char *text, size_t from, size_t to, bool first,
                                     weir_err *err) {
    const weir__ranges *special = e->p->after.has_special ? e->special : NULL;
    weir__marked t;
    if (from == to) return WEIR_OK;
    weir_status s = weir__marked_copy(&t, text + from, to - from, special, from, err);
    if (s == WEIR_OK) s = weir__steps_run(&e->p->norm, first, &t, err);
    if (s == WEIR_OK)
        s = between_added(e, &e->p->after, t.text, t.bytes, &t.special, first, encode_section, err);
    weir__marked_free(&t);
    return s;
}

static weir_status encode_whole(weir__encoder *e, weir__marked *t, bool first, weir_err *err) {
    if (e->p->repair) WEIR_TRY(weir__marked_repair(t, err));
    e->special = &t->special;
    return between_added(e, &e->p->before, t->text, t->bytes, &t->special, first, normalise_section, err);
}

static weir_status pipeline_encode(const void *impl, const char *text, size_t bytes,
                                   const weir__ranges *special, bool first, weir__ids *out, weir_err *err) {
    weir__encoder e = {.p = impl, .ids = out};
    weir__marked t;
    /* Positions in a text have 32 bits, and a normaliser may turn one byte into three. */
    if (bytes > INT32_MAX / 8)
        return weir_fail(err, WEIR_EINVAL, "text of %zu bytes, expected at most %d", bytes, INT32_MAX / 8);
    weir_status s = weir__marked_copy(&t, text, bytes, special, 0, err);
    if (s == WEIR_OK) s = encode_whole(&e, &t, first, err);
    weir__marked_free(&t);
    weir__merger_free(&e.merger);
    weir__words_free(&e.words);
    weir__words_free(&e.again);
    weir__lattice_free(&e.lattice);
    return s;
}

/* ---- decode -------------------------------------------------------------------------------------------- */

static weir_status pipeline_decode(const void *impl, const int32_t *ids, size_t n, bool first, char **text,
                                   size_t *bytes, weir_err *err) {
    const weir__pipeline *p = impl;
    return weir__decode(&p->decoder, &p->vocab, ids, n, first, text, bytes, err);
}

static weir_status pipeline_bytes(const void *impl, int32_t id, char **bytes, size_t *n, weir_err *err) {
    const weir__pipeline *p = impl;
    return weir__decode_bytes(&p->decoder, &p->vocab, id, bytes, n, err);
}

static bool pipeline_is_open(const void *impl, int32_t id) {
    const weir__pipeline *p = impl;
    return weir__decode_is_open(&p->decoder, &p->vocab, id);
}

static int32_t pipeline_end(const void *impl) { return ((const weir__pipeline *)impl)->end; }

const weir_tokenizer_ops weir__pipeline_ops = {weir__pipeline_free, pipeline_size,    pipeline_piece,
                                               pipeline_kind,       pipeline_encode,  pipeline_decode,
                                               pipeline_bytes,      pipeline_is_open, pipeline_end};
