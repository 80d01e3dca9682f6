#ifndef WEIR_TESTS_QUEUE_QUEUE_FIXTURE_H
#define WEIR_TESTS_QUEUE_QUEUE_FIXTURE_H

#include "host/queue/queue.h"
#include "tests/host/pairs/decoder_pair.h"

/* Requests as their caller sees them, by their events alone. Helpers fail the running test on error, but for
 * served_take, which any thread may call. */

typedef struct served {
    weir_request *request;
    bool let_go;      /* freed by its caller: no event may follow */
    answer said;      /* by the view of its end */
    int32_t ids[256]; /* by its tokens, as all until `bytes` */
    uint8_t sources[256];
    float logprobs[256];
    char text[2048];
    size_t n, bytes;
    int n_end;
    long first, end; /* number of the event with its first tokens, and of its end; 0: none yet */
    weir_status status;
    weir_err err;
    const char *wrong; /* what no caller expects; NULL: nothing */
} served;

weir_queue *queue_open(weir_engine *e);
weir_queue_job queue_job(const weir_session_options *o, const int32_t *ids, size_t n, void *ud);
void served_submit(weir_queue *q, served *a, const weir_session_options *o, const int32_t *ids, size_t n);
void served_free(served *a);

/* From here on the queue's clock stands, at this time; one clock for all queues. */
void queue_set_clock(weir_queue *q, double seconds);

/* Ids for a decoder pair, as decoder_prompt makes them, but any number up to 512. */
void long_prompt(int seed, size_t n, int32_t *ids);

void served_take(const weir_queue_event *ev, long number);
bool served_next(weir_queue *q); /* takes an event; false: there is none */
void served_all(weir_queue *q);  /* until there is nothing to do */

/* One end, as expected, after all of its tokens. */
void served_assert_ended(const served *a, const char *what);
void served_assert_answer(const served *a, const answer *want, const char *what);
void queue_assert_empty(const weir_queue *q); /* nothing unfinished, no slot taken */

/* The engine asks whether to stop, inside of prompts and steps: question number `at` is an occasion for
 * something else. */
typedef struct occasion {
    long asked, at;
    void (*act)(void *ud);
    void *ud;
    bool stop; /* the answer from there on */
} occasion;

void occasion_set(weir_engine *e, occasion *o);

#endif
