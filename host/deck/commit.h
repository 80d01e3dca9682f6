#ifndef WEIR_HOST_RECORD_H
#define WEIR_HOST_RECORD_H

#include "host/state.h"

/* Appends what a block decided (kernels/loop/loop.h) to its session and books it, up to the token that ends
 * the session: the one place for host-driven blocks and for those of a device loop. Sources: kept, accepted,
 * resampled, bonus; under the verifier alone its one token is the verifier's, and no block is counted.
 * cached[] is cut to what the output made true; pages are the caller's. An outcome that says unusable logits
 * ends the session (weir__session_refuse). */
weir_status weir__outcome_commit(weir_session *s, const weir_block_outcome *r, weir_err *err);

#endif /* WEIR_HOST_RECORD_H */
