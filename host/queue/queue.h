#ifndef WEIR_HOST_QUEUE_QUEUE_H
#define WEIR_HOST_QUEUE_QUEUE_H

#include <pthread.h>

#include "host/queue/order.h"
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
    WEIR_REQUEST_LEAVING, /* it was given up while it waited: a step ends it without a slot */
    WEIR_REQUEST_PROMPT,  /* its prompt is being run, slice by slice */
    WEIR_REQUEST_RUNNING,
    WEIR_REQUEST_ENDED,
    WEIR_REQUEST_STATES
} weir_request_state;

struct weir_request {
    weir_queue *q;
    weir_session *session; /* NULL of a scoring job, which has this: */
    weir_scoring *scoring; /* in WEIR_REQUEST_PROMPT while it runs; NULL once it was given up */
    void *ud;
    weir_node in_all;
    weir_node in_events;  /* where notified */
    weir_node in_held;    /* where held */
    weir_node in_leaving; /* where LEAVING */
    weir_waiting wait;    /* where WAITING; its client until it ends */
    int seat;             /* among the active: PROMPT and RUNNING */
    weir_request_state state;
    uint64_t turn;             /* among prompts */
    int64_t n_written, n_left; /* tokens of its answer, and those that may follow */
    int n_suspended, n_idle;   /* n_idle: slices in a row that brought nothing */
    size_t n_token;            /* of its prompt, and of the completion that is scored */
    double came, begun;        /* when it was submitted, and its first slice began: 0 before */
    double due;                /* when it is over */
    size_t due_place;          /* among those that will be; WEIR_HEAP_OUT */
    double answer_seconds;     /* from its first token */
    bool answered, late;       /* it had its first token; its time was over before it ended */
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
    weir_queue_options options;
    bool shared; /* fewer pages than all slots could fill */
    int64_t suspended_total;
    double (*now)(void); /* weir_seconds */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stepping;
    weir_node all, events, held, leaving;
    weir_order order;
    weir_heap due;
    weir_request **active; /* (n_parallel), n_active of them */
    int n_active;
    int n_unfinished, n_in[WEIR_REQUEST_STATES];
    size_t waiting_tokens;
    int n_coming; /* requests that were promised room and are being made; of them: */
    size_t coming_tokens;
    double hold_seconds, round_began; /* measured, of a slot; see weir_queue_facts */
    uint64_t last_number;
    uint64_t n_wake; /* calls of weir_queue_wake that no weir_queue_next has returned for */
    uint64_t turn, last_turn;
    weir_request *in_part;   /* whose prompt goes on before any other's; NULL: nobody's */
    weir_session **list;     /* of a step: the stepping thread's */
    weir_request **listed;   /* as above */
    double position_seconds; /* measured, of a prompt's position */
    double least_seconds;    /* measured, of the smallest slices */
    double block_seconds;    /* measured, of a block of all that run */
    weir_status broken;
    weir_err broken_err;
};

/* tokens.c */
bool weir__queue_add_token(weir_queue_tokens *t, const weir_token_event *ev); /* false: no memory */
/* All of `from` after what `to` has; false: no memory, nothing moved. Into an empty one nothing is
 * allocated. */
bool weir__queue_move_tokens(weir_queue_tokens *to, weir_queue_tokens *from);
void weir__queue_free_tokens(weir_queue_tokens *t);

/* request.c; with the lock */
void weir__request_discard(
    weir_request *r);                      /* frees it, out of all lists; it has ended, or was never taken */
void weir__request_wait(weir_request *r);  /* it was taken, and waits */
void weir__request_begin(weir_request *r); /* from waiting to its prompt */
void weir__request_run(weir_request *r);   /* from its prompt to being answered */
void weir__request_suspend(weir_request *r); /* from either back to waiting, in its old place */
void weir__request_answered(weir_request *r, size_t n_token); /* it got so many more */
/* It has an event for its caller, perhaps, who has done with the one before. */
void weir__request_notify(weir_request *r);
void weir__request_cancel(weir_request *r); /* a step ends it; a scoring that waits ends at once */
void weir__request_fail(weir_request *r, weir_status status,
                        const char *why); /* the same, of its own trouble */
void weir__request_end(weir_request *r, weir_status status, const char *why);   /* it may be gone then */
void weir__queue_break(weir_queue *q, weir_status status, const weir_err *err); /* ends all */
void weir__queue_expire(weir_queue *q); /* cancels those whose time is over */

/* pages.c; with the lock */
bool weir__queue_has_pages(const weir_request *r); /* as many as it takes to begin */
/* A call found too few pages: somebody gives up theirs. False: nobody has any. */
bool weir__queue_make_room(weir_queue *q, const weir_err *err);

/* submit.c; with the lock */
double weir__queue_expected_wait(const weir_queue *q); /* for a slot, of a request that came now */

/* round.c */
enum { WEIR_QUEUE_LEAVING = 64 };      /* that a step ends at once; room in the lists of a step at least */
void weir__queue_round(weir_queue *q); /* with the lock, but not while prompts run and sessions step */

#endif /* WEIR_HOST_QUEUE_QUEUE_H */
