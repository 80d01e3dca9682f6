#ifndef WEIR_HOST_QUEUE_QUEUE_H
#define WEIR_HOST_QUEUE_QUEUE_H

#include <pthread.h>

#include "host/weir.h"

/* The inside of a queue, for queue.c and its tests. */

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
    WEIR_REQUEST_ENDED
} weir_request_state;

struct weir_request {
    weir_queue *q;
    weir_session *session;
    void *ud;
    weir_request *next;       /* in order of arrival */
    weir_request *next_event; /* in order of their events, where notified */
    weir_request_state state;
    uint64_t turn; /* among prompts */
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
    int n_unfinished;
    uint64_t n_wake; /* calls of weir_queue_wake that no weir_queue_next has returned for */
    uint64_t turn, last_turn;
    weir_session **list;                    /* (2 n_parallel) of a round: the stepping thread's */
    weir_request **listed;                  /* as above */
    double stall_seconds, position_seconds; /* of a slice, at most; measured, of a prompt's position */
    weir_status broken;
    weir_err broken_err;
};

#endif /* WEIR_HOST_QUEUE_QUEUE_H */
