#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/tokenizers/tokenizer.h"
#include "kernels/base/mem.h"
#include "tests/fuzz/target.h"
#include "tests/fuzz/tokens.h"

enum { N_SPM = 4, N_MODEL = 10 };
static weir_tokenizer *models[N_MODEL];

static void free_models(void) {
    for (int i = 0; i < N_MODEL; i++) weir__tokenizer_free(models[i]);
}

static void open_models(void) {
    static const char *const paths[N_SPM] = {WEIR_SOURCE_DIR "/models/demo/verifier/spiece.model",
                                             WEIR_SOURCE_DIR "/tests/golden/tokenizer/tiny_unigram.model",
                                             WEIR_SOURCE_DIR "/tests/golden/tokenizer/tiny_bpe.model",
                                             WEIR_SOURCE_DIR "/tests/golden/added/t5/spiece.model"};
    static const char *const json[N_MODEL - N_SPM] = {
        WEIR_SOURCE_DIR "/tests/golden/tokenizer/tiny_qwen2.json",
        WEIR_SOURCE_DIR "/tests/golden/tokenizer/tiny_llama3.json",
        WEIR_SOURCE_DIR "/tests/golden/tokenizer/tiny_gemma.json",
        WEIR_SOURCE_DIR "/tests/golden/added/flags/tokenizer.json",
        WEIR_SOURCE_DIR "/tests/golden/added/unigram/tokenizer.json",
        WEIR_SOURCE_DIR "/tests/golden/added/unigram_words/tokenizer.json"};
    if (models[0]) return;
    for (int i = 0; i < N_MODEL - N_SPM; i++)
        FUZZ_CHECK(weir__tokenizer_open_json(&models[N_SPM + i], json[i], NULL) == WEIR_OK);
    for (int i = 0; i < N_SPM; i++)
        FUZZ_CHECK(weir__tokenizer_open_spm(&models[i], paths[i], 100, NULL) == WEIR_OK);
    atexit(free_models);
}

/* The bytes as text, and as ids, of which those outside the vocabulary must be named. */
FUZZ_TARGET(text) {
    open_models();
    int32_t ids[64];
    size_t n_ids = n / 4 < 64 ? n / 4 : 64;
    memcpy(ids, data, n_ids * 4);
    for (int i = 0; i < N_MODEL; i++) {
        const weir_tokenizer *t = models[i];
        fuzz_round_trip(t, (const char *)data, n);
        bool inside = true;
        char *text = NULL;
        size_t bytes;
        for (size_t k = 0; k < n_ids; k++) inside &= ids[k] >= 0 && ids[k] < weir__tokenizer_size(t);
        weir_status s = weir__tokenizer_decode(t, ids, n_ids, &text, &bytes, NULL);
        FUZZ_CHECK(s == (inside ? WEIR_OK : WEIR_EINVAL));
        weir_free(text);
    }
    return 0;
}
