#ifndef WEIR_HOST_WIRE_PUT_H
#define WEIR_HOST_WIRE_PUT_H

#include <stdint.h>

#include "host/wire/buf.h"

/* JSON written at once, without a value of jansson's in between, for what is written at every token.
 * Spellings are those of wire_write. Whether all found memory, the buffer's `failed` says. */

void wire_put_escaped(wire_buf *b, const char *bytes, size_t n); /* what stands between the quotes */
void wire_put_text(wire_buf *b, const char *bytes, size_t n);    /* with them */
void wire_put_int(wire_buf *b, int64_t x);
void wire_put_real(wire_buf *b, double x); /* null, if it is not finite */

#endif /* WEIR_HOST_WIRE_PUT_H */
