#ifndef WEIR_HOST_RANKS_MESSAGE_H
#define WEIR_HOST_RANKS_MESSAGE_H

#include "host/state.h"
#include "kernels/comm/comm.h"

/* What rank 0 tells the members: 32-bit integers.
 *
 *   verb, side
 *   n, then n times: table, slot, count, pages[count]     how a slot's row of a table begins; pages only
 *   n, then n times: slot, length                         sources (encoder-decoders); forward, prefill, pages
 *   forward:  n_row, n_out, group; on the CPU then token[n_row], pos[n_row], slot[n_row], out[n_out], which
 *             devices give each other
 *   prefill:  slot, place, step, n, sent, token[sent]     sent: n, or 0 where the members have the prompt
 *   pages:    nothing more
 *   record:   key, n, then n times side, n_row, n_out, group: the calls of a block; all say if it loops
 *   loop:     key: the blocks of what was recorded under it, until rank 0 says that no other follows
 *   exchange: bytes, times                                for timings
 */
typedef enum ranks_verb {
    RANKS_FORWARD = 1,
    RANKS_PREFILL,
    RANKS_PAGES,
    RANKS_RECORD,
    RANKS_LOOP,
    RANKS_EXCHANGE,
    RANKS_CLOSE
} ranks_verb;
enum { RANKS_SELF = 0, RANKS_SLIDE, RANKS_TABLES };

/* A call inside a recorded block. */
typedef struct ranks_call {
    int32_t side, n_row, n_out, group;
} ranks_call;
enum { RANKS_CALL_WORDS = sizeof(ranks_call) / sizeof(int32_t) };

/* A table as the members have it. */
typedef struct ranks_table {
    int32_t *page; /* (n_slot, stride) */
    int64_t n_slot, stride;
} ranks_table;

/* A message that grows. */
typedef struct ranks_words {
    int32_t *word;
    size_t n, cap;
    bool failed; /* out of memory */
} ranks_words;

void weir__words_put(ranks_words *w, int32_t value);
void weir__words_put_all(ranks_words *w, const int32_t *value, size_t n);

/* A message that is read: past its end everything is 0 and `wrong` is set. */
typedef struct ranks_reader {
    const int32_t *word;
    size_t n, at;
    bool wrong;
} ranks_reader;

/* On every rank, n_batch times: so many reductions of bytes (whole floats) of each. seconds[i]: what batch i
 * took; NULL: not wanted. ECOMM: this rank's own failure, too, has ended the group. */
weir_status weir__exchange_rounds(weir_backend *be, size_t bytes, int times, int n_batch, double *seconds);

/* A rank's failure in words. */
const char *weir__rank_words(const weir_backend *be, weir_status s);

int32_t weir__words_get(ranks_reader *r);
const int32_t *weir__words_get_all(ranks_reader *r, int32_t n); /* NULL: there are not so many */

#endif /* WEIR_HOST_RANKS_MESSAGE_H */
