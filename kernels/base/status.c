#include "kernels/base/status.h"

#include <stdarg.h>
#include <stdio.h>

const char *weir_status_str(weir_status s) {
    switch (s) {
#define WEIR_STATUS_CASE(name, value, text) \
    case WEIR_##name: return text;
        WEIR_STATUS_MAP(WEIR_STATUS_CASE)
#undef WEIR_STATUS_CASE
    }
    return "unknown status";
}

weir_status weir_fail(weir_err *err, weir_status s, const char *fmt, ...) {
    if (!err) return s;
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    if (n < 0) err->text[0] = '\0';

    /* The text may quote a file's bytes: a terminal must not obey them. */
    for (unsigned char *c = (unsigned char *)err->text; *c; c++) {
        if (*c < 0x20 || *c == 0x7f) *c = '?';
    }
    /* A cut in the middle of a UTF-8 sequence would make the whole line invalid for a strict reader. */
    if ((size_t)n >= sizeof err->text) {
        size_t end = sizeof err->text - 1;
        size_t lead = end;
        while (lead > 0 && end - lead < 4 && ((unsigned char)err->text[lead - 1] & 0xc0) == 0x80) lead--;
        if (lead > 0 && (unsigned char)err->text[lead - 1] >= 0xc0) {
            const unsigned char c = (unsigned char)err->text[lead - 1];
            const size_t want = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
            if (end - lead < want) err->text[lead - 1] = '\0';
        }
    }
    return s;
}
