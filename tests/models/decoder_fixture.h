#ifndef WEIR_TESTS_MODELS_DECODER_FIXTURE_H
#define WEIR_TESTS_MODELS_DECODER_FIXTURE_H

#include "host/deck/kv.h"
#include "host/formats/safetensors/safetensors.h"
#include "models/model.h"
#include "tests/models/calls.h"

/* A decoder of tests/golden/decoder with caches for a few slots. Failures to open fail the test. */
enum { FIX_SLOT = 5, FIX_ROW = 140, FIX_PROMPT = 140, FIX_LEN = 200, MAX_VOCAB = 67 };

/* A golden model: its directory, and its config as make_decoder.py wrote it. */
typedef struct golden_model {
    const char *name;
    weir_decoder_config c;
    bool bf16;
} golden_model;

const golden_model *golden_models(void); /* NULL name at the end */
const golden_model *golden_find(const char *name);

typedef struct fixture {
    const golden_model *g;
    weir_safetensors *tensors;
    weir_backend *be;
    weir_model *m;
    weir_kv_pool *self;
    int32_t *dev_rows; /* backend (4, FIX_ROW) token, pos, slot, out */
    float *dev_logits; /* backend (FIX_ROW, n_vocab) */
    weir_kv kv;
    int32_t n_vocab;
    int32_t group; /* what calls say of their rows; 0 at first */
} fixture;

typedef float matrix[FIX_ROW * MAX_VOCAB];

/* On a backend that is already open; fixture_close closes it. */
void fixture_open_on(fixture *f, const golden_model *g, weir_backend *be);
void fixture_open(fixture *f, const golden_model *g, weir_isa isa, int n_thread);
void fixture_close(fixture *f);

/* The tensors of a directory as a model asks for them; 1-D tensors come as (1, n). */
weir_tensor_source fixture_source(weir_safetensors *s);

/* Positions [0, n) of a slot by prefill. */
void fixture_prefill(fixture *f, int32_t slot, const int32_t *token, int64_t n);

/* Grows the caches to hold the rows, then one forward call; out NULL = all rows. logits (n_out, n_vocab). */
weir_status fixture_forward(fixture *f, const row *r, int32_t n, const int32_t *out, int32_t n_out,
                            float *logits);

/* Rows of positions [first, first + n) of a slot that is fed token. */
void rows_of(row *r, int32_t slot, int32_t first, int32_t n, const int32_t *token);

/* Logits of positions [first, first + n), `step` rows a call. */
void fixture_run(fixture *f, int32_t slot, const int32_t *token, int32_t first, int32_t n, int32_t step,
                 float *logits);

typedef struct golden_case {
    int32_t n, token[FIX_PROMPT];
    float logprobs[FIX_PROMPT], bf16_bound, last_logits[MAX_VOCAB]; /* logprobs (n - 1) */
} golden_case;

typedef struct golden {
    int32_t n_case, n_vocab;
    golden_case c[4];
} golden;

golden *golden_read(const golden_model *g); /* free() it */

#endif
