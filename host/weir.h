/* weir: speculative cascades. The one header front ends see.
 *
 * weir_engine   both loaded models, their tokenizer, the backend, the page pools. Opened from options;
 *               reading from several threads is safe, one thread at a time steps.
 * weir_session  one request's timeline: prompt, emitted tokens with source and log-probability, sampling and
 *               deferral settings, seed. Belongs to the engine it was created on; free it before the engine.
 * step          weir_step runs up to max_blocks cascade blocks for n sessions, any mix of settings.
 *
 * C11, no library or CUDA type. Functions return 0 or a negative weir_status; those that a user's input can
 * fail fill `err` with one line (NULL allowed). Outputs are untouched on failure. Borrowed pointers say
 * until when. Strings are UTF-8, not necessarily valid where they come from a user. */
#ifndef WEIR_HOST_WEIR_H
#define WEIR_HOST_WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "host/bench.h"             /* weir_bench: how long the parts of a block take */
#include "host/draft.h"             /* weir_draft_kind: what drafts; WEIR_NGRAM */
#include "host/replay.h"            /* weir_replay: what other rules would have done */
#include "host/rank_plan.h"         /* weir_rank_plan, weir_ranks_facts */
#include "host/chat/chat.h"         /* chat templates: weir_chat_template, weir_chat_render */
#include "kernels/accept/law.h"     /* weir_rule, weir_rule_facts, weir_rule_parse, WEIR_GAMMA_MAX */
#include "kernels/base/clock.h"     /* weir_seconds */
#include "kernels/base/interrupt.h" /* weir_interrupt */
#include "kernels/base/mem.h"       /* weir_alloc, weir_free, weir_set_allocator */
#include "kernels/base/status.h"    /* weir_status, weir_err */

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_VERSION "0.1.0"

typedef struct weir_engine weir_engine;
typedef struct weir_session weir_session;

/* ---- engine -------------------------------------------------------------------------------------------- */

typedef struct weir_engine_options {
    const char *model;       /* the verifier: a checkpoint directory, or a GGUF file (required) */
    const char *model_draft; /* the drafter, or NULL: a T5 for a T5, a decoder-only model for such a one, at
                                temperature 0 with a vocabulary of its own, too (docs/vocabularies.md);
                                WEIR_NGRAM: none, drafts are looked up in prompt and output */
    /* What float matrices of products become at load (docs/quantize.md): "q8_0", "fp8"; NULL: they stay. A
     * quantised verifier has another law; a quantised drafter changes only the speed of the rule exact */
    const char *quantize, *quantize_draft;
    const char *device; /* "cpu", "auto", "cuda[:N]", or one for each rank, "cuda:0,1"; NULL = "auto" */
    const char *isa;    /* CPU instruction set: "portable", "avx2", "avx512", "avx512bf16",
                                "amx"; NULL = best */
    int n_thread;       /* 0 = cores this process may use */
    int n_parallel;     /* sessions whose pages exist at once; 0 = 1 */
    int ctx_size;       /* context length. Encoder–decoder: prompt and output each (0 = 512).
                                Decoder-only: both together (0 = 4096, or what it was trained for if less) */
    int lookup_min, lookup_max; /* WEIR_NGRAM: tokens that a suffix must have, and that count at most, 1 …
                                   WEIR_LOOKUP_MOST; 0 = WEIR_LOOKUP_MIN, WEIR_LOOKUP_MAX */
    int max_draft;              /* largest gamma a session may ask for, 1 … WEIR_GAMMA_MAX; 0 = that */
    const char *costs;  /* what gamma auto goes by, as weir_engine_facts.costs; NULL = measured at open */
    bool fixed_gamma;   /* sessions of WEIR_GAMMA_AUTO are refused, and nothing is measured for them */
    bool dry_run;       /* plan only: read configs, refuse nothing for lack of memory, load no weights */
    bool strict_config; /* refuse a directory with fields or tensors that weir does not know */
    bool no_graph;      /* device: the host calls every op itself (debugging: the same tokens, slower) */
    const char *chat_template; /* name of the chat format (host/chat/chat.h); NULL = the template that the
                                  checkpoint has */
    const char *chat_template_file; /* a Jinja template in a file, where there is no name; NULL = none */
    bool chat_required;  /* refuse a checkpoint whose chat format is unknown, before anything is loaded */
    size_t memory_limit; /* bytes the plan may take of the device's memory; 0 = what is free there */
    size_t kv_bytes;     /* pages of keys and values of both models, all sessions together. Sessions take them
                            as they grow, and a step that finds too few returns EPAGES; 0 = every session of
                            n_parallel can fill its context */
    int tp;              /* ranks that share both models: 1, 2, 4, 8 (0 = 1) */
    int draft_tp; /* of them, those that share the drafter's layers: 1 (each rank has them all) or all; 0 =
                     the engine measures and chooses when it opens (draft_choice). No token depends on it */
    const char
        *comm; /* ranks are "local" threads (NULL, "auto"), or processes of an "mpi" job, see weir_follow */
    double comm_timeout; /* seconds after which a silent rank ends the group; 0 = 30 */
    bool prefix_cache;   /* prompts that begin like earlier ones take over those' keys and values, of both
                            models, in chunks of the backend (an encoder's as a whole), as long as pages are
                            free; every token stays what it was. Not of a model with sliding layers */
    /* Asked by every call that runs a model, between chunks of a prompt and at block edges: once true, a step
     * ends its sessions as cancelled, other calls return ECANCELED. */
    weir_interrupt interrupt;
} weir_engine_options;

weir_engine_options weir_engine_options_default(void);

/* Reads both checkpoints, opens the device, makes the memory plan, refuses with its figures if it does not
 * fit, then loads. "cuda" never falls back; "auto" is the first CUDA device if there is one, else the CPU
 * (facts say why). A chat format that is asked for by name must be one that the vocabulary has the tokens
 * for, a template in a file one that can be run; a checkpoint's template that cannot is no failure. */
weir_status weir_engine_open(weir_engine **out, const weir_engine_options *opt, weir_err *err);
void weir_engine_close(weir_engine *e); /* NULL allowed */

/* All that a process calls whose facts say rank > 0: it works for rank 0 until that closes. ECOMM: the group
 * has failed, EINVAL: this is rank 0. */
weir_status weir_follow(weir_engine *e, weir_err *err);

/* What was decided at open, for a line on the screen. Strings are borrowed until close. */
typedef struct weir_engine_facts {
    const char *device;             /* "cpu", "cuda:0": what runs */
    const char *about;              /* the device in words; the instruction set on the CPU */
    const char *graph, *team, *pdl; /* a CUDA device's ways (docs/gpu.md) as they are now; NULL elsewhere */
    const char *isa;                /* CPU instruction set; NULL on another device */
    const char *device_note;        /* why "auto" took the CPU in a build with CUDA; NULL: nothing to say */
    int n_thread;                   /* 0 on another device than the CPU */
    int n_parallel, ctx_size, max_draft;
    weir_draft_kind draft;                          /* of its blocks */
    bool has_draft, has_tokenizer, encoder_decoder; /* has_draft: a drafter was loaded */
    int lookup_min, lookup_max;                     /* of prompt lookup; 0 without */
    const char *apart;       /* WEIR_DRAFT_TEXT: where the vocabularies differ first, a line; else NULL */
    int32_t n_vocab;         /* tokens that can be emitted; padding rows are not counted */
    int64_t n_param[2];      /* [0] verifier, [1] drafter */
    uint64_t fingerprint[2]; /* of the checkpoint's tensors: names, shapes and some of their bytes */
    int32_t n_vocab_rows[2];
    const char *dtype[2];                     /* of the matrices */
    const char *quantized[2];                 /* what the options quantise them to, or NULL; */
    int32_t n_quantized[2], n_unquantized[2]; /* how many, and those that stay as the file has them */
    int32_t n_layer_enc[2], n_layer_dec[2], dim[2], ff_dim[2], n_head[2], n_head_kv[2], head_dim[2];
    int32_t dim_enc[2], ff_dim_enc[2], n_head_enc[2], n_head_kv_enc[2], head_dim_enc[2]; /* T5Gemma; else 0 */
    int32_t n_expert[2], n_expert_used[2], expert_ff[2],
        shared_ff[2];       /* of a layer that mixes; 0: none does */
    const char *ignored[2]; /* what weir does not know in a directory: "config.json: a, b"; or NULL */
    const char *family[2];  /* "t5 (gated gelu_new, untied head)", "qwen2 (silu, tied head, GGUF)" */
    /* models with rotary embeddings (T5Gemma: its decoder); elsewhere 0 and NULL */
    int32_t window[2], n_layer_sliding[2]; /* positions that a sliding layer sees, and how many layers
                                              slide */
    int32_t n_ctx_train[2];                /* positions it was trained for; 0 = unknown */
    const char *rope[2];                   /* rotary embeddings: "plain", "linear", "llama3", "yarn",
                                              "longrope, short divisors", "longrope, long divisors" */
    float rope_theta[2], rope_factor[2], rope_theta_sliding[2];
    int32_t bos_id;        /* -1 if none */
    bool add_bos;          /* a prompt's ids begin with it */
    int32_t eos[8], n_eos; /* end-of-text ids, those that end a turn of the chat format among them */
    const char *bos_text, *eos_text; /* how beginning and end of text are spelled; NULL: not known */
    const char *chat_template; /* name of the chat format, or what the template is that is run, in words;
                                     NULL: none, and chat_note says why */
    const char *chat_note;
    int32_t start_id; /* decoder start of encoder-decoders; else -1 */
    /* the memory plan, bytes of the device's memory; the CPU's is the host's. available 0: unknown */
    size_t weights[2], kv_per_session[2], kv_total, scratch, plan_total, available;
    int64_t kv_pages[2];  /* pages of 64 positions, of all layers that do not slide; those of an encoder's
                            sources among them */
    bool prefix_cache[2]; /* whether a model's prompts are kept */
    size_t host_total, host_available; /* beside it, in the host's; 0 on the CPU */
    /* The plan above is rank 0's, plan_total that of all ranks, or of those that rank 0's device holds */
    int n_rank, draft_rank,
        rank;                 /* all; that share the drafter's layers; this process's: above 0 it follows */
    const char *draft_choice; /* how the engine came to draft_rank, a line; of a dry run, that it has measured
                                 nothing: the plan is then that of whole layers. NULL: the options said it */
    const char *comm;         /* "local", "mpi"; NULL: one rank, and the following is 0 */
    const char *exchange;     /* of devices: "peer memory", "NCCL"; NULL on the CPU, and before models load */
    const char *exchange_why; /* why not by peer memory; NULL: it is, or was not wanted */
    int32_t exchanges[2];     /* of a call of each model with logits */
    size_t exchange_row[2];   /* bytes that a rank gives in these for a row: the largest */
    weir_rank_plan rank_plan[WEIR_MAX_RANKS];
    /* What gamma auto goes by, in tokens of the verifier alone: "D:V1,V2,...", a step of the drafter, then
     * verifying and closing blocks of 1, 2, … drafts, in steps of 1/32; later ones grow as the last two.
     * Options with this text open an engine with the same table. NULL: a dry run, no drafter, fixed_gamma */
    const char *costs;
    const char *costs_from; /* "measured", "given", or "a guess": there was nothing to be measured */
    double load_seconds;
} weir_engine_facts;

void weir_engine_get_facts(const weir_engine *e, weir_engine_facts *out);
/* Blocks can be run. */
static inline bool weir_can_draft(const weir_engine_facts *f) { return weir_draft_facts(f->draft)->blocks; }

/* Pages of a model's keys and values (0 verifier, 1 drafter), and those of them that a session can take. Any
 * thread may ask. 0 and 0 without a drafter. */
void weir_engine_pages(const weir_engine *e, int side, int64_t *n_free, int64_t *n_total);

/* The ranks of an engine so far. Any thread may ask. */
void weir_engine_ranks(const weir_engine *e, weir_ranks_facts *out);

/* Between steps: the prefix cache forgets all that no session uses. Its pages counted as free before. */
void weir_prefix_clear(weir_engine *e);

/* ---- tokenizer ----------------------------------------------------------------------------------------- */

/* Ids of a text as the checkpoint wants a prompt when add_special: end-of-text appended for T5, bos in front
 * where a decoder-only model's tokenizer puts it. parse_special: what spells a control token in the text
 * becomes it, as raw prompts want; else it is characters. Added tokens that are no control tokens, and T5's
 * sentinels, are found in either case. Returns in *ids an array of *n_ids owned by the caller
 * (weir_ids_free). ENOTSUP without a tokenizer. Invalid UTF-8 is never an error. */
weir_status weir_tokenize(const weir_engine *e, const char *text, size_t bytes, bool add_special,
                          bool parse_special, int32_t **ids, size_t *n_ids, weir_err *err);
void weir_ids_free(int32_t *ids);

/* Ids of segments (host/chat/chat.h): special ones are the token of that name, runs of the others one plain
 * text each; nothing is added. ENOTSUP names the token that is missing from the vocabulary. *ids as above. */
weir_status weir_tokenize_segments(const weir_engine *e, const weir_segment *segments, size_t n,
                                   int32_t **ids, size_t *n_ids, weir_err *err);

/* Ids of a conversation in the engine's chat format, up to where the answer begins. open_last: the last
 * message, the assistant's, is that beginning and is continued: no end of its turn follows. ENOTSUP where the
 * engine has no format, with the names to choose from, and where a template changes the end of a message that
 * is to be continued; EINVAL as weir_chat_render. *ids as above. */
weir_status weir_chat_tokenize(const weir_engine *e, const weir_chat_message *messages, size_t n,
                               bool open_last, int32_t **ids, size_t *n_ids, weir_err *err);

/* The text of it, zero-terminated, in which tokens of the format cannot be told from a message that spells
 * them: for people to read. *text is the caller's (weir_text_free). Errors as above. */
weir_status weir_chat_prompt(const weir_engine *e, const weir_chat_message *messages, size_t n,
                             bool open_last, char **text, size_t *bytes, weir_err *err);

/* Jinja text of the chat template: the file's that was asked for, else the checkpoint's, even where it cannot
 * be run here; NULL: there is none, or a format was asked for by name. Borrowed until close. */
const char *weir_chat_template_text(const weir_engine *e);

/* Text of ids; control pieces (end-of-text, padding) are left out. Owned by the caller (weir_text_free),
 * zero-terminated. EINVAL names the first id outside the vocabulary. */
weir_status weir_detokenize(const weir_engine *e, const int32_t *ids, size_t n_ids, char **text,
                            size_t *bytes, weir_err *err);
void weir_text_free(char *text);

/* The bytes that one id stands for within a text, perhaps a part of a character; its name, if it is a control
 * token. Owned by the caller (weir_text_free), zero-terminated. EINVAL outside the vocabulary, ENOTSUP
 * without a tokenizer. */
weir_status weir_token_bytes(const weir_engine *e, int32_t id, char **bytes, size_t *n, weir_err *err);

/* The piece of one id as the vocabulary spells it; NULL out of range. Borrowed until close. */
const char *weir_token_piece(const weir_engine *e, int32_t id);

/* ---- session ------------------------------------------------------------------------------------------- */

typedef enum weir_method {
    WEIR_METHOD_SPECULATIVE = 0, /* draft, verify, accept under the rule (SpecDecode … TokenSpecCascade,
                                    lossy) */
    WEIR_METHOD_VERIFIER,        /* the verifier alone */
    WEIR_METHOD_DRAFTER,         /* the drafter alone */
    WEIR_METHOD_TOKEN_CASCADE,   /* sequential, rule sees q only (chow, chow-log), at most 10 drafter tokens
                                    in a row */
    WEIR_METHOD_ORACLE_CASCADE,  /* sequential, both models at each position; gate rules only */
    WEIR_METHOD_SEQUENCE_CASCADE /* drafter to the end; its mean or summed log-probability < -alpha: verifier
                                    instead */
} weir_method;

/* ENOTSUP for what drafts of the kind cannot serve (weir_draft_info), with what they can. */
weir_status weir_draft_check(weir_draft_kind kind, weir_method method, const weir_law *law, weir_err *err);

const char *weir_method_name(weir_method m); /* "speculative", "token-cascade", … */
int weir_method_parse(const char *name);     /* -1 unknown */

/* Gamma by itself: chosen block by block from the session's past and the engine's costs, up to max_draft and
 * WEIR_GAMMA_AUTO_MAX (kernels/loop/gamma.h). The law stays the rule's. Where drafts do not pay, a session
 * goes on as the verifier alone, unless that has another law. Prompt lookup has WEIR_GAMMA_LOOKUP. */
enum { WEIR_GAMMA_AUTO = 0, WEIR_GAMMA_AUTO_MAX = 10, WEIR_GAMMA_LOOKUP = 5 };

/* One of the tokens that the verifier holds likeliest at a position. */
enum { WEIR_N_TOP_MAX = 20 };
typedef struct weir_top {
    int32_t id;
    float logprob; /* raw log p, as an event's */
} weir_top;

typedef struct weir_session_options {
    weir_method method;
    weir_law law;   /* rule, alpha, beta, temp, top_k, top_p, min_p, gate, bonus, block_verify,
                                  measure_reject, exact_first; key is the engine's own */
    int n_draft;    /* gamma: drafted tokens a block, 1 … max_draft, or WEIR_GAMMA_AUTO */
    int max_tokens; /* output limit, 0 … ctx_size (0: the prompt is read and nothing written);
                                  end-of-text is not counted. Of a decoder-only
                                  model at most ctx_size - n_prompt are emitted, then the session finishes as
                                  at its limit */
    uint64_t seed;
    uint32_t choice;         /* index among several answers to one prompt */
    bool seq_conf_sum;       /* sequence cascade: summed instead of mean log-probability */
    bool ignore_eos;         /* go on past end-of-text (timings) */
    const char *const *stop; /* stop strings; copied */
    int n_stop;              /* 0 … 16 */
    uint64_t cache_salt; /* sessions share prompts of the prefix cache with those of the same salt alone */
    int n_top;           /* the verifier's likeliest tokens beside each one, 0 … WEIR_N_TOP_MAX; changes no
                                token. A device then runs one block a launch for all that it steps together */
} weir_session_options;

weir_session_options weir_session_options_default(void); /* speculative, exact, temp 1, gamma auto, 128
                                                            tokens, seed 0 */

/* One token as it is decided; text is what became printable by it (may be empty: never half a character). */
typedef struct weir_token_event {
    int32_t id;
    int source;           /* weir_source */
    float logprob;        /* verifier's raw log p; NaN where the verifier never saw the position */
    float policy_logprob; /* log of the law it was drawn from; NaN where that has no closed form */
    const char *text;     /* borrowed for the call */
    size_t bytes;
    const weir_top *top; /* (n_top) likeliest first, the smaller id first among equals; borrowed until the
                            session is freed */
    int n_top;           /* 0 where the verifier never saw the position, and where none were asked for */
} weir_token_event;

/* Called from inside weir_step, in order; return false to cancel the session after this token. Tokens that a
 * stop string might still take back are held until that is decided. */
typedef bool (*weir_token_fn)(void *ud, weir_session *s, const weir_token_event *ev);

/* Prompt ids are taken as they are, at least one (a decoder-only model may be given bos alone). ETOOLONG
 * names the prompt's length and the context, in which a decoder-only model needs room for an output token,
 * too, or says that all pages of the engine would not hold prompt and max_tokens; ENOTSUP what the method,
 * rule or missing drafter does not allow; EINVAL an id outside the vocabulary or an option out of range. */
weir_status weir_session_create(weir_engine *e, const weir_session_options *opt, const int32_t *prompt,
                                size_t n_prompt, weir_token_fn on_token, void *ud, weir_session **out,
                                weir_err *err);
void weir_session_free(weir_session *s); /* NULL allowed; gives its pages back */

/* Runs about max_positions positions of the prompt for a session that is not finished, and takes a slot for
 * it as weir_step does. It runs in steps of a layer of a chunk (of an encoder's work as large a part),
 * rounded down, but one position at least. *left: positions that are still to be run, of both models, 0 when
 * the prompt is ready or the session has ended. weir_step runs what is left; bits do not depend on the
 * slices. max_positions 0: the slot alone; else pages for all of the prompt are taken at once. EINVAL: no
 * slot is free. EPAGES: too few pages are; what the call took it has given back. Errors as weir_step. */
weir_status weir_session_prefill(weir_session *s, int64_t max_positions, int64_t *left, weir_err *err);

/* An encoder was left within its prompt. It can be within one: a slice of another session first runs the rest
 * of it. (A decoder can be within as many as take turns in a queue.) */
bool weir_session_in_part(const weir_session *s);

/* Between steps: gives slot and pages back and keeps the tokens. weir_session_prefill and weir_step go on as
 * if nothing had been: they read the prompt again, and what was written, and every later token has the bits
 * that it would have had. Nothing for a session without a slot. */
void weir_session_suspend(weir_session *s);

/* The last weir_step or weir_session_prefill of it found too few pages for it. */
bool weir_session_wants_pages(const weir_session *s);

/* Ends the session at the next block edge, or between two chunks of its prompt; the only session call that
 * other threads and signal handlers may make while it is stepped. */
void weir_session_cancel(weir_session *s);

typedef enum weir_finish {
    WEIR_RUNNING = 0,
    WEIR_FINISH_STOP,
    WEIR_FINISH_LENGTH,
    WEIR_FINISH_CANCELLED
} weir_finish;
const char *weir_finish_name(weir_finish f); /* "running", "stop", "length", "cancelled" */

/* What ended a session, closer than its finish. */
typedef enum weir_ended {
    WEIR_ENDED_NOT = 0,
    WEIR_ENDED_EOS,       /* an end-of-text token */
    WEIR_ENDED_STOP,      /* a stop string */
    WEIR_ENDED_LIMIT,     /* max_tokens */
    WEIR_ENDED_CONTEXT,   /* the context is full */
    WEIR_ENDED_CANCELLED, /* weir_session_cancel, the callback, or a failure of its own */
} weir_ended;
const char *weir_ended_name(weir_ended w); /* "not", "eos", "stop", "limit", "context", "cancelled" */

const char *weir_source_name(int source); /* "kept", "accepted", "resampled", "bonus", "drafter",
                                                "verifier" */

/* Runs up to max_blocks blocks (sequential methods: tokens) for every unfinished session of the list;
 * sessions need pages, so at most n_parallel of an engine may be unfinished and stepped at once. A session's
 * tokens do not depend on the others. OK, and ELOGITS (a row of logits was unusable, NaN: that session is
 * finished as cancelled, the others go on, err names the token), promise for max_blocks >= 1 that some
 * session got further or ended, if any was unfinished: a loop that goes on after these two alone comes to an
 * end. EPAGES: the sessions of the list together need more pages for a block than are free. No token was
 * decided, and the call may be made again once a session has ended or was suspended, or with a shorter list;
 * of one session alone it cannot be said while no other has a slot. After any other status no further step of
 * these sessions can be trusted. */
weir_status weir_step(weir_engine *e, weir_session *const *sessions, int n, int max_blocks, weir_err *err);

/* A weir_step that runs, or the next one, returns at the next block edge; blocks are never cut. Any thread
 * may call. */
void weir_engine_yield(weir_engine *e);

/* What a session did. Rows and blocks count the verifier's passes after the prompt. */
typedef struct weir_session_stats {
    int64_t n_prompt, n_output;
    int64_t n_prompt_cached[2]; /* of the prompt, what each model had in the prefix cache */
    int64_t blocks;             /* accept steps (sequential methods: 0) */
    int64_t drafted, accepted;  /* tokens; accepted includes kept */
    int64_t kept, resampled, bonus, from_drafter, from_verifier; /* emitted tokens by source */
    int64_t rows_examined, rows_deferred; /* rows the accept step looked at, and of those deferred */
    double reject_mass; /* sum of R over examined rows; NaN without weir_law.measure_reject, unless free */
    int64_t verifier_calls, verifier_rows, drafter_calls, drafter_rows;
    int64_t accept_hist[WEIR_GAMMA_MAX + 1]; /* blocks by number of accepted drafts */
    int64_t draft_hist[WEIR_GAMMA_MAX + 1];  /* by number of drafts */
    bool settled;           /* gamma auto: it has come to be without drafts, as the verifier alone */
    bool deferred_sequence; /* sequence cascade: the verifier's text stands */
    double seconds_prefill, seconds_draft, seconds_verify, seconds_accept, seconds_total, seconds_first;
} weir_session_stats;

/* All borrowed until the next step or free. Arrays have n entries. */
typedef struct weir_session_view {
    const int32_t *ids;
    const uint8_t *sources; /* weir_source */
    const float *logprobs, *policy_logprobs;
    size_t n;
    const char *text; /* of all emitted tokens, stop string cut off; while it runs, whole characters only */
    size_t bytes;
    weir_finish finish;
    const char *failure;                   /* ELOGITS: the line of the step that ended it; else NULL */
    int32_t eos;                           /* end-of-text id that ended it, not among ids; -1: none */
    float eos_logprob, eos_policy_logprob; /* of that id, as an event's; NaN where there is none */
    const weir_top *eos_top;               /* (n_eos_top) */
    int n_eos_top;
    const weir_top *top; /* (n, n_top) of the options; an entry's id is -1 where the verifier never saw the
                            position; NULL if n_top is 0 */
    const char *costs;   /* what gamma auto went by (weir_engine_facts.costs); NULL of others */
    const char *graph, *team, *pdl; /* the device's ways, as weir_engine_facts has them */
    const char *quantized[2];       /* the same */
    weir_ended ended_by;
    int stop; /* which stop string ended it; -1: none */
    weir_session_stats stats;
} weir_session_view;

weir_finish weir_session_state(const weir_session *s); /* the view's finish alone: cheap */
/* Changes nothing that a later token, text or view depends on. */
void weir_session_get(weir_session *s, weir_session_view *out);

/* ---- queue --------------------------------------------------------------------------------------------- */

/* Requests of any number of callers over one engine, the only scheduler: slots are given by priority, then to
 * the client with the fewest tokens in the last minute, then in order of arrival. Prompts are run in slices
 * between blocks (up to four take turns, and a slice keeps those who are being answered waiting for 20 ms or
 * so), and requests join and leave at block edges. Tokens are those of the request alone, whatever else is
 * served. Every function may be called by any thread, but for open and close.
 *
 * There is no thread of the queue's own: who waits in weir_queue_next runs the next round, and while one
 * thread does, others wait for what it brings. While a queue is open it alone steps the engine.
 *
 * Tokens are with the thread that got them until it calls weir_queue_next again. Until then no thread gets
 * another event of that request, so that several threads may serve one queue. A thread that leaves calls it
 * with ev NULL. */
typedef struct weir_queue weir_queue;
typedef struct weir_request weir_request;

/* All zeros are the defaults. */
typedef struct weir_queue_options {
    /* For how long slices of prompts may keep those waiting who are being answered; 0 = 0.02, which no reader
     * notices; INFINITY: prompts are run whole, so that requests which come together are stepped together, as
     * batch jobs like it. */
    double stall_seconds;
    int max_requests;  /* that wait or run; 0 = no bound */
    size_t max_tokens; /* of prompts that wait; 0 = no bound. A lone submit is taken whatever its length */
    /* After each step, on the thread that ran it, which waits meanwhile: how long it took. NULL: none */
    void (*on_step)(void *ud, double seconds);
    void *ud;
} weir_queue_options;

/* opt NULL: the defaults. Close it before e is closed. */
weir_status weir_queue_open(weir_queue **out, weir_engine *e, const weir_queue_options *opt, weir_err *err);
void weir_queue_close(weir_queue *q); /* NULL allowed; frees its requests; no other call may be under way */

enum { WEIR_PRIORITY_MIN = -8, WEIR_PRIORITY_MAX = 8 };
/* Arrays and strings are copied. */
typedef struct weir_queue_job {
    weir_session_options options;
    const int32_t *prompt;
    size_t n_prompt;
    const int32_t
        *completion; /* not NULL: a scoring job, the log-probabilities of these ids after the prompt;
                                  of the options n_top and cache_salt count */
    size_t n_completion;
    int priority;          /* WEIR_PRIORITY_MIN … WEIR_PRIORITY_MAX, lower first */
    uint64_t client;       /* whose it is */
    double until;          /* weir_seconds() at which it ends, wherever it is; INFINITY = never */
    double answer_seconds; /* after its first token; INFINITY = no limit */
    void *ud;
} weir_queue_job;

weir_queue_job weir_queue_job_default(void); /* default options, priority 0, no deadline; no prompt yet */

/* Takes n >= 1 requests, all or none; out: n of them. Checks and errors are those of weir_session_create;
 * also EINVAL for a priority out of range, a NaN, or more requests than the queue ever holds; EBUSY past a
 * bound; what broke the engine before. */
weir_status weir_queue_submit(weir_queue *q, const weir_queue_job *jobs, int n, weir_request **out,
                              weir_err *err);
void weir_queue_cancel(weir_request *r); /* ends it soon, as cancelled */
void weir_request_free(
    weir_request *r); /* NULL allowed; cancels one that has not ended, with no further event */

typedef enum weir_queue_event_kind {
    WEIR_QUEUE_IDLE,   /* nothing is left to do, the time is over, or weir_queue_wake was called */
    WEIR_QUEUE_TOKENS, /* tokens were decided */
    WEIR_QUEUE_END,    /* the request has ended: its last event */
} weir_queue_event_kind;

typedef struct weir_queue_event {
    weir_queue_event_kind kind;
    weir_request *request;
    void *ud;                       /* of its job */
    const weir_token_event *tokens; /* n_token of them; like their texts valid until this thread's next call
                                       of weir_queue_next, or weir_request_free */
    size_t n_token;
    /* END: */
    weir_status status; /* why it failed; else OK, and view.finish says how it ended */
    weir_err err;
    bool deadline;          /* its time was over; before its first token view.n is 0 */
    double queue_seconds;   /* from its submit to the first slice of its prompt, or to its end before that */
    weir_session_view view; /* valid until weir_request_free */
    /* of a scoring job, as valid: */
    const float *scores;       /* (n_score) */
    const weir_top *score_top; /* (n_score, n_top of its options), NULL if n_top is 0 */
    size_t n_score;
} weir_queue_event;

/* The next event of any request, tokens of one in order. Works while there is something to do; with nothing
 * to do waits wait_seconds (0: not at all, INFINITY: for ever) for a request. */
void weir_queue_next(weir_queue *q, double wait_seconds, weir_queue_event *ev); /* ev NULL: takes none */
void weir_queue_wake(weir_queue *q); /* one weir_queue_next returns, idle if it has nothing else */

typedef struct weir_queue_facts {
    int waiting, prompts, running; /* for a slot; whose prompts are being run; who are being answered */
    size_t waiting_tokens;         /* of the prompts that wait */
    int64_t suspended_total;       /* how often a request gave its pages to others */
    double expected_wait_seconds;  /* for a slot, of a request that came now; 0 until one has ended */
    double round_began;            /* weir_seconds() of the round that runs; 0: none does */
} weir_queue_facts;

void weir_queue_get_facts(weir_queue *q, weir_queue_facts *out); /* cheap */

/* ---- score --------------------------------------------------------------------------------------------- */

/* log-probability (raw softmax of the verifier, as transformers gives it) of each completion id given the
 * prompt and those before it. logprobs: n_completion floats. A plain text is scored by a decoder-only model
 * as the completion of its first token. ETOOLONG, EINVAL as above; ELOGITS: a row holds NaN. */
weir_status weir_score(weir_engine *e, const int32_t *prompt, size_t n_prompt, const int32_t *completion,
                       size_t n_completion, float *logprobs, weir_err *err);

/* The same in steps, between which sessions may be stepped: no logits but those of one call are ever kept.
 * A scoring takes a slot with its first step and gives it back with its last; what it is given is
 * copied. */
typedef struct weir_scoring weir_scoring;

/* n_top: the verifier's likeliest tokens at each position of the completion, too, 0 … WEIR_N_TOP_MAX.
 * cache_salt: of the prompt, as a session's. */
weir_status weir_score_begin(weir_engine *e, const int32_t *prompt, size_t n_prompt,
                             const int32_t *completion, size_t n_completion, int n_top, uint64_t cache_salt,
                             weir_scoring **out, weir_err *err);
/* Runs up to max_rows positions: of the prompt, as weir_session_prefill does, then of the completion, in rows
 * of one call. *left: positions that are still to be run; bits do not depend on the steps. EINVAL: no slot is
 * free; ECANCELED: the engine's calls are interrupted; EPAGES: too few are free, the call may be repeated;
 * ELOGITS; else as weir_step. */
weir_status weir_score_step(weir_scoring *g, int64_t max_rows, int64_t *left, weir_err *err);
bool weir_score_in_part(const weir_scoring *g); /* as weir_session_in_part */
/* Of the first *n ids of the completion, which are done: log-probabilities, and top (*n, n_top), likeliest
 * first, the smaller id first among equals, id -1 past the end of a small vocabulary; NULL if n_top is 0.
 * Borrowed until the next step or the end. */
void weir_score_get(const weir_scoring *g, const float **logprobs, const weir_top **top, size_t *n);
void weir_score_end(weir_scoring *g); /* NULL allowed; before the engine is closed */

/* ---- both models over one text ------------------------------------------------------------------------- */

/* The rows of both models that predict completion token i, borrowed for the call; n_vocab entries count.
 * False stops. */
typedef bool (*weir_rows_fn)(void *ud, size_t i, const float *q_logits, const float *p_logits,
                             int32_t n_vocab);

/* Runs drafter and verifier once over a given completion, teacher-forced, and hands out the logits of each
 * position in order: what weir_replay_add takes. ENOTSUP without a drafter; ETOOLONG, EINVAL as
 * weir_score. */
weir_status weir_score_pair(weir_engine *e, const int32_t *prompt, size_t n_prompt, const int32_t *completion,
                            size_t n_completion, weir_rows_fn fn, void *ud, weir_err *err);

/* ---- one position of a rule ---------------------------------------------------------------------------- */

/* kernels/accept/accept.h says what each field means; arrays of n_vocab floats, each may be NULL. */
typedef struct weir_rule_result {
    float *pi, *keep, *accept, *residual;
    float reject, eta, beta;
    int deferred; /* 0, 1, -1 = the rule does not decide by row */
    bool has_keep, has_pi, has_residual;
} weir_rule_result;

weir_status weir_rule_eval(const weir_law *law, const float *q_logits, const float *p_logits, int32_t n_vocab,
                           weir_rule_result *out, weir_err *err);

/* Runs the real draft draw, accept and residual ops n_draw times, one position each (a one-token block), with
 * draws keyed by (seed, first … first + n_draw - 1), and adds the tokens to counts (n_vocab) and the
 * accepted ones to *n_accepted (NULL allowed): draws made in slices are those made at once. */
weir_status weir_rule_draw(const weir_law *law, const float *q_logits, const float *p_logits, int32_t n_vocab,
                           uint64_t seed, int64_t first, int64_t n_draw, int64_t *counts, int64_t *n_accepted,
                           weir_err *err);

#ifdef __cplusplus
}
#endif

#endif /* WEIR_HOST_WEIR_H */
