#ifndef WEIR_TESTS_FORMATS_GGUF_MADE_H
#define WEIR_TESTS_FORMATS_GGUF_MADE_H

#include "host/formats/gguf/gguf.h"
#include "tests/support/gguf_write.h"

/* Pairs of several kinds and three tensors, the last of which fills its alignment: every prefix lacks
 * something. Opened under the name "m.gguf", as all here are. */
gguf_blob good_file(void);
weir_gguf *open_good(const gguf_blob *b);
void expect_bytes(const uint8_t *p, size_t n, weir_status want, const char *part); /* refused */

/* Whole small models as GGUF files: heads of 32, four for queries and two for keys; 40 rows of vocabulary, 12
 * of them tokens. */
enum { DIM = 64, FF = 96, HEAD = 32, N_HEAD = 4, N_KV = 2, VOCAB = 40, N_TOKEN = 12 };
/* Of experts, and of the shared one of qwen2moe. A llama's are as wide as its feed-forward. */
enum { EXPERT_FF = 32, SHARED_FF = 128, EXPERTS_USED = 2 };

typedef struct made {
    const char *arch;
    int32_t n_layer;
    const char *skip;                            /* a key or tensor that is left out */
    void (*more)(gguf_blob *, const char *arch); /* further pairs */
    uint32_t matrix;                             /* type of matrices; 0 is F32 */
    uint64_t seed;   /* not 0: contents are random numbers about 0, so that it can run; else 0, 1, 2, … */
    int32_t wide;    /* DIM, FF and the numbers of heads times this; 0: 1 */
    int32_t experts; /* of every layer, instead of a feed-forward; 0: none */
    bool bias, head, factors;
    float first_factor;
    const char *stray; /* a further tensor (1) */
    uint32_t stray_type;
    int stray_dims;             /* 0: 1 */
    const int64_t *stray_shape; /* of F32, innermost first; NULL: ones */
} made;

extern const char *const ARCHS[];
enum { N_ARCH = 9 };

/* "arch.name", good until the fourth call after. */
char *key_of(const char *arch, const char *name);
gguf_blob make(const made *m);
weir_gguf *open_made(const made *m, gguf_blob *b); /* b holds its bytes */
void expect_refused(const made *m, weir_status want, const char *part);

/* A whole file's parts as llama.cpp's gguf-split makes them: pairs in the first, tensor i in part i n /
 * count. They end where their data do, so every prefix of a part lacks something. */
typedef struct made_part {
    int no, count;
    int64_t n_tensor; /* split.tensors.count; -1: none */
    int holds;        /* the tensors of this part; usually its own */
} made_part;
gguf_blob make_part(const gguf_blob *whole, const made_part *p);

#endif
