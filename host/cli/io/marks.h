#ifndef WEIR_HOST_CLI_IO_MARKS_H
#define WEIR_HOST_CLI_IO_MARKS_H

#include "host/wire/buf.h"

/* --show-sources: what surrounds text of one source, colours or "[k|…]". */
typedef struct cli_marks {
    bool on, colours;
    int source; /* of the text before, -1 = none is open */
} cli_marks;

/* Text of this source follows; text of none does. false: out of memory. */
bool cli_marks_open(cli_marks *m, wire_buf *b, int source);
bool cli_marks_close(cli_marks *m, wire_buf *b);

#endif /* WEIR_HOST_CLI_IO_MARKS_H */
