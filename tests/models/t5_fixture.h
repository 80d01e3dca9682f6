#ifndef WEIR_TESTS_MODELS_T5_FIXTURE_H
#define WEIR_TESTS_MODELS_T5_FIXTURE_H

#include "host/formats/checkpoint.h"
#include "host/deck/kv.h"
#include "tests/models/calls.h"

/* A T5 or T5Gemma of tests/golden/t5 (or any checkpoint directory) with caches for a few slots. Failures to
 * open fail the test. */
enum { FIX_SLOT = 7, FIX_ROW = 80, FIX_PROMPT = 200, FIX_LEN = 300 };

typedef struct fixture {
    weir_checkpoint ck;
    weir_backend *be;
    weir_model *m;
    weir_kv_pool *self, *cross;
    int32_t cross_len[FIX_SLOT], *dev_cross_len; /* host; the backend's */
    int32_t *dev_rows;                           /* backend (4, FIX_ROW) token, pos, slot, out */
    float *dev_logits;                           /* backend (FIX_ROW, n_vocab) */
    weir_kv kv;
    int32_t n_vocab; /* rows of the head */
    int32_t group;   /* what calls say of their rows; 0 at first */
} fixture;

extern const char *const golden_names[]; /* directories under tests/golden/t5, NULL-ended */

void t5_open(fixture *f, const char *dir, weir_isa isa, int n_thread);
/* The same on a backend that is already open; t5_close closes it. */
void t5_open_on(fixture *f, const char *dir, weir_backend *be);
void t5_open_golden(fixture *f, const char *name, weir_isa isa, int n_thread);
void t5_open_golden_on(fixture *f, const char *name, weir_backend *be);
void t5_close(fixture *f);

/* Runs the encoder for a prompt in a slot; self length stays as it is. */
void t5_prefill(fixture *f, int32_t slot, const int32_t *prompt, int64_t n);

/* Grows the self caches to hold the rows, then one forward call; out NULL = all rows. logits (n_out,
 * n_vocab). */
weir_status t5_forward(fixture *f, const row *r, int32_t n, const int32_t *out, int32_t n_out, float *logits);

/* Rows 0 ... n - 1 of a slot that is fed the start id 0 and then the tokens. */
void t5_rows_of(row *r, int32_t slot, int32_t first, int32_t n, const int32_t *token);

typedef struct golden_case {
    int32_t n_prompt, n_completion;
    int32_t prompt[FIX_PROMPT], completion[FIX_ROW];
    float logprobs[FIX_ROW], bf16_bound, last_logits[256];
} golden_case;

typedef struct golden {
    int32_t n_case, n_vocab;
    golden_case c[8];
} golden;

golden *t5_golden_read(const char *name); /* free() it */

#endif
