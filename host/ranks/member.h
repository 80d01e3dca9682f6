#ifndef WEIR_HOST_RANKS_MEMBER_H
#define WEIR_HOST_RANKS_MEMBER_H

#include "host/ranks/message.h"

/* A rank that follows: models, pages and page tables, no sessions. */
typedef struct member_side {
    weir_model *model;
    weir_model_facts facts;
    void *pool[RANKS_TABLES];
    ranks_table table[RANKS_TABLES];
    int32_t *seen[RANKS_TABLES];         /* the tables as ops see them; the same arrays on the CPU */
    int32_t *cross_len, *seen_cross_len; /* the same of the sources' lengths */
    weir_kv kv;
    int32_t *prompt[WEIR_PROMPTS_OPEN]; /* (ctx_size) of each place */
    int32_t n_prompt[WEIR_PROMPTS_OPEN];
} member_side;

typedef struct ranks_member {
    const weir_engine *e; /* rank 0's: checkpoints and bounds, which do not change after the plan */
    weir_comm *comm;
    weir_isa isa;
    int n_thread;
    weir_backend *be;
    int32_t *rows; /* a device's: (4, n_row_max) of a call, from rank 0 */
    weir_graph *loop[WEIR_LOOP_KEYS];
    member_side side[2];
} ranks_member;

/* Opens the member's backend, as a rank of the group; then its models and pages. On failure, and at the end,
 * close. */
weir_status weir__member_join(ranks_member *m, weir_err *err);
weir_status weir__member_open(ranks_member *m, weir_err *err);
void weir__member_close(ranks_member *m);
/* Whether each rank's device has recorded a loop; every rank calls it, with its own answer. */
weir_status weir__loops_everywhere(weir_comm *comm, bool mine, bool *all);
/* Repeats rank 0's calls until it closes the group: true; or the group fails. */
bool weir__member_serve(ranks_member *m);

#endif /* WEIR_HOST_RANKS_MEMBER_H */
