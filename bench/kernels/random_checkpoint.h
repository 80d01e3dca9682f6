#ifndef WEIR_BENCH_KERNELS_RANDOM_CHECKPOINT_H
#define WEIR_BENCH_KERNELS_RANDOM_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Checkpoints of random bf16 weights: config.json and one model.safetensors in a folder. A family names its
 * tensors once, in the order of the file; header and values are made from that list. */

enum { RANDOM_NAME = 96 };

/* What the values of a tensor are. */
typedef struct random_fill {
    double limit; /* > 0: uniform in (-limit, limit); 0: all are `constant` */
    float constant;
} random_fill;

typedef struct random_tensor {
    char name[RANDOM_NAME];
    int64_t rows, cols; /* rows 0: a vector */
    random_fill fill;
    uint64_t at, draw; /* values before it, and draws of the random sequence */
} random_tensor;

typedef struct random_list {
    random_tensor *tensor;
    int n, cap;
    uint64_t n_value, n_draw;
    bool failed; /* out of memory */
} random_list;

/* Appends a tensor; rows 0: a vector. */
void random_add(random_list *l, int64_t rows, int64_t cols, random_fill fill, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void random_list_free(random_list *l);

/* Limits of products whose results have about unit size where their inputs have: sqrt(3 / inputs) times
 * `scale`. */
random_fill random_even(int64_t inputs, double scale);

/* A shape of any family, which random_main.c looks up by name. */
typedef struct random_shape {
    const char *name, *family; /* "t5-large", "T5 v1.1" */
    const void *sizes;
    void (*list)(const void *sizes, random_list *l);
    void (*config)(const void *sizes, FILE *f); /* config.json */
} random_shape;

int random_t5_shapes(const random_shape **out); /* how many */
int random_decoder_shapes(const random_shape **out);

/* Writes both files into dir, which is made if it is not there; existing ones are replaced. n_thread in [1,
 * 256]: the bytes are the same for any. false: one line on stderr, and neither file is left. */
bool random_checkpoint_write(const char *dir, const random_shape *shape, uint64_t seed, int n_thread);

#endif /* WEIR_BENCH_KERNELS_RANDOM_CHECKPOINT_H */
