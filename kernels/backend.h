#ifndef WEIR_KERNELS_BACKEND_H
#define WEIR_KERNELS_BACKEND_H

#include "kernels/accept/accept.h"
#include "kernels/base/isa.h"
#include "kernels/base/pool.h"
#include "kernels/dense/attention.h"
#include "kernels/dense/embed.h"
#include "kernels/dense/linear.h"
#include "kernels/dense/rmsnorm.h"

/* A backend: one table of ops, its memory and its threads or streams, chosen once at open. An op that a
 * backend lacks is NULL in the table and weir_backend_open refuses the backend: nothing falls back in
 * silence. Ops allocate nothing but scratch taken at open or grown by weir_backend_reserve. One thread
 * at a time uses a backend. */
typedef struct weir_backend weir_backend;

/*    name        argument block        what (contract header) */
#define WEIR_OP_MAP(X)                                                    \
    X(embed, weir_embed)             /* dense/embed.h */                  \
    X(rmsnorm, weir_rmsnorm)         /* dense/rmsnorm.h */                \
    X(linear, weir_linear)           /* dense/linear.h */                 \
    X(kv_append, weir_kv_append)     /* dense/kv.h */                     \
    X(attention, weir_attention)     /* dense/attention.h */              \
    X(row_stats, weir_row_stats_args) /* accept/stats.h */                \
    X(draw, weir_draw_args)          /* accept/stats.h */                 \
    X(accept, weir_accept_args)      /* accept/accept.h */                \
    X(emit, weir_emit_args)          /* accept/accept.h */                \
    X(gate, weir_gate_args)          /* accept/accept.h */

typedef struct weir_backend_ops {
#define WEIR_OP_FIELD(name, args) weir_status (*name)(weir_backend * be, args * a);
    WEIR_OP_MAP(WEIR_OP_FIELD)
#undef WEIR_OP_FIELD
} weir_backend_ops;

struct weir_backend {
    const char *name;     /* "cpu" */
    weir_backend_ops op;
    weir_pool *pool;      /* cpu */
    weir_isa isa;         /* cpu: what the ops were chosen for */
    float *scratch;       /* cpu: [n_worker][scratch_floats], 64-byte aligned */
    size_t scratch_floats;
};

/* CPU backend with n_thread workers and the ops of `isa` (at most weir_isa_best()). scratch: floats a
 * worker may use inside an op; weir_backend_scratch(...) says how many a model needs. */
weir_status weir_backend_cpu_open(weir_backend **out, int n_thread, weir_isa isa, weir_err *err);
void weir_backend_close(weir_backend *be); /* NULL allowed */

/* Grows the per-worker scratch; called while a model is loaded, never in the token loop. */
weir_status weir_backend_reserve(weir_backend *be, size_t floats);

/* Backend memory: host memory here, device memory on a GPU. */
void *weir_backend_alloc(weir_backend *be, size_t bytes); /* 64-byte aligned, NULL on failure */
void weir_backend_free(weir_backend *be, void *p);

#endif /* WEIR_KERNELS_BACKEND_H */
