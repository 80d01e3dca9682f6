#ifndef WEIR_TESTS_HOST_INT4_GOLDEN_H
#define WEIR_TESTS_HOST_INT4_GOLDEN_H

#include "host/weir.h"
#include "kernels/base/types.h"

/* The models of tests/golden/int4 (make_int4.py). Failures to open fail the test. */
enum { INT4_MODELS = 13, INT4_ACT_ORDER = 10, INT4_IDS = 40, INT4_NEW = 24 }; /* ACT_ORDER: the first of 3 */

typedef struct int4_model {
    const char *name;
    weir_dtype dtype; /* of the first output projection */
    const char *form; /* how the family's name ends */
} int4_model;

extern const int4_model int4_models[INT4_MODELS];

typedef struct int4_golden {
    int32_t n, ids[INT4_IDS];
    float logprobs[INT4_IDS - 1];
    float bound; /* of inputs rounded to bytes */
} int4_golden;

void int4_dir(char dir[256], int i);
int4_golden int4_golden_read(int i);
weir_engine *int4_open(int i, const char *device, const char *isa, int n_rank);
/* drafter: another of the models, for whose layers ranks choose the place; -1: none. */
weir_status int4_open_pair(weir_engine **e, int i, int drafter, const char *device, const char *isa,
                           int n_rank, weir_err *err);
/* INT4_NEW ids after the golden's first nine, at temperature 0, in blocks of three drafts; how many of these
 * were accepted. */
int64_t int4_greedy(int i, int drafter, const char *device, int n_rank, int32_t ids[INT4_NEW]);

/* The largest difference of a log-probability from transformers'; NaN is kept. */
double int4_score_error(weir_engine *e, const int4_golden *g);

#endif
