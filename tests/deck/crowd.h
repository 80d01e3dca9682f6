#ifndef WEIR_TESTS_DECK_CROWD_H
#define WEIR_TESTS_DECK_CROWD_H

#include "tests/host/pairs/decoder_pair.h"

/* More sessions than there are pages for, in random turns: slices, steps of some of them, suspensions.
 * Whatever the order, an answer is what it is alone. */

enum { CROWD_DEMO = -1, CROWD_SMALL = -2 }; /* the demo pair; two T5 of 33 ids */

typedef struct crowd {
    int n_parallel, pages; /* of each model; 0: enough for all */
    int ctx_size;
    const char *device; /* NULL: the CPU */
    int pair;           /* of decoder_pairs, or one of those above */
    int limit;          /* output tokens are 5 to 4 + limit; 0: 90 */
    bool prefix_cache;
    int tp, draft_tp; /* ranks; alone is one rank */
} crowd;

weir_engine *crowd_open(const crowd *c);
int crowd_pages_held(const weir_engine *e); /* by sessions, of both models */

/* n sessions: every method, prompts of 1 to 129 ids that begin alike, every fourth one that of another
 * session. Alone, with room for one at its longest; then together, in n_seed orders. */
void crowd_same_as_alone(const crowd *c, int n, int n_seed);

#endif
