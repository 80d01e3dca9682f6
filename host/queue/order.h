#ifndef WEIR_HOST_QUEUE_ORDER_H
#define WEIR_HOST_QUEUE_ORDER_H

#include "host/queue/heap.h"
#include "host/queue/list.h"
#include "host/weir.h"

/* Who of those that wait comes next: by priority, then the client with the fewest tokens in the last minute,
 * then by arrival. Requests of one client and priority are a line; lines are in a heap. */

enum {
    WEIR_PRIORITIES = WEIR_PRIORITY_MAX - WEIR_PRIORITY_MIN + 1,
    WEIR_WINDOWS = 12 /* the minute, in parts of five seconds */
};

typedef struct weir_client weir_client;

typedef struct weir_line {
    weir_client *client;
    int priority;
    weir_node waiting; /* its requests, by arrival */
    size_t place;      /* among lines; WEIR_HEAP_OUT: it is empty */
} weir_line;

struct weir_client {
    uint64_t id;
    weir_client *next;           /* of the same bucket */
    size_t n_request;            /* unfinished */
    uint64_t part[WEIR_WINDOWS]; /* tokens */
    uint64_t served;             /* the sum of all parts */
    weir_line line[WEIR_PRIORITIES];
};

/* What waits, inside of a request. */
typedef struct weir_waiting {
    weir_client *client; /* NULL once the request has ended */
    int priority;
    uint64_t number; /* of its arrival */
    weir_node in_line;
} weir_waiting;

typedef struct weir_order {
    weir_client **bucket;
    size_t n_bucket, n_client;
    weir_heap lines;
    int window;          /* the part that fills */
    double window_began; /* on the caller's clock */
} weir_order;

void weir__order_open(weir_order *o, double now);
void weir__order_close(weir_order *o); /* of what still waits it frees nothing */

/* Makes w one of its client's requests, until it leaves; room for n lines in all. False: no memory, and
 * nothing changed. */
bool weir__order_enter(weir_order *o, weir_waiting *w, uint64_t client, size_t n_line);
void weir__order_leave(weir_order *o, weir_waiting *w);

void weir__order_add(weir_order *o, weir_waiting *w);
void weir__order_remove(weir_order *o, weir_waiting *w);
weir_waiting *weir__order_first(const weir_order *o); /* NULL: nobody waits */

void weir__order_serve(weir_order *o, weir_client *c, size_t n_token);
void weir__order_advance(weir_order *o, double now); /* forgets what is a minute old */

#endif /* WEIR_HOST_QUEUE_ORDER_H */
