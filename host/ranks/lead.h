#ifndef WEIR_HOST_RANKS_LEAD_H
#define WEIR_HOST_RANKS_LEAD_H

#include <pthread.h>

#include "host/ranks/member.h"

/* Rank 0's part, shared by the files of this folder. */

/* What the members have of a model's tables and prompts, so that only changes are sent. */
typedef struct lead_side {
    struct weir_ranks *r;
    int side;
    ranks_table table[RANKS_TABLES];
    int32_t *cross_len;
    int32_t *prompt[WEIR_PROMPTS_OPEN];
    int64_t n_prompt[WEIR_PROMPTS_OPEN]; /* 0: none, or not known any more */
} lead_side;

typedef struct lead_thread {
    ranks_member member;
    pthread_t thread;
    bool started;
} lead_thread;

struct weir_ranks {
    weir_engine *e;
    weir_comm *comm; /* rank 0's, or that of a process that follows */
    lead_thread member[WEIR_RANKS];
    lead_side side[2];
    ranks_words msg;
    bool recording; /* calls are noted in `script` and not made */
    ranks_words script;
};

/* Mirrors of what the members have, and the models' leads. */
weir_status weir__lead_models(struct weir_ranks *r);
weir_status weir__lead_exchange(struct weir_ranks *r, size_t bytes, int times); /* weir__ranks_exchange */
/* Tells the members that it is over, or ends the group. */
void weir__lead_close(struct weir_ranks *r);
void weir__lead_free(struct weir_ranks *r);

#endif /* WEIR_HOST_RANKS_LEAD_H */
