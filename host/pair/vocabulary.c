#include "host/pair/vocabulary.h"

#include <string.h>

#include "host/formats/json/json_file.h"
#include "kernels/base/mem.h"

/* Without the control tokens that open_tokenizer allows past a decoder's rows. */
static int32_t piece_count(const weir_checkpoint *ck, const weir_tokenizer *tok) {
    const int32_t n = weir__tokenizer_size(tok) - ck->extra_ids, rows = weir__checkpoint_rows(ck);
    return ck->kind != WEIR_FAMILY_T5 && n > rows ? rows : n;
}

static weir_status open_gpt2(const weir_checkpoint *ck, weir_tokenizer **out, weir_err *err) {
    char *vocab;
    WEIR_TRY(weir__path_join(&vocab, ck->dir, "vocab.json", err));
    const weir_status st = weir__tokenizer_open_gpt2(out, vocab, ck->tokenizer_path, err);
    weir_free(vocab);
    return st;
}

/* The reader knows only metadata: its message gets the name of the file. */
static weir_status open_gguf(const weir_checkpoint *ck, weir_tokenizer **out, weir_err *err) {
    weir_err why = {""};
    const weir_status st = weir__tokenizer_open_gguf(out, ck->gguf, &why);
    return st == WEIR_OK ? st : weir_fail(err, st, "%.200s: %s", ck->dir, why.text);
}

static weir_status read_tokenizer(const weir_checkpoint *ck, weir_tokenizer **out, weir_err *err) {
    switch (ck->tokenizer) {
    case WEIR_TOKENIZER_SPM:
        return ck->kind == WEIR_FAMILY_T5
                   ? weir__tokenizer_open_spm(out, ck->tokenizer_path, ck->extra_ids, err)
                   : weir__tokenizer_open_spm_plain(out, ck->tokenizer_path, err);
    case WEIR_TOKENIZER_JSON: return weir__tokenizer_open_json(out, ck->tokenizer_path, err);
    case WEIR_TOKENIZER_GPT2: return open_gpt2(ck, out, err);
    case WEIR_TOKENIZER_GGUF: return open_gguf(ck, out, err);
    default: return WEIR_OK;
    }
}

/* Control tokens for which a decoder has no rows. Text never becomes one. Gemma 3's text models share the
 * tokenizer.json of those with images, where "<image_soft_token>" is the first id past their rows. */
static bool rest_is_control(const weir_tokenizer *tok, int32_t from) {
    for (int32_t i = from; i < weir__tokenizer_size(tok); i++)
        if (!weir__tokenizer_is_control(tok, i)) return false;
    return true;
}

/* Sentinels in tokenizer_config.json need rows. In a directory without that file the assumed 100 may be past
 * the rows; then they are not tokens. */
static int32_t needed_rows(const weir_checkpoint *ck, const weir_tokenizer *tok) {
    return weir__tokenizer_size(tok) - (ck->extra_ids_assumed ? ck->extra_ids : 0);
}

static weir_status open_tokenizer(const weir_checkpoint *ck, weir_tokenizer **out, weir_err *err) {
    *out = NULL;
    WEIR_TRY(read_tokenizer(ck, out, err));
    if (!*out) return WEIR_OK;
    const int32_t n = needed_rows(ck, *out), rows = weir__checkpoint_rows(ck);
    if (n <= rows) return WEIR_OK;
    if (ck->kind != WEIR_FAMILY_T5 && rest_is_control(*out, rows)) return WEIR_OK;
    weir__tokenizer_free(*out);
    *out = NULL;
    return weir_fail(err, WEIR_EFORMAT, "%s: the tokenizer has %d pieces, the model's vocabulary %d rows",
                     ck->dir, (int)n, (int)rows);
}

/* Vocabularies of decoders are padded to a round number of rows, and some files name the padding. */
static bool is_padding(const weir_tokenizer *tok, int32_t id) {
    const char *piece = weir__tokenizer_piece(tok, id);
    return weir__tokenizer_is_control(tok, id) || strncmp(piece, "[PAD", 4) == 0 ||
           strncmp(piece, "<unused", 7) == 0;
}

static bool rest_is_padding(const weir_tokenizer *tok, int32_t from, int32_t n) {
    for (int32_t i = from; i < n; i++)
        if (!is_padding(tok, i)) return false;
    return true;
}

/* Sentinels are not compared: their number depends on a checkpoint's configuration. */
static weir_status same_pieces(const weir_checkpoint *v, const weir_tokenizer *tv, const weir_checkpoint *d,
                               const weir_tokenizer *td, weir_err *err) {
    const int32_t nv = piece_count(v, tv), nd = piece_count(d, td);
    const int32_t n = nv < nd ? nv : nd;
    for (int32_t i = 0; i < n; i++) {
        const char *pv = weir__tokenizer_piece(tv, i), *pd = weir__tokenizer_piece(td, i);
        if (strcmp(pv, pd) != 0)
            return weir_fail(
                err, WEIR_EMISMATCH,
                "the vocabularies differ first at token %d: \"%.60s\" (verifier), \"%.60s\" (drafter)",
                (int)i, pv, pd);
    }
    const bool padded = v->kind != WEIR_FAMILY_T5 && rest_is_padding(nv > nd ? tv : td, n, nv > nd ? nv : nd);
    if (nv != nd && !padded)
        return weir_fail(err, WEIR_EMISMATCH,
                         "the vocabularies differ first at token %d: the verifier has %d pieces, "
                         "the drafter %d",
                         (int)n, (int)nv, (int)nd);
    return WEIR_OK;
}

static weir_status same_kind(const weir_checkpoint *v, const weir_checkpoint *d, weir_err *err) {
    if (v->kind == d->kind) return WEIR_OK;
    const char *const names[] = {[WEIR_FAMILY_T5] = "an encoder-decoder",
                                 [WEIR_FAMILY_DECODER] = "decoder-only",
                                 [WEIR_FAMILY_T5GEMMA] = "an encoder-decoder of another kind than T5"};
    return weir_fail(err, WEIR_EMISMATCH,
                     "the verifier is %s, %s, the drafter %s, %s: a pair needs two of a kind", names[v->kind],
                     v->family, names[d->kind], d->family);
}

/* One token starts the outputs of both. A T5's end is part of its vocabulary; others end where the verifier
 * ends: base and tuned models of one vocabulary differ there. */
static weir_status same_ids(const weir_checkpoint *v, const weir_checkpoint *d, weir_err *err) {
    if (v->start_id != d->start_id)
        return weir_fail(err, WEIR_EMISMATCH,
                         "decoder_start_token_id is %d in the verifier, %d in the drafter", (int)v->start_id,
                         (int)d->start_id);
    if (v->kind != WEIR_FAMILY_T5) return WEIR_OK;
    if (v->n_eos != d->n_eos || memcmp(v->eos, d->eos, (size_t)v->n_eos * sizeof v->eos[0]) != 0)
        return weir_fail(err, WEIR_EMISMATCH, "eos_token_id is %d in the verifier, %d in the drafter",
                         v->n_eos > 0 ? (int)v->eos[0] : -1, d->n_eos > 0 ? (int)d->eos[0] : -1);
    return WEIR_OK;
}

/* What a side can emit: the smaller of its rows and its tokens. */
static int32_t emittable(const weir_checkpoint *ck, const weir_tokenizer *tok) {
    const int32_t rows = weir__checkpoint_rows(ck);
    return tok && weir__tokenizer_size(tok) < rows ? weir__tokenizer_size(tok) : rows;
}

/* The token of one name in both, or the verifier's first end of text; -1: it has none. */
static int32_t end_in(const weir_checkpoint *v, const weir_tokenizer *tv, const weir_tokenizer *td,
                      int32_t end) {
    const char *name = weir__tokenizer_piece(td, end);
    const int32_t id = name ? weir__tokenizer_find(tv, name, strlen(name)) : -1;
    if (id >= 0 && weir__tokenizer_is_control(tv, id)) return id;
    return v->n_eos > 0 ? v->eos[0] : -1;
}

/* Decoders whose vocabularies differ exchange texts. */
static void part(const weir_checkpoint *v, const weir_checkpoint *d, weir_tokenizer *td,
                 weir_vocabulary *out) {
    _Static_assert(sizeof out->end_of / sizeof *out->end_of == sizeof d->eos / sizeof *d->eos, "one each");
    out->tok_draft = td;
    out->n_vocab = emittable(v, out->tok);
    out->n_vocab_draft = emittable(d, td);
    for (int i = 0; i < d->n_eos; i++) out->end_of[i] = end_in(v, out->tok, td, d->eos[i]);
}

/* tv, td: the tokenizers that were found. Fills in all of *out but tok. */
static weir_status fit(const weir_checkpoint *v, const weir_checkpoint *d, const weir_tokenizer *tv,
                       weir_tokenizer *td, weir_vocabulary *out, weir_err *err) {
    const bool decoders = v->kind == WEIR_FAMILY_DECODER;
    WEIR_TRY(same_kind(v, d, err));
    WEIR_TRY(same_ids(v, d, err)); /* of decoders -1 */
    if (tv && td) {
        const weir_status st = same_pieces(v, tv, d, td, decoders ? &out->apart : err);
        if (st != WEIR_OK && decoders) {
            part(v, d, td, out);
            return WEIR_OK;
        }
        WEIR_TRY(st);
    } else if (!tv && !td && weir__checkpoint_rows(v) != weir__checkpoint_rows(d)) {
        return weir_fail(err, WEIR_EMISMATCH,
                         "vocab_size is %d in the verifier, %d in the drafter, and neither has a "
                         "tokenizer that would tell padding from tokens",
                         (int)weir__checkpoint_rows(v), (int)weir__checkpoint_rows(d));
    }
    /* the ids known to the text and both models */
    const weir_tokenizer *tok = tv ? tv : td;
    const int32_t nv = emittable(v, tv ? tv : td), nd = emittable(d, td ? td : tv);
    out->n_vocab = nv < nd ? nv : nd;
    int32_t pieces = tok ? piece_count(tv ? v : d, tok) : 0;
    /* the rest is padding */
    if (tv && td && piece_count(d, td) < pieces) pieces = piece_count(d, td);
    if (out->n_vocab < pieces)
        return weir_fail(err, WEIR_EMISMATCH,
                         "the tokenizer has %d pieces; the verifier has %d rows, the drafter %d", (int)pieces,
                         (int)weir__checkpoint_rows(v), (int)weir__checkpoint_rows(d));
    return WEIR_OK;
}

weir_status weir__vocabulary_open(const weir_checkpoint *verifier, const weir_checkpoint *draft,
                                  weir_vocabulary *out, weir_err *err) {
    weir_tokenizer *tv = NULL, *td = NULL;
    weir_vocabulary both = {0};
    weir_status st = open_tokenizer(verifier, &tv, err);
    if (st == WEIR_OK && draft) st = open_tokenizer(draft, &td, err);
    both.tok = tv ? tv : td;
    both.n_vocab = emittable(verifier, tv);
    if (st == WEIR_OK && draft) st = fit(verifier, draft, tv, td, &both, err);
    if (td && td != both.tok && td != both.tok_draft) weir__tokenizer_free(td);
    if (st != WEIR_OK) {
        weir__vocabulary_close(&both);
        return st;
    }
    *out = both;
    return WEIR_OK;
}

void weir__vocabulary_close(weir_vocabulary *v) {
    weir__tokenizer_free(v->tok);
    weir__tokenizer_free(v->tok_draft);
}
