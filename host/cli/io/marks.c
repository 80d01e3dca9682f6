#include "host/cli/io/marks.h"

#include "host/cli/io/terminal.h"

bool cli_marks_close(cli_marks *m, wire_buf *b) {
    if (m->source < 0) return true;
    m->source = -1;
    return wire_buf_puts(b, m->colours ? "\033[0m" : "]");
}

bool cli_marks_open(cli_marks *m, wire_buf *b, int source) {
    if (!m->on || m->source == source) return true;
    if (!cli_marks_close(m, b)) return false;
    m->source = source;
    if (m->colours) return wire_buf_puts(b, terminal_source_colour(source));
    return wire_buf_puts(b, "[") && wire_buf_puts(b, terminal_source_mark(source)) && wire_buf_puts(b, "|");
}
