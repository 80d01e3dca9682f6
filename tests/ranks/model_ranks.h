#ifndef WEIR_TESTS_RANKS_MODEL_RANKS_H
#define WEIR_TESTS_RANKS_MODEL_RANKS_H

#include "tests/models/fake.h"
#include "tests/ranks/group.h"

enum { RANK_CALLS = 3 };

/* A model, a group that serves it, and what rank 0 found. */
typedef struct subject {
    const char *name;
    fake *(*make)(const struct subject *s);
    weir_t5_config t5;
    weir_decoder_config decoder, encoder;
    weir_dtype dtype;
    const char *redtyped; /* a tensor of another dtype, or NULL */
    weir_dtype other;
    weir_isa isa;
    bool whole_body;
    weir_status (*open)(const struct subject *s, weir_backend **be, int rank); /* NULL: the CPU's */
    float *logits; /* (RANK_CALLS, FAKE_ROW, n_vocab) */
    weir_status status[WEIR_RANKS];
    weir_share share[WEIR_RANKS];
    size_t weights[WEIR_RANKS];
    uint64_t bytes, gathered; /* of rank 0, by the last call */
} subject;

/* As group_run wants it: opens the rank's model and makes a few calls. */
void model_on_rank(void *arg, weir_comm *comm);
/* Logits of 2, 4, … most ranks are those of one, bit for bit. */
void model_check_ranks(subject *s, int most);

subject model_qwen(void), model_gemma(void), model_llama(void);
subject model_granite(void); /* what sub-layers add is scaled, q, k and v are one tensor */
subject model_olmo(void), model_few_olmo(void);
subject model_mixture(void), model_few_experts(void);
subject model_small_blocks(void), model_large_blocks(void); /* of 32 and of 256 elements */
subject model_t5(int32_t n_head, int32_t head_dim, bool gated, bool tied);
subject model_t5gemma(void); /* stacks of two sizes */

static inline bool model_has_encoder(const subject *s) { return s->t5.n_head > 0 || s->encoder.n_head > 0; }

#endif
