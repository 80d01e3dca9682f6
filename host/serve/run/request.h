#ifndef WEIR_HOST_SERVE_RUN_REQUEST_H
#define WEIR_HOST_SERVE_RUN_REQUEST_H

#include "host/serve/run/state.h"

/* One completions or chat request: its body, its choices in the queue, its answer. */

typedef struct serve_choice serve_choice;

/* Tokens of a choice, from the stepping thread to the loop thread. */
typedef struct serve_news {
    serve_letter letter;
    struct serve_news *next;
    serve_choice *choice;
    size_t bytes; /* of this allocation */
    size_t n;
    weir_token_event tokens[]; /* then their likeliest, then their texts */
} serve_news;

struct serve_choice {
    serve_job job;
    serve_exchange *of;
    int index;                /* of the answer's choices; of a scoring job the first of its prompt's */
    bool scoring;             /* log-probabilities of the prompt, for echo */
    serve_news *first, *last; /* not yet in the answer */
    bool arrived, told;       /* its end: has reached the loop thread; is in the answer */
    bool prompt_told;
    serve_letter end; /* what it carries, by the stepping thread: */
    weir_status status;
    weir_err err;
    bool deadline;
    api_end how;
    float *scores;
    weir_top *score_top;
    size_t n_score;
    int64_t n_token;                /* that the loop thread got */
    double first_token, last_token; /* when the loop thread got them; 0: it has none */
    bool starved;                   /* the stepping thread's: no memory for its tokens, so it was cancelled */
};

struct serve_exchange {
    serve_item item;
    serve *s;
    http_exchange *x; /* NULL once answered, or the peer has gone */
    serve_exchange *prev, *next;
    serve_task task;
    char *body;
    size_t n_body;
    double began;
    uint64_t client;
    api_ask ask; /* has_ask: of this body */
    bool has_ask;
    weir_session_options run; /* the ask's, and what load made of them: */
    bool slowed;              /* gamma is 1, since many requests run */
    char id[160];
    api_answer *answer;
    int n_choice;            /* of the answer */
    int n_job;               /* with scoring jobs, which come after these */
    serve_choice *choices;   /* (n_job) */
    weir_request **requests; /* (n_job) */
    serve_error error;       /* why the body was refused; status 0: it was not */
    bool read;               /* the worker has done with it */
    bool submitted;          /* its choices are in the queue */
    bool over;               /* the exchange is; the choices may not be */
    bool held;               /* a function that may end it still needs it */
    int n_arrived;
    double first_token, last_sent;
    const char *end; /* how it ended, for the log: a word */
};

/* The stepping thread's: tokens and ends into letters (step.c). */
void serve_choice_tokens(serve *s, serve_job *j, const weir_queue_event *ev);
void serve_choice_end(serve *s, serve_job *j, const weir_queue_event *ev);
/* The loop thread's, which opens them (exchange.c). */
void serve_news_open(serve_letter *l);
void serve_end_open(serve_letter *l);

#endif /* WEIR_HOST_SERVE_RUN_REQUEST_H */
