#ifndef WEIR_HOST_DECK_COMMIT_H
#define WEIR_HOST_DECK_COMMIT_H

#include "host/session/session.h"

/* Appends what a block decided (kernels/loop/loop.h) to its session and books it, up to the token that ends
 * the session: the one place for host-driven blocks and for those of a device loop. Sources: kept, accepted,
 * resampled, bonus; under the verifier alone its one token is the verifier's, and no block is counted.
 * cached[] is cut to what the output made true; pages are the caller's. An outcome that says unusable logits
 * ends the session (weir__session_refuse). seen: the verifier's rows of the block from the first on, the rows
 * of accepted drafts and of the closing token. */
weir_status weir__outcome_commit(weir_session *s, const weir_block_outcome *r, const weir_seen *seen,
                                 weir_err *err);

/* Of those rows, how many predicted a token that the outcome emits; 0 if it has none. */
int weir__outcome_rows(const weir_block_outcome *r);

#endif /* WEIR_HOST_DECK_COMMIT_H */
