#ifndef WEIR_HOST_SERVE_WATCH_FAMILIES_H
#define WEIR_HOST_SERVE_WATCH_FAMILIES_H

#include "host/serve/watch/kinds.h"
#include "host/weir.h"

/* The tables that metrics.c counts by and prometheus.c writes: every metric is one line here. */

typedef enum watch_label { /* what the samples of a family differ in */
                           WATCH_LABEL_NONE,
                           WATCH_LABEL_FINISH,
                           WATCH_LABEL_REASON,
                           WATCH_LABEL_PHASE,
                           WATCH_LABEL_POSITION,
                           WATCH_LABEL_RULE,
                           WATCH_LABEL_SOURCE,
                           WATCH_N_LABEL
} watch_label;

/* X(id, name, label, help). One of no label is a single sample. */
#define WATCH_COUNTER_MAP(X)                                                                                \
    X(PROMPT_TOKENS, "prompt_tokens_total", NONE, "Tokens of prompts that were answered or begun.")         \
    X(GENERATION_TOKENS, "generation_tokens_total", NONE, "Tokens generated, end-of-text tokens included.") \
    X(REQUEST_SUCCESS, "request_success_total", FINISH, "Answers that have ended, by how.")                 \
    X(REJECTIONS, "admission_rejections_total", REASON, "Requests that were not taken, by reason.")         \
    X(PREFIX_QUERIES, "prefix_cache_queries_total", NONE, "Prompt tokens looked up in the prefix cache.")   \
    X(PREFIX_HITS, "prefix_cache_hits_total", NONE, "Prompt tokens that the prefix cache had.")             \
    X(CANCELLED, "cancelled_total", PHASE, "Answers cancelled, by where they were.")                        \
    X(DRAFTS, "spec_decode_num_drafts_total", NONE, "Blocks: drafts that the verifier has checked.")        \
    X(DRAFT_TOKENS, "spec_decode_num_draft_tokens_total", NONE, "Tokens drafted.")                          \
    X(ACCEPTED_TOKENS, "spec_decode_num_accepted_tokens_total", NONE, "Drafted tokens that stood.")         \
    X(ACCEPTED_AT, "spec_decode_num_accepted_tokens_per_pos_total", POSITION,                               \
      "Drafted tokens that stood, by their position in the block.")                                         \
    X(DEFERRALS, "deferrals_total", RULE, "Examined rows where the rule took the verifier's word.")         \
    X(EXAMINED_ROWS, "examined_rows_total", RULE, "Rows that a rule has judged.")                           \
    X(TOKENS, "tokens_total", SOURCE, "Tokens of ended answers, by who wrote them.")                        \
    X(UNKNOWN_FIELDS, "unknown_fields_total", NONE, "Fields of requests that mean nothing here.")

#define WATCH_HISTOGRAM_MAP(X)                                                                   \
    X(FIRST_TOKEN, "time_to_first_token_seconds", first, "Arrival to first token.")              \
    X(INTER_TOKEN, "inter_token_latency_seconds", token, "Time per token after the first ones.") \
    X(E2E, "e2e_request_latency_seconds", request, "Arrival to end.")                            \
    X(QUEUE_TIME, "request_queue_time_seconds", request, "Waiting for a slot.")                  \
    X(PREFILL_TIME, "request_prefill_time_seconds", request, "Reading the prompt.")              \
    X(DECODE_TIME, "request_decode_time_seconds", request, "First token to end.")                \
    X(PROMPT_SIZE, "request_prompt_tokens", size, "Tokens of a request's prompt.")               \
    X(OUTPUT_SIZE, "request_generation_tokens", size, "Tokens of an answer.")                    \
    X(STEP, "step_seconds", step, "One step of all running answers.")                            \
    X(REJECT_MASS, "reject_mass", share,                                                         \
      "Mean probability of an answer's examined rows to be rejected, where measured.")

enum {
#define WATCH_ENUM(id, ...) WATCH_##id,
    WATCH_COUNTER_MAP(WATCH_ENUM) WATCH_N_COUNTER,
};
enum { WATCH_HISTOGRAM_MAP(WATCH_ENUM) WATCH_N_HISTOGRAM };
#undef WATCH_ENUM

typedef struct watch_family {
    const char *name, *help;
    watch_label label;
} watch_family;

extern const watch_family watch_counters[WATCH_N_COUNTER];
extern const watch_family watch_histograms[WATCH_N_HISTOGRAM];
const double *watch_edges(int histogram, int *n); /* ascending, static */

const char *watch_label_name(watch_label l); /* "rule"; NULL of NONE */
int watch_label_size(watch_label l);         /* values it has; 1 of NONE */
/* Of value i: a static string, or number i in buf. */
const char *watch_label_value(watch_label l, int i, char buf[12]);
int watch_reason(
    const char *code); /* its number among the values of REASON; NULL and strangers are "other" */

/* Statuses of HTTP that are counted one by one; the last one, 0, stands for all others. */
enum { WATCH_N_STATUS = 20 };
extern const int watch_statuses[WATCH_N_STATUS];

enum { WATCH_CELLS_MAX = 32 }; /* values of a label, at most */

#endif /* WEIR_HOST_SERVE_WATCH_FAMILIES_H */
