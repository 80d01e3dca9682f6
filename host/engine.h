#ifndef WEIR_HOST_ENGINE_H
#define WEIR_HOST_ENGINE_H

#include <stdatomic.h>

#include "host/chat_own.h"
#include "host/family.h"
#include "host/kv.h"
#include "host/tokenizers/tokenizer.h"
#include "host/weir.h"

/* The inside of an engine and a session, shared by the files of host/. Nothing here is seen by front ends. */

enum { WEIR_VERIFIER = 0, WEIR_DRAFTER = 1 }; /* index of a side */
enum { WEIR_MAX_DRAFT = 16 };                 /* gamma's upper end */
enum {
    WEIR_TOKEN_CASCADE_RUN = 10
}; /* TokenCascade: drafter tokens in a row (method.md, algorithm
                                                 2) */

/* One model of the pair with its caches. */
typedef struct weir_side {
    weir_checkpoint ck;
    const weir_family *family;
    weir_model *model;
    weir_kv_pool *self, *cross, *slide; /* the last two where the model has such layers */
    weir_kv kv;
    int32_t *cross_len;     /* (n_parallel) host; kv.cross_len is the backend's */
    int32_t *dev_cross_len; /* the backend's where that is another array; NULL on the CPU */
    int32_t ld;             /* n_vocab_rows: stride of a row of logits */
    weir_model_facts facts; /* measured on the tensors */
} weir_side;

/* A session's place in a tick of the sequential methods; rows of the drafter's and the verifier's call, -1 =
 * none. */
typedef struct weir_tick_row {
    int q, p;
    bool deferred;
    float log_q, log_p; /* raw, of the drawn token, where there is such a row */
} weir_tick_row;

/* Arrays of one call, for R = n_row_max rows. An engine has two sets: `buf` is what the host reads and
 * writes, `dev` what ops do. On the CPU both are one memory; elsewhere WEIR_PUT and WEIR_GET bring entries
 * across, and structs that ops read hold addresses of `dev`. */
typedef struct weir_step_buffers {
    int32_t *token, *pos, *slot, *out;              /* (R) rows of a forward call */
    weir_row_stats *call_stats;                     /* (R) of one call */
    weir_row_stats *q_stats;                        /* (n_parallel, max_draft + 1) */
    weir_row_stats *p_stats;                        /* (R) in the order of the verifier's rows */
    int32_t *draft;                                 /* (n_parallel, max_draft) */
    float *draft_logp;                              /* (R) */
    int32_t *drawn, *position, *law_of, *block_row; /* (R) */
    weir_law *law;                                  /* (n_parallel) laws of the sessions of a call */
    weir_accept_row *row;                           /* (n_parallel, max_draft) */
    weir_accept_session *accept;                    /* (n_parallel) */
    weir_emit_session *emit;                        /* (n_parallel) */
    weir_gate_session *gate;                        /* (n_parallel) */
    int32_t *pick;                                  /* (R) where in the logits single values lie */
    float *picked;                                  /* (R) */
    /* backend memory in both sets */
    float *q_logits, *p_logits; /* (R, ld) */
    weir_row_note *note;        /* (n_parallel, max_draft); NULL on the CPU */
    weir_extent *extent;        /* (R, weir__extent_count(n_vocab)) of one call; NULL without
                                               extents */
    /* host memory, not in `dev` */
    int32_t *n_draft;    /* (n_parallel) */
    weir_tick_row *tick; /* (n_parallel) */
    weir_session **list; /* (n_parallel) */
} weir_step_buffers;

typedef struct weir_device_loop weir_device_loop; /* device_loop.h */

struct weir_engine {
    weir_backend *be;
    weir_device_loop *loop; /* blocks without the host; NULL: every block is driven from here */
    weir_side side[2];
    bool has_draft;
    weir_tokenizer *tok; /* NULL: ids only */
    int32_t n_vocab;
    int n_parallel, ctx_size, max_draft;
    int64_t n_row_max;         /* rows of the largest forward call */
    weir_session **slot_owner; /* (n_parallel) */
    weir_session *prefilling;  /* whose prompt is being run, or NULL */
    weir_interrupt interrupt;  /* of the options */
    size_t op_floats;          /* scratch of the hungriest op, planned and reserved */
    weir_step_buffers buf, dev;
    weir_err device_note;           /* why "auto" is the CPU, where that is worth a word */
    const weir_chat_template *chat; /* a format by name, or */
    weir_chat_own *own;             /* a template that is run; both NULL: none, chat_note says why */
    char chat_about[300];           /* own in words */
    weir_err chat_note;
    weir_engine_facts facts;
};

/* Incremental detokenisation: output tokens [from, n) are decoded for each token. The text of [from, read) is
 * in the session's, and of what follows it the first `told` bytes. open: more follows, which may be an
 * unfinished character. */
typedef struct weir_text_window {
    int64_t from, read;
    size_t told;
    bool open;
} weir_text_window;

struct weir_session {
    weir_engine *e;
    weir_session_options opt; /* stop is owned here */
    weir_law law;
    char **stop;
    size_t stop_max; /* longest stop string */
    weir_token_fn on_token;
    void *ud;

    int32_t *prompt;
    size_t n_prompt;
    int slot;          /* -1 until the prompt is run, and after the end */
    int64_t base;      /* position of timeline[0] in the self caches: 0 behind an encoder, n_prompt - 1
                               of a decoder */
    int64_t cached[2]; /* timeline inputs whose K and V each model holds; -1: its prompt was not run */
    int32_t run;       /* TokenCascade: drafter tokens in a row */
    bool second_pass;  /* sequence cascade: the verifier is writing */
    double seq_logp;   /* sum of the drafter's log q over its tokens, end-of-text included */
    int64_t seq_n;
    double started; /* when the prompt was begun */

    /* timeline[0] is the start id or a decoder's last prompt token, timeline[1 + i] output token i; the row
     * of input i predicts output i and lies at position base + i of the self caches */
    int32_t *timeline; /* (cap + 1) */
    uint8_t *sources;  /* (cap) */
    float *logprobs, *policy_logprobs;
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
    int32_t eos; /* that ended it, or -1 */
    atomic_bool cancel;
    weir_session_stats stats;
};

/* device.c: the backend that the options ask for. */
weir_status weir__device_check(const char *device, weir_err *err); /* its name only; NULL = "auto" */
weir_status weir__device_open(weir_engine *e, const weir_engine_options *o, int n_thread, weir_isa isa,
                              weir_err *err);

/* chat_prompt.c: the chat format of the options or of the checkpoint, and the ends of its turns among the
 * ends of text. */
weir_status weir__chat_open(weir_engine *e, const weir_engine_options *o, weir_err *err);
void weir__chat_close(weir_engine *e);
/* chat_tokens.c: the token of that name, -1 if the vocabulary has none. */
int32_t weir__chat_token(const weir_engine *e, const char *name, size_t bytes);

/* buffers.c: the arrays of a call. */
weir_bytes weir__buffers_bytes(const weir_engine *e);
weir_status weir__buffers_open(weir_engine *e);
void weir__buffers_close(weir_engine *e);
weir_status weir__step_put(weir_engine *e, void *dev, const void *host, size_t bytes);
weir_status weir__step_get(weir_engine *e, void *host, const void *dev, size_t bytes);
/* Entries [0, n) of an array to the backend, or back to the host; free on the CPU. A get waits for what is
 * queued. */
#define WEIR_PUT(e, field, n) \
    weir__step_put(e, (e)->dev.field, (e)->buf.field, (size_t)(n) * sizeof *(e)->buf.field)
#define WEIR_GET(e, field, n) \
    weir__step_get(e, (e)->buf.field, (e)->dev.field, (size_t)(n) * sizeof *(e)->buf.field)

/* plan.c */
/* Sizes of everything into e->facts; ENOMEM with the figures where it does not fit, unless only a plan is
 * wanted. */
weir_status weir__plan_make(weir_engine *e, const weir_engine_options *o, weir_err *err);
weir_kv_shape weir__plan_self(const weir_engine *e, const weir_model_facts *f);
/* n_layer 0: the model has none */
weir_kv_shape weir__plan_cross(const weir_engine *e, const weir_model_facts *f);
/* n_layer 0: all layers are in self */
weir_kv_shape weir__plan_slide(const weir_engine *e, const weir_model_facts *f);
void weir__plan_format(char *out, size_t cap, size_t bytes); /* "17.1 MiB" */

/* memory.c: bytes that this process may still take, by the machine, its cgroups and its resource limits, the
 * smallest of them; 0 = unknown. root: where /proc and /sys are, "" but for tests. */
size_t weir__memory_available(const char *root);

/* text.c: detokenisation while tokens come, and stop strings. A failed allocation ends the session as
 * cancelled. */
void weir__text_push(weir_session *s); /* token n - 1 was appended; a stop string may end the session */
weir_status weir__text_tell_all(weir_session *s); /* nothing follows: the rest of the text, told to on_token
                                                    too */
weir_status weir__text_show(weir_session *s);     /* text as far as it is certain, for a view */

/* session.c */
/* Takes a slot, runs the prompt where it surely will be needed. */
weir_status weir__session_admit(weir_session *s, weir_err *err);
/* The prompt on one model, once. ECANCELED as weir__session_given_up. */
weir_status weir__session_prefill(weir_session *s, int side, weir_err *err);
bool weir__session_given_up(const weir_session *s); /* it was cancelled, or the engine's calls are
                                                      interrupted */
void weir__session_give_up(weir_session *s);        /* ends it as cancelled and gives its slot back */
/* Pages of a side for the prompt and n_input inputs of the timeline; fewer than before is a rollback. */
weir_status weir__session_room(weir_session *s, int side, int64_t n_input);
weir_status weir__session_reserve(weir_session *s, int side, int64_t n_input); /* as weir__kv_pool_reserve */
weir_status weir__side_sync(weir_side *m);   /* the page tables of all its pools */
void weir__session_restart(weir_session *s); /* forgets the output; keeps slot and
                                                                   prompts */
void weir__session_release(weir_session *s); /* gives the slot back */
/* Appends one token; applies end-of-text, stop strings and the limit. True while the session goes on. */
bool weir__session_append(weir_session *s, int32_t id, weir_source source, float logprob,
                          float policy_logprob);
void weir__session_end(weir_session *s, weir_finish why);
/* Ends a session whose rows held NaN as cancelled; ELOGITS, err names the token. */
weir_status weir__session_refuse(weir_session *s, weir_err *err);
bool weir__session_is_eos(const weir_session *s, int32_t id);

/* rows.c: building one forward call over several sessions. */
typedef struct weir_rows {
    int32_t n_row, n_out;
} weir_rows;
/* Input number `input` of the session's timeline, at position base + input of its self cache. */
void weir__rows_add(weir_engine *e, weir_rows *r, const weir_session *s, int32_t token, int64_t input,
                    bool wanted);
/* Inputs [cached, upto) of the timeline that the side lacks, `wanted` marks the last one. */
void weir__rows_catch_up(weir_engine *e, weir_rows *r, weir_session *s, int side, int64_t upto, bool wanted);
/* The call itself; logits (backend) of the n_out wanted rows in order. */
weir_status weir__rows_run(weir_engine *e, const weir_rows *r, int side, float *logits);
/* Statistics of the n_row rows of logits that weir__rows_run made last, under buf.law_of, into entries [0,
 * n_row) of an array of e->dev; buf.law must have been put. */
weir_status weir__rows_stats(weir_engine *e, int side, const float *logits, int n_row, weir_row_stats *out);
/* Draws of drafter rows into buf.drawn and buf.draft_logp; laws, positions and block rows as the buffers say,
 * stats an array of e->dev. */
weir_status weir__rows_draw(weir_engine *e, const float *logits, int n_row, const weir_row_stats *stats);
/* The logit of token[i] in row i of logits, for n rows, into buf.picked (n). */
weir_status weir__rows_pick(weir_engine *e, int side, const float *logits, int n, const int32_t *token);
void weir__rows_book(weir_session *s, int side, int n_row); /* a call of a side with n_row rows of this
                                                              session */

/* score.c: a prompt and a completion that may be scored: ids of the vocabulary that fit the context. EINVAL,
 * ETOOLONG. */
weir_status weir__score_check(const weir_engine *e, const int32_t *prompt, size_t n_prompt,
                              const int32_t *completion, size_t n_completion, weir_err *err);

/* speculative.c, sequential.c: one block, one token for each session of a list. */
weir_status weir__block_speculative(weir_engine *e, weir_session **s, int n, weir_err *err);
weir_status weir__tick_sequential(weir_engine *e, weir_session **s, int n, weir_err *err);

#endif /* WEIR_HOST_ENGINE_H */
