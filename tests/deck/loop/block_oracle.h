#ifndef WEIR_TESTS_DECK_LOOP_BLOCK_ORACLE_H
#define WEIR_TESTS_DECK_LOOP_BLOCK_ORACLE_H

#include "host/state.h"

/* Blocks of one session driven by the host op by op, out of rows, statistics, draws, accept and emit alone:
 * what the block loop is held against. As weir_step for one session of the speculative method or the verifier
 * alone; the engine's own loop stays untouched. Fails the running test where memory is short. */
weir_status block_oracle_step(weir_engine *e, weir_session *s, int max_blocks, weir_err *err);

#endif /* WEIR_TESTS_DECK_LOOP_BLOCK_ORACLE_H */
