#ifndef WEIR_MODELS_WEIGHTS_H
#define WEIR_MODELS_WEIGHTS_H

#include "models/share.h"

/* A family walks its tensors once, in code; the walk has four uses, so that they cannot drift apart:
 *   list     src is NULL: `visit` gets every name
 *   plan     src is NULL: every tensor is there, as the config has it, matrices in `dtype`
 *   measure  names, shapes and dtypes are checked and the bytes added up
 *   load     vector is not NULL: matrices are packed on the backend, vectors are written
 * Bytes, parameters and floats of vectors are sums over the walk. Failures name the tensor in err. */
typedef struct weights {
    const weir_tensor_source *src;
    weir_dtype dtype;
    weir_place place;         /* device: decides layouts */
    const model_shape *shape; /* the model's, with this rank's share */
    float norm_plus;          /* norms multiply by this plus what the file holds */
    weir_err *err;

    weir_tensor_visit visit; /* list only */
    void *visitor;

    weir_backend *be;   /* load only */
    float *vector;      /* host: what becomes `there` */
    const float *there; /* backend: all norms, biases and tables, one after another */

    int64_t n_vector; /* floats of vectors, each rounded up to weir__stride */
    int64_t n_param;
    int32_t n_quantised, n_left;          /* as in the facts */
    size_t matrix_bytes;                  /* packed */
    size_t row_bytes;                     /* of them, what a row of decode and verify reads (WEIR_USE_ROWS) */
    int64_t ordered;                      /* as in model_shape */
    int32_t n_exchange;                   /* exchanges of ranks that share the layers, */
    size_t exchange_floats, given_floats; /* and floats of a row: in the widest, in all */

    /* Largest block of the matrices whose inputs are such a dimension: known before a walk that loads, since
     * all layers are shared out alike. */
    int block[SHARED_DIMS];
} weights;

enum { WEIR__PREFIX_CAP = 64, WEIR__NAME_CAP = 128, WEIR__PARTS = 3 };

/* Ranks that share the layers make an exchange of so many floats a row. */
void weir__note_exchange(weights *w, int64_t floats);

/* A tensor of this name and shape. EFORMAT. Plan: its data is NULL. */
weir_status weir__want(const weights *w, const char *name, int64_t rows, int64_t cols, weir_tensor *t);
weir_status weir__want_vector(const weights *w, const char *name, int64_t n,
                              weir_tensor *t); /* a float dtype too */

/* Room for the next vector of n floats: host memory, NULL unless loading. *out is where it will be. */
float *weir__next_vector(weights *w, int64_t n, const float **out);

/* The vector prefix + what + ".weight", plus norm_plus. */
weir_status weir__load_norm(weights *w, const char *prefix, const char *what, int64_t n, const float **out);

/* The vector prefix + what. */
weir_status weir__load_vector(weights *w, const char *prefix, const char *what, int64_t n, const float **out);

/* A dimension of n in the file, and the rank's part of it. */
typedef struct weir_span {
    int64_t n, first, own;
} weir_span;

static inline weir_span weir__span_all(int64_t n) { return (weir_span){n, 0, n}; }

/* Matrices over the same inputs: (rows[i].n, cols.n), called prefix + what[i] + ".weight". Or they are one
 * tensor of the file, one below the other, called prefix + fused + ".weight". Of one alone, whose ranks split
 * its inputs, `inputs` says which dimension cols is. looked_up: a table whose rows are read by id; one that
 * no product reads (WEIR_USE_PREFILL) is never quantised here. */
typedef struct matrix_list {
    const char *prefix;
    const char *what[WEIR__PARTS];
    const char *fused; /* NULL: each has a tensor of its own */
    weir_span rows[WEIR__PARTS], cols;
    int n;
    weir_use use;
    shared_dim inputs;
    bool looked_up;
} matrix_list;

/* The matrices stacked along their outputs: one weight where their dtypes agree, else one for each run of
 * neighbours of the same dtype (a quantiser keeps some of them finer) and order of inputs. out: room for n.
 * ENOTSUP: ranks split a matrix along inputs that are in an order of their own, so that a rank's would come
 * from all of them; or its rows are looked up. */
weir_status weir__load_stacked(weights *w, const matrix_list *l, weir_weight *out, int *n_out);

/* Gate and up as one gated pair where their dtypes and orders agree, else one after the other. */
weir_status weir__load_gated(weights *w, const matrix_list *l, weir_weight out[2], int *n_out);

/* n alike of a list of matrices, one after another in one block (weir__weight_at): a layer's experts. Those
 * of number i are called prefix + i + "." + what + ".weight"; stacked: the file has one tensor (n, rows,
 * cols) for all of a kind, called prefix + what + ".weight". A row reads n_used of them. The rank has
 * those of `which`: a weight without data where that is none. apart: two of a kind are stacked along their
 * outputs and no gated pair. */
typedef struct matrix_stack {
    matrix_list each;
    weir_span which;
    int n_used;
    bool stacked, apart;
} matrix_stack;

/* As weir__load_gated, or weir__load_stacked of one matrix (each.n = 1); out: room for each.n. EFORMAT also
 * where the dtypes of two alike differ; ENOTSUP: inputs in an order of their own, which the rows of a group
 * would each have to be in. */
weir_status weir__load_stack(weights *w, const matrix_stack *s, weir_weight *out, int *n_out);

/* The biases of all of a stack, on every rank; its kinds are a tensor each (n, rows), called as the matrices
 * with ".bias" for ".weight". For each number those of its matrices in one: (n, sum of rows). */
weir_status weir__load_stack_bias(weights *w, const matrix_stack *s, const float **out);

/* One vector of the biases of stacked matrices (".bias" for ".weight"). */
weir_status weir__load_bias(weights *w, const matrix_list *l, const float **out);

/* One matrix. */
weir_status weir__load_matrix(weights *w, const matrix_list *l, weir_weight *out);

#endif /* WEIR_MODELS_WEIGHTS_H */
