#ifndef WEIR_HOST_STATE_H
#define WEIR_HOST_STATE_H

#include <stdatomic.h>

#include "host/chat/format.h"
#include "host/pair/family.h"
#include "host/deck/kv.h"
#include "host/tokenizers/tokenizer.h"
#include "host/weir.h"
#include "kernels/loop/loop.h"

/* The inside of an engine and its sessions, for the files of host/. Front ends see none of it.
 *
 * An engine is a pair and a deck. The pair is what was opened: it does not change until close, and any thread
 * may read it (tokenizing, rendering a conversation, facts). The deck is everything that moves: slots, pages,
 * buffers, the block loop. One thread at a time steps it. There is one deck to a pair, since a model holds
 * the activations of its calls and a backend its scratch. */

enum { WEIR_VERIFIER = 0, WEIR_DRAFTER = 1 }; /* index of a side */
/* TokenCascade: drafter tokens in a row (method.md, algorithm 2) */
enum { WEIR_TOKEN_CASCADE_RUN = 10 };

/* A session's place in a tick of the sequential methods; rows of the drafter's and the verifier's call, -1 =
 * none. */
typedef struct weir_tick_place {
    int q, p;
    int top; /* place among the rows whose likeliest tokens are wanted, -1 = none */
    bool deferred;
    float log_q, log_p; /* raw, of the drawn token, where there is such a row */
} weir_tick_place;

/* Arrays of one call, for R = n_row_max rows. An engine has two sets: `buf` is what the host reads and
 * writes, `dev` what ops do. On the CPU both are one memory; elsewhere WEIR_PUT and WEIR_GET bring entries
 * across, and structs that ops read hold addresses of `dev`. */
typedef struct weir_step_buffers {
    int32_t *token, *pos, *slot, *out;              /* (R) rows of a forward call */
    weir_row_stats *q_stats;                        /* (n_parallel, max_draft + 1) */
    weir_row_stats *p_stats;                        /* (R) in the order of the verifier's rows */
    float *draft_logp;                              /* (R) */
    int32_t *drawn, *position, *law_of, *block_row; /* (R) */
    weir_law *law;                                  /* (n_parallel) laws of the sessions of a call */
    weir_emit_session *emit;                        /* (n_parallel) */
    weir_gate_session *gate;                        /* (n_parallel) */
    int32_t *pick;                                  /* (R) where in the logits single values lie */
    float *picked;                                  /* (R) */
    int32_t *top_row;                               /* (R) verifier rows whose likeliest tokens are wanted */
    weir_top_entry *top;                            /* (R, WEIR_TOP_MAX) those tokens */
    /* backend memory in both sets */
    float *q_logits, *p_logits; /* (R, ld) */
    float *q_weights;           /* (R, ld) w of q_logits, made with q_stats; or NULL */
    float *text_logits;  /* (n_parallel, its rows) of a drafter with a vocabulary of its own; or NULL */
    weir_minmax *minmax; /* (R, weir__minmax_count(n_vocab)) of one call; NULL without
                                               minmaxes */
    /* host memory, not in `dev` */
    weir_tick_place *tick; /* (n_parallel) */
    weir_session **list;   /* (n_parallel) */
    weir_seat *seat;       /* (n_parallel) of the sessions that a program runs */
    weir_session **who;    /* (n_parallel) whose seats these are */
} weir_step_buffers;

typedef struct weir_block_loop weir_block_loop;     /* block_loop.h */
typedef struct weir_prefix_cache weir_prefix_cache; /* prefix.h */

typedef struct weir_pair_side {
    weir_checkpoint ck;
    const weir_family *family;
    weir_model *model;
    int32_t ld;             /* stride of a row of logits, or of q: n_vocab_rows */
    weir_model_facts facts; /* measured on the tensors */
} weir_pair_side;

/* Of a group of devices: blocks that they run on their own. record: `body` as weir_backend_stream.capture
 * does, looped, on rank 0, and all its calls of models on the members, under a key below WEIR_LOOP_KEYS.
 * goes_on: backend memory, a word that the body sets to 0 when no other block follows. loop: the members run
 * theirs; then rank 0 launches its own. record: ENOTSUP if a device of the group takes no loop. */
enum { WEIR_LOOP_KEYS = 9216 };
typedef struct weir_loop_lead {
    weir_status (*record)(weir_engine *e, int key, weir_status (*body)(void *ctx), void *ctx,
                          int32_t *goes_on, weir_graph **out);
    weir_status (*loop)(weir_engine *e, int key);
} weir_loop_lead;

typedef struct weir_pair {
    weir_backend *be;
    weir_pair_side side[2];
    weir_draft_kind draft;
    bool has_draft; /* a drafter is loaded; else side[WEIR_DRAFTER] has only ld, of rows of q */
    int lookup_min, lookup_max;
    weir_dtype quantise[2]; /* of the options; a float dtype: not */
    weir_tokenizer *tok;    /* NULL: ids only */
    int32_t n_vocab;
    weir_tokenizer *tok_draft; /* of WEIR_DRAFT_TEXT, with the rest of weir_vocabulary */
    int32_t n_vocab_draft, end_of[8];
    weir_err apart;
    int n_parallel, ctx_size, max_draft;
    bool fixed_gamma;       /* of the options */
    weir_gamma_costs cost;  /* for gamma auto; 0 of a dry run */
    char cost_text[320];    /* as facts.costs */
    double kv_share;        /* pages there are, of those that all sessions at their longest would take */
    int64_t n_row_max;      /* rows of the largest forward call */
    size_t op_floats;       /* scratch of the hungriest op, planned and reserved */
    int rank;               /* of this process in a group of processes; else 0 */
    bool processes;         /* ranks are processes */
    bool by_nccl;           /* devices exchange through NCCL, whatever they reach */
    int n_near;             /* ranks that share this machine's memory */
    int n_rank, draft_rank; /* ranks of the engine, and those that share the drafter's body */
    bool draft_auto;        /* the engine chooses draft_rank when it opens; 1 until then */
    char draft_reason[160]; /* then why */
    int device_of[WEIR_MAX_RANKS]; /* a CUDA device for each rank; not on the CPU */
    int device_here;               /* of these the one that this process opens, by its own count */
    size_t exchange_floats;        /* of a rank at once, planned */
    double comm_seconds;           /* deadline of an exchange */
    struct weir_ranks *ranks;      /* of a group (host/ranks); else NULL */
    const weir_loop_lead *lead;    /* of its rank 0, once all have loaded */
    weir_err device_note;          /* why "auto" is the CPU, where that is worth a word */
    weir__chat chat;
    weir_engine_facts facts;
} weir_pair;

/* Caches of one model. */
typedef struct weir_deck_side {
    weir_kv_pool *self;  /* slots [n_parallel, 2 n_parallel) of an encoder–decoder hold sources: prompts and
                            outputs share the pages */
    weir_kv_pool *slide; /* where the model has such layers beside others */
    weir_prefix_cache *prefix; /* over self; NULL: not wanted, or layers slide */
    weir_kv kv;
    weir_session *open[WEIR_PROMPTS_OPEN]; /* whose prompts the model is within (models/model.h), or NULL */
    int32_t *cross_len;                    /* (n_parallel) host; kv.cross_len is the backend's */
    int32_t *dev_cross_len;                /* the backend's where that is another array; NULL on the CPU */
} weir_deck_side;

typedef struct weir_deck {
    weir_deck_side side[2];
    weir_block_loop *loop;
    weir_session **slot_owner; /* (n_parallel) */
    weir_session *prefilling;  /* whose prompt is being run, or NULL */
    double prefill_seconds;    /* of all prompts so far */
    atomic_bool yield;         /* the step is to return at the next block edge */
    weir_interrupt interrupt;  /* of the options */
    weir_step_buffers buf, dev;
} weir_deck;

/* s, which weir__is_lost, with the words of the device or of the group of ranks. */
weir_status weir__engine_lost(const weir_engine *e, weir_status s, weir_err *err);

struct weir_engine {
    weir_pair pair;
    weir_deck deck;
};

/* Incremental detokenisation: output tokens [from, n) are decoded for each token. The text of [from, read) is
 * in the session's, and of what follows it the first `told` bytes. open: more follows, which may be an
 * unfinished character. */
typedef struct weir_text_window {
    int64_t from, read;
    size_t told;
    bool open;
} weir_text_window;

/* Of a drafter with a vocabulary of its own (text_draft.h): what it reads in place of the session's ids, and
 * what it drafts. */
typedef struct weir_retold {
    weir__ids prompt;
    int64_t base; /* position of timeline[0] in its self caches */
    /* timeline[0] is the prompt's last id; n ids of the output follow, then those that it has drafted */
    int32_t *timeline;
    int64_t n, n_drafted, cap; /* cap: of n */
    bool full;                 /* the text has outgrown it: no more drafts */
    /* The first n_from ids are for good those of the first `from` output tokens. */
    int64_t from, n_from;
    int64_t told; /* output tokens that the n ids stand for */
    /* of a block */
    weir__ids draft; /* in the verifier's ids */
    int32_t decided; /* drafts after which gamma auto has drafted on */
    int32_t idle;    /* steps since another draft was found */
    bool ended;      /* nothing more is drafted */
    bool broken;     /* a row of it was unusable */
    bool fills;      /* of timings: as many drafts as a block may have, whatever they are */
} weir_retold;

struct weir_session {
    weir_engine *e;
    weir_session_options opt; /* stop is owned here; the law has its key */
    char **stop;
    size_t stop_max; /* longest stop string */
    weir_token_fn on_token;
    void *ud;

    int32_t *prompt;
    size_t n_prompt;
    int slot;     /* -1 until the prompt is run, while it is suspended, and after the end */
    int64_t base; /* position of timeline[0] in the self caches: 0 for an encoder–decoder, n_prompt -
                               1 of a decoder */
    int64_t prefilled[2]; /* positions of the prompt that each model has read, then inputs read again */
    int64_t part[2];      /* steps since, towards the next chunk of the prompt (models/model.h) */
    int open_at[2];       /* where a model is within its prompt, or -1 */
    int64_t cached[2];    /* timeline inputs whose K and V each model holds; -1: its prompt was not run */
    int64_t held[2];      /* inputs to be read again after the prompt: those it held when it was suspended */
    int32_t unit[2];      /* of the prefix cache, the last one that it holds, or -1 */
    bool was_suspended;   /* it reads its prompt for a second time */
    bool wants_pages;     /* the last call found too few for it */
    weir_gamma_past past; /* of gamma auto */
    int64_t looked;       /* prompt lookup: entries of its slot's history that are there */
    weir_retold *retold;  /* of a drafter with a vocabulary of its own; else NULL */
    int32_t run;          /* TokenCascade: drafter tokens in a row */
    bool second_pass;     /* sequence cascade: the verifier is writing */
    double seq_logp;      /* sum of the drafter's log q over its tokens, end-of-text included */
    int64_t seq_n;
    double started; /* when the prompt was begun */

    /* timeline[0] is the start id or a decoder's last prompt token, timeline[1 + i] output token i; the row
     * of input i predicts output i and lies at position base + i of the self caches */
    int32_t *timeline; /* (cap + 1) */
    uint8_t *sources;  /* (cap) */
    float *logprobs, *policy_logprobs;
    weir_top *top; /* (cap + 1, n_top) the verifier's likeliest tokens, those beside the end of text included;
                      NULL if not wanted */
    int64_t n, cap;

    /* what is certain of the output's text: bytes that the next token may complete to a character are not in
     * it */
    char *text;
    size_t text_len, text_cap;
    size_t *token_end; /* (cap) length of text after each token */
    weir_text_window win;
    int64_t n_told;  /* tokens handed to on_token */
    bool streams;    /* text is kept while tokens come: a callback or stop strings want it */
    int64_t n_shown; /* tokens of which text has all that a view may show; -1: it must look */
    bool mute;       /* sequence cascade: the drafter's answer is not certain yet */

    weir_finish finish;
    weir_ended ended_by;
    int stop_found;                        /* the stop string that the output was cut at, or -1 */
    int32_t eos;                           /* that ended it, or -1 */
    float eos_logprob, eos_policy_logprob; /* its own; NaN without one */
    weir_err failure;                      /* what refused its logits; "" */
    atomic_bool cancel;
    weir_session_stats stats;
};

#endif /* WEIR_HOST_STATE_H */
