#ifndef WEIR_TESTS_MODELS_FAKE_H
#define WEIR_TESTS_MODELS_FAKE_H

#include "models/model.h"

/* A checkpoint out of thin air: tensors by name, with the shape that their name and the config imply, and
 * contents from the name's hash. One tensor may be hidden, reshaped, made a stack, or given another dtype. */
typedef struct fake fake;

/* What the fakes of one kind of model share. */
typedef struct fake_kind {
    bool (*shape_of)(const fake *k, const char *name, int64_t *rows,
                     int64_t *cols); /* false: no such tensor */
    weir_status (*create)(weir_model **out, weir_backend *be, const fake *k, const weir_tensor_source *src,
                          weir_err *err);
} fake_kind;

struct fake {
    const fake_kind *kind;
    weir_t5_config t5;                    /* of its kind */
    weir_decoder_config decoder, encoder; /* encoder: of a T5Gemma, whose other stack is decoder */
    weir_dtype dtype;                     /* one of blocks: of the matrices; the rest is f32 */
    bool whole_body;                      /* as create takes it */
    const char *hidden, *reshaped, *stacked, *redtyped;
    weir_dtype other;        /* of the redtyped one; f16 at first */
    const char *extra;       /* a name that is there beside the usual ones */
    const float *rope_freqs; /* what rope_freqs.weight holds, or NULL */
    bool packed;             /* experts' elements are made when they are asked for */
    int64_t n_released, n_found, n_made;
    float *data[256];
    char name[256][96];
    int n;
};

fake *fake_make(const fake_kind *kind, weir_dtype dtype); /* configs zero */
enum { FAKE_ROW = 17, FAKE_PROMPT = 100 };                /* bounds that it is created with */
fake *fake_t5(const weir_t5_config *c, weir_dtype dtype);
fake *fake_decoder(const weir_decoder_config *c, weir_dtype dtype);
fake *fake_t5gemma(const weir_decoder_config *enc, const weir_decoder_config *dec, weir_dtype dtype);
fake *fake_like(const fake *k); /* the same, not yet asked for anything */
void fake_free(fake *k);

/* n values of a tensor, made when first asked for. They are bf16 whatever the float dtype, so that a matrix
 * may change its dtype without changing a number. */
void *fake_data(fake *k, const char *name, weir_dtype dtype, int64_t n);

weir_tensor_source fake_source(fake *k);
weir_status fake_create(fake *k, weir_backend *be, weir_model **m, weir_err *err);
weir_backend *fake_backend(int n_thread);

/* Hides every tensor in turn, reshapes it, makes it one of a stack: the message names it, nothing leaks.
 * n_want: tensors that a model asks for. */
void fake_break_each_tensor(const fake *like, int n_want);

/* Creates the model with an allocation more each time, until none fails: ENOMEM, and nothing leaks. There are
 * at least n_min. */
void fake_fail_each_allocation(const fake *like, long n_min);

#endif
