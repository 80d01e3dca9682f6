#ifndef WEIR_KERNELS_BACKEND_H
#define WEIR_KERNELS_BACKEND_H

#include "kernels/accept/accept.h"
#include "kernels/accept/top.h"
#include "kernels/attention/attention.h"
#include "kernels/base/interrupt.h"
#include "kernels/base/isa.h"
#include "kernels/base/pool.h"
#include "kernels/comm/exchange.h"
#include "kernels/linear/linear.h"
#include "kernels/loop/loop.h"
#include "kernels/moe/combine.h"
#include "kernels/moe/glu.h"
#include "kernels/moe/route.h"
#include "kernels/rows/bias.h"
#include "kernels/rows/embed.h"
#include "kernels/rows/gather.h"
#include "kernels/rows/rmsnorm.h"
#include "kernels/rows/rope.h"

/* A backend: one table of ops, its memory and its threads or stream, chosen once at open. An op that a
 * backend lacks is NULL in the table and opening it fails: there is no silent fallback. Ops allocate nothing
 * but scratch taken at open or grown by weir__backend_reserve. One thread at a time uses a backend.
 *
 * Ops of a device are asynchronous and in order: WEIR_OK means that the arguments were valid and the work was
 * queued. A failure of the stream itself is sticky: it is reported once with the op's name and shapes in the
 * backend's error text, and every later call returns WEIR_ECUDA. */
typedef struct weir_backend weir_backend;

/*    name        argument block        what (contract header) */
#define WEIR_OP_MAP(X)                                            \
    X(embed, weir_embed)              /* rows/embed.h */          \
    X(rmsnorm, weir_rmsnorm)          /* rows/rmsnorm.h */        \
    X(linear, weir_linear)            /* linear/linear.h */       \
    X(bias, weir_bias)                /* rows/bias.h */           \
    X(rope, weir_rope)                /* rows/rope.h */           \
    X(kv_append, weir_kv_append)      /* attention/kv.h */        \
    X(attention, weir_attention)      /* attention/attention.h */ \
    X(row_keys, weir_row_keys)        /* rows/gather.h */         \
    X(gather, weir_gather)            /* rows/gather.h */         \
    X(permute, weir_permute)          /* rows/gather.h */         \
    X(route, weir_route)              /* moe/route.h */           \
    X(glu, weir_glu)                  /* moe/glu.h */             \
    X(combine, weir_combine)          /* moe/combine.h */         \
    X(row_stats, weir_row_stats_args) /* accept/stats.h */        \
    X(draw, weir_draw_args)           /* accept/stats.h */        \
    X(top, weir_top_args)             /* accept/top.h */          \
    X(accept, weir_accept_args)       /* accept/accept.h */       \
    X(emit, weir_emit_args)           /* accept/accept.h */       \
    X(gate, weir_gate_args)           /* accept/accept.h */       \
    X(loop_rows, weir_loop_rows)      /* loop/loop.h */           \
    X(loop_sample, weir_loop_sample)  /* loop/loop.h */           \
    X(loop_lookup, weir_loop_lookup)  /* loop/loop.h */           \
    X(loop_close, weir_loop_close)    /* loop/loop.h */

typedef struct weir_backend_ops {
#define WEIR_OP_FIELD(name, args) weir_status (*name)(weir_backend * be, args * a);
    WEIR_OP_MAP(WEIR_OP_FIELD)
#undef WEIR_OP_FIELD
} weir_backend_ops;

enum { WEIR_STAMPS = 512 }; /* marks in the stream that a backend keeps, for timings */

/* A recorded sequence of ops, run without the host. */
typedef struct weir_graph {
    bool loops; /* a launch repeats it until loop_close ends it; false: once */
} weir_graph;

/* Which ways a device takes, in docs/gpu.md's words; NULL on the CPU. */
typedef struct weir_device_ways {
    const char *graph; /* "while", "straight", "none": what a looped capture becomes */
    const char *team;  /* "cooperative", "plain": launches of kernels whose blocks wait for each other */
    const char *pdl;   /* "on", "off": whether a kernel may begin before the one ahead of it has ended */
} weir_device_ways;

/* Memory and stream. On the CPU "backend memory" is host memory and everything is done when it returns. */
typedef struct weir_backend_stream {
    void *(*alloc)(weir_backend *be, size_t bytes); /* NULL on failure */
    void (*free)(weir_backend *be, void *p);
    /* Host memory that the device sees too, zeroed: *device is its address there (the same on the CPU). */
    void *(*alloc_mapped)(weir_backend *be, size_t bytes, void **device);
    void (*free_mapped)(weir_backend *be, void *host);
    /* src may be reused on return */
    weir_status (*upload)(weir_backend *be, void *dst, const void *src, size_t bytes);
    /* waits for all before it */
    weir_status (*download)(weir_backend *be, void *dst, const void *src, size_t bytes);
    /* inside backend memory */
    weir_status (*copy)(weir_backend *be, void *dst, const void *src, size_t bytes);
    weir_status (*zero)(weir_backend *be, void *p, size_t bytes);
    weir_status (*wait)(weir_backend *be);             /* until everything queued is done */
    weir_status (*poll)(weir_backend *be, bool *busy); /* never waits; reports a failure of the stream */
    weir_status (*reserve)(weir_backend *be, size_t floats);
    void (*close)(weir_backend *be);
    /* NULL: this backend captures nothing; the caller loops itself. `body` issues ops only, and may be called
     * several times: a device that refuses something gets another graph. looped: if it takes loops; else the
     * graph is a straight one. ENOTSUP: it takes no graph. */
    weir_status (*capture)(weir_backend *be, weir_status (*body)(void *ctx), void *ctx, bool looped,
                           weir_graph **out);
    /* Inside the body of a looped capture: `test` issues ops of which one is a loop_rows for a drafter step,
     * and those of `rest` run only if that found a row wanted. Elsewhere both are called. NULL where capture
     * is. */
    weir_status (*branch)(weir_backend *be, weir_status (*test)(void *ctx), weir_status (*rest)(void *ctx),
                          void *ctx);
    /* ENOTSUP: the device refuses this one; once freed, it may be captured anew, with less in it. */
    weir_status (*launch)(weir_backend *be, weir_graph *g);
    void (*graph_free)(weir_backend *be, weir_graph *g);
    /* Mark `i` of WEIR_STAMPS records the time when the stream reaches it; setting it again moves it. elapsed
     * waits for both marks; EINVAL if one was never set. Not allowed inside a capture. */
    weir_status (*stamp)(weir_backend *be, int i);
    weir_status (*elapsed)(weir_backend *be, int from, int to, double *seconds);
    /* What is queued does not come back: from now on every call fails for the reason `why`, and nothing waits
     * for it, so that memory is not freed. NULL on the CPU. */
    void (*abandon)(weir_backend *be, const char *why);
    void (*without_graphs)(
        weir_backend *be); /* none will be captured: be->about and be->ways say so. NULL there */
} weir_backend_stream;

struct weir_backend {
    const char *name;  /* "cpu", "cuda:0" */
    const char *about; /* "NVIDIA H200, sm_90, 139.8 GiB; graph while, …"; the instruction set on the CPU */
    weir_device_ways ways; /* both are set anew when a device refuses one */
    double patience;       /* seconds that a block may take before the device counts as lost; 0 = for ever */
    weir_backend_ops op;
    const weir_exchange_ops *exchange; /* NULL: it serves one rank only */
    weir_err exchange_why;             /* why it is not the one that was tried first; "" */
    weir_comm *comm;                   /* of the group that it is a rank of; not owned. NULL: alone */
    const weir_backend_stream *stream;
    bool device;        /* backend memory is not host memory */
    bool minmaxes;      /* linear fills in weir_linear.minmax */
    int32_t chunk;      /* positions of a prompt that one call of a prefill op takes */
    size_t memory_free; /* device: bytes free once the backend has taken its own */
    weir_err err;       /* the first failure of the stream, in words */
    weir_pool *pool;    /* cpu */
    weir_isa isa;       /* cpu: what the ops were chosen for */
    float *scratch;     /* cpu: [n_worker][scratch_floats]; device: [scratch_floats]; 64-byte aligned */
    size_t scratch_floats;
    weir_interrupt
        interrupt;  /* models call it between the units of a prompt; whoever opened the backend may set it */
    double *stamps; /* cpu: (WEIR_STAMPS) seconds, 0 if not set; NULL before the first */
};

/* CPU backend with n_thread workers and the ops of `isa` (at most weir__isa_best()). */
weir_status weir__backend_cpu_open(weir_backend **out, int n_thread, weir_isa isa, weir_err *err);

/* CUDA backend on device `index`. ENOTSUP: this build has none, no driver or device is there, or the device
 * is older than sm_80; err says which. ECUDA, EDEVMEM. */
weir_status weir__backend_cuda_open(weir_backend **out, int index, weir_err *err);

/* How many CUDA devices can be opened; if none, 0 with the reason in `why` (never an error). No reason: this
 * build has no CUDA backend. */
int weir__backend_cuda_count(weir_err *why);

void weir__backend_close(weir_backend *be); /* NULL allowed; waits for what is queued */

/* Grows the scratch of ops (per worker on the CPU). Called while a model is loaded, never in the token
 * loop. */
weir_status weir__backend_reserve(weir_backend *be, size_t floats);

/* Shorthands for be->stream->...; bytes = 0 is valid everywhere. */
void *weir__backend_alloc(weir_backend *be, size_t bytes); /* 64-byte aligned (device: 256), NULL on
                                                              failure */
void weir__backend_free(weir_backend *be, void *p);
weir_status weir__backend_upload(weir_backend *be, void *dst, const void *src, size_t bytes);
weir_status weir__backend_download(weir_backend *be, void *dst, const void *src, size_t bytes);
weir_status weir__backend_zero(weir_backend *be, void *p, size_t bytes);

/* The first failure of the stream in words: ECUDA with be->err's text into err. */
weir_status weir__backend_failure(weir_backend *be, weir_err *err);

#endif /* WEIR_KERNELS_BACKEND_H */
