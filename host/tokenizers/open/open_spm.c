/* A tokenizer from a SentencePiece .model file. */
#include "host/formats/json/json_file.h"
#include "host/tokenizers/spm/slow.h"
#include "host/tokenizers/spm/spm_bpe.h"
#include "host/tokenizers/tokenizer.h"
#include "kernels/base/mem.h"

static const size_t MAX_MODEL = 256u << 20;
enum { MAX_EXTRA = 1 << 20 };

weir_status weir__slow_tokenizer(weir_tokenizer **out, const void *model, size_t bytes, const char *label,
                                 const weir__tokens *tokens, int32_t extra_ids, bool strips, weir_err *err) {
    weir__spm *spm = NULL;
    weir__slow *slow = NULL;
    weir__pipeline *bpe = NULL;
    weir_err why = {""};
    label = weir__label(label);
    if (extra_ids < 0 || extra_ids > MAX_EXTRA)
        return weir_fail(err, WEIR_EINVAL, "%s: extra_ids = %d, expected 0 to %d", label, extra_ids,
                         MAX_EXTRA);
    WEIR_TRY(weir__spm_open(&spm, model, bytes, label, err));
    weir_status s = weir__spm_bpe_open(&bpe, model, bytes, &why);
    if (s == WEIR_OK)
        s = weir__slow_open(&slow, spm, bpe, tokens, extra_ids, strips, &why);
    else
        weir__spm_free(spm);
    if (s != WEIR_OK) return weir_fail(err, s, "%s: %s", label, why.text);
    return weir__tokenizer_new(out, &weir__slow_ops, slow, err);
}

weir_status weir__tokenizer_open_spm_bytes(weir_tokenizer **out, const void *model, size_t bytes,
                                           const char *label, int32_t extra_ids, weir_err *err) {
    static const weir__tokens none;
    return weir__slow_tokenizer(out, model, bytes, label, &none, extra_ids, true, err);
}

static weir_status open_spm_file(weir_tokenizer **out, const char *path, int32_t extra_ids, bool strips,
                                 weir_err *err) {
    char *model;
    size_t bytes;
    weir__tokens tokens = {0};
    WEIR_TRY(weir__file_read(path, MAX_MODEL, &model, &bytes, err));
    weir_status s = weir__tokens_read(&tokens, path, strips ? "T5Tokenizer" : "LlamaTokenizer", err);
    if (s == WEIR_OK) s = weir__slow_tokenizer(out, model, bytes, path, &tokens, extra_ids, strips, err);
    weir__tokens_free(&tokens);
    weir_free(model);
    return s;
}

weir_status weir__tokenizer_open_spm(weir_tokenizer **out, const char *path, int32_t extra_ids,
                                     weir_err *err) {
    return open_spm_file(out, path, extra_ids, true, err);
}

weir_status weir__tokenizer_open_spm_plain(weir_tokenizer **out, const char *path, weir_err *err) {
    return open_spm_file(out, path, 0, false, err);
}
