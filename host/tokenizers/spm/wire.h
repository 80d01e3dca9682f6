#ifndef WEIR_HOST_TOKENIZERS_SPM_WIRE_H
#define WEIR_HOST_TOKENIZERS_SPM_WIRE_H

#include "kernels/base/types.h"

/* Protocol buffers' wire format: the fields of a message, one after the other. */

typedef struct weir__wire {
    const uint8_t *at, *end;
} weir__wire;

typedef struct weir__wire_field {
    uint32_t number, type; /* type: 0 varint, 1 fixed64, 2 bytes, 5 fixed32 */
    weir__wire bytes;      /* of type 2 */
    uint64_t varint;       /* of type 0 */
    uint32_t fixed32;      /* of type 5 */
} weir__wire_field;

/* The next field of a message; false if it is damaged. Groups are refused: SentencePiece's models have none.
 * */
bool weir__wire_next(weir__wire *s, weir__wire_field *f);

#endif /* WEIR_HOST_TOKENIZERS_SPM_WIRE_H */
