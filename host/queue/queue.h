#ifndef WEIR_HOST_QUEUE_QUEUE_H
#define WEIR_HOST_QUEUE_QUEUE_H

#include <pthread.h>

#include "host/weir.h"

/* The inside of a queue, for its files and their tests. */

/* Tokens of a request in order; the texts, one after another. */
typedef struct weir_queue_tokens {
    weir_token_event *token;
    char *text;
    size_t n, cap, text_len, text_cap;
} weir_queue_tokens;

typedef enum weir_request_state {
    WEIR_REQUEST_WAITING, /* for a slot */
    WEIR_REQUEST_PROMPT,  /* its prompt is being run, slice by slice */
    WEIR_REQUEST_RUNNING,
    WEIR_REQUEST_ENDED,
    WEIR_REQUEST_STATES
} weir_request_state;

struct weir_request {
    weir_queue *q;
    weir_session *session;
    void *ud;
    weir_request *next;       /* in order of arrival */
    weir_request *next_event; /* in order of their events, where notified */
    weir_request_state state;
    uint64_t turn;      /* among prompts */
    size_t n_token;     /* of its prompt */
    double came, begun; /* weir_seconds() of its submit, and of its first slice: 0 before */
    bool cancelled, orphan, notified, reported;
    bool held; /* its last event is with this thread, which has not asked for another since */
    pthread_t holder;
    bool prompt_done, starved; /* starved: no memory for a token; both the stepping thread's, like: */
    weir_queue_tokens fresh;
    weir_queue_tokens ready; /* under the lock */
    weir_queue_tokens taken; /* the caller's, since its last event */
    weir_status status;
    weir_err err;
};

struct weir_queue {
    weir_engine *e;
    weir_engine_facts facts;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stepping;
    weir_request *first, *first_event, *last_event;
    int n_unfinished, n_in[WEIR_REQUEST_STATES];
    size_t waiting_tokens;
    int n_coming; /* requests that were promised room and are being made; of them: */
    size_t coming_tokens;
    double hold_seconds, round_began; /* measured, of a slot; see weir_queue_facts */
    weir_queue_options options;
    uint64_t n_wake; /* calls of weir_queue_wake that no weir_queue_next has returned for */
    uint64_t turn, last_turn;
    weir_session **list;     /* (2 n_parallel) of a round: the stepping thread's */
    weir_request **listed;   /* as above */
    double position_seconds; /* measured, of a prompt's position */
    weir_status broken;
    weir_err broken_err;
};

/* tokens.c */
bool weir__queue_add_token(weir_queue_tokens *t, const weir_token_event *ev); /* false: no memory */
/* All of `from` after what `to` has; false: no memory, nothing moved. Into an empty one nothing is
 * allocated. */
bool weir__queue_move_tokens(weir_queue_tokens *to, weir_queue_tokens *from);
void weir__queue_free_tokens(weir_queue_tokens *t);

/* queue.c; with the lock, but for on_token, which a step calls, and free_request */
bool weir__queue_on_token(void *ud, weir_session *s, const weir_token_event *ev);
void weir__queue_free_request(weir_request *r);
/* Every change of a request's state, from and to "not in the queue" (-1): what is counted by state. */
void weir__queue_count_state(weir_queue *q, const weir_request *r, int from, int to);

/* submit.c; with the lock */
double weir__queue_expected_wait(const weir_queue *q); /* for a slot, of a request that came now */

#endif /* WEIR_HOST_QUEUE_QUEUE_H */
