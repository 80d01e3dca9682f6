#include "host/tokenizers/spm/spm_bpe.h"

#include <string.h>

#include "host/tokenizers/pipeline/encode.h"
#include "host/tokenizers/spm/wire.h"
#include "host/tokenizers/text/bytes.h"

/* What a model's specifications say (sentencepiece_model.proto); before they are read, the defaults. */
typedef struct facts {
    bool bpe, byte_fallback, suffix;           /* trainer_spec */
    bool charsmap, prefix, collapses, escapes; /* normalizer_spec */
} facts;

static bool read_trainer(weir__wire s, facts *out) {
    enum { MODEL_TYPE = 3, SUFFIX = 24, BYTE_FALLBACK = 35, BPE = 2 };
    weir__wire_field f;
    while (s.at < s.end) {
        if (!weir__wire_next(&s, &f)) return false;
        if (f.number == MODEL_TYPE && f.type == 0) out->bpe = f.varint == BPE;
        if (f.number == SUFFIX && f.type == 0) out->suffix = f.varint != 0;
        if (f.number == BYTE_FALLBACK && f.type == 0) out->byte_fallback = f.varint != 0;
    }
    return true;
}

static bool read_normalizer(weir__wire s, facts *out) {
    enum { CHARSMAP = 2, PREFIX = 3, COLLAPSES = 4, ESCAPES = 5 };
    weir__wire_field f;
    while (s.at < s.end) {
        if (!weir__wire_next(&s, &f)) return false;
        if (f.number == CHARSMAP && f.type == 2) out->charsmap = f.bytes.at < f.bytes.end;
        if (f.number == PREFIX && f.type == 0) out->prefix = f.varint != 0;
        if (f.number == COLLAPSES && f.type == 0) out->collapses = f.varint != 0;
        if (f.number == ESCAPES && f.type == 0) out->escapes = f.varint != 0;
    }
    return true;
}

static bool read_facts(weir__wire s, facts *out) {
    enum { TRAINER = 2, NORMALIZER = 3 };
    weir__wire_field f;
    *out = (facts){.prefix = true, .collapses = true, .escapes = true};
    while (s.at < s.end) {
        if (!weir__wire_next(&s, &f)) return false;
        if (f.number == TRAINER && f.type == 2 && !read_trainer(f.bytes, out)) return false;
        if (f.number == NORMALIZER && f.type == 2 && !read_normalizer(f.bytes, out)) return false;
    }
    return out->bpe && out->byte_fallback && !out->suffix && !out->charsmap && !out->collapses &&
           out->escapes;
}

/* ---- pieces -------------------------------------------------------------------------------------------- */

typedef struct piece {
    const char *text;
    size_t n;
    float score;
    uint64_t kind; /* the numbers of weir__token_kind */
} piece;

static bool read_piece(weir__wire s, piece *out) {
    enum { TEXT = 1, SCORE = 2, KIND = 3 };
    weir__wire_field f;
    *out = (piece){.text = "", .kind = WEIR__TOKEN_NORMAL};
    while (s.at < s.end) {
        if (!weir__wire_next(&s, &f)) return false;
        if (f.number == TEXT && f.type == 2) {
            out->text = (const char *)f.bytes.at;
            out->n = (size_t)(f.bytes.end - f.bytes.at);
        }
        if (f.number == SCORE && f.type == 5) memcpy(&out->score, &f.fixed32, 4);
        if (f.number == KIND && f.type == 0) out->kind = f.varint;
    }
    return out->n > 0 && out->kind != WEIR__TOKEN_UNUSED && out->kind >= WEIR__TOKEN_NORMAL &&
           out->kind <= WEIR__TOKEN_BYTE;
}

/* Only ordinary pieces come of merging. *fits: the piece is one that a pipeline can have. */
static weir_status add_piece(weir__pipeline *p, const piece *x, int32_t *byte, bool *fits, weir_err *err) {
    const int32_t id = p->vocab.n;
    const bool plain = x->kind == WEIR__TOKEN_NORMAL;
    const int b = x->kind == WEIR__TOKEN_BYTE ? weir__byte_token(x->text, x->n) : -1;
    *fits = !plain || weir__vocab_find(&p->vocab, x->text, x->n) < 0;
    if (!*fits) return WEIR_OK;
    if (b >= 0) byte[b] = id;
    if (x->kind == WEIR__TOKEN_UNKNOWN) p->unk_id = id;
    if (x->kind == WEIR__TOKEN_USER) {
        *fits = weir__vocab_find(&p->after.texts, x->text, x->n) < 0;
        if (*fits) WEIR_TRY(weir__added_put(&p->after, x->text, x->n, id, 0, err));
    }
    return (plain ? weir__vocab_add : weir__vocab_add_apart)(&p->vocab, x->text, x->n,
                                                             (weir__token_kind)x->kind, x->score, err);
}

static weir_status add_pieces(weir__pipeline *p, weir__wire s, int32_t *byte, bool *fits, weir_err *err) {
    weir__wire_field f;
    piece x;
    for (*fits = true; s.at < s.end && *fits;) {
        *fits = weir__wire_next(&s, &f);
        if (!*fits || f.number != 1 || f.type != 2) continue;
        *fits = read_piece(f.bytes, &x);
        if (*fits) WEIR_TRY(add_piece(p, &x, byte, fits, err));
    }
    for (int b = 0; b < 256; b++) *fits &= byte[b] >= 0;
    return WEIR_OK;
}

static weir_status build(weir__pipeline *p, weir__wire s, bool prefix, bool *fits, weir_err *err) {
    int32_t byte[256];
    for (int b = 0; b < 256; b++) byte[b] = -1;
    p->by_score = p->byte_fallback = p->fuse_unk = true;
    WEIR_TRY(add_pieces(p, s, byte, fits, err));
    if (!*fits) return WEIR_OK;
    if (prefix) WEIR_TRY(weir__step_add(&p->norm, WEIR__STEP_PREPEND, "", " ", err));
    WEIR_TRY(weir__step_add(&p->norm, WEIR__STEP_REPLACE, " ", "\xe2\x96\x81", err));
    WEIR_TRY(weir__pipeline_finish(p, err));
    memcpy(p->unit, byte, sizeof byte);
    return WEIR_OK;
}

weir_status weir__spm_bpe_open(weir__pipeline **out, const void *model, size_t bytes, weir_err *err) {
    const weir__wire all = {model, (const uint8_t *)model + bytes};
    facts f;
    bool fits = true;
    *out = NULL;
    if (!read_facts(all, &f)) return WEIR_OK;
    weir__pipeline *p = weir__pipeline_new(err);
    if (!p) return WEIR_ENOMEM;
    const weir_status s = build(p, all, f.prefix, &fits, err);
    if (s == WEIR_OK && fits)
        *out = p;
    else
        weir__pipeline_free(p);
    return s;
}
