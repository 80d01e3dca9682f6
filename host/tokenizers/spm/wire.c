#include "host/tokenizers/spm/wire.h"

#include <string.h>

static bool read_varint(weir__wire *s, uint64_t *out) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && s->at < s->end; shift += 7) {
        uint8_t b = *s->at++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool take(weir__wire *s, uint64_t n, weir__wire *out) {
    if (n > (uint64_t)(s->end - s->at)) return false;
    *out = (weir__wire){s->at, s->at + n};
    s->at += n;
    return true;
}

bool weir__wire_next(weir__wire *s, weir__wire_field *f) {
    uint64_t tag, n;
    weir__wire skip;
    memset(f, 0, sizeof *f);
    if (!read_varint(s, &tag) || tag > UINT32_MAX || tag >> 3 == 0) return false;
    f->number = (uint32_t)(tag >> 3);
    f->type = (uint32_t)(tag & 7);
    switch (f->type) {
    case 0: return read_varint(s, &f->varint);
    case 1: return take(s, 8, &skip);
    case 2: return read_varint(s, &n) && take(s, n, &f->bytes);
    case 5:
        if (!take(s, 4, &skip)) return false;
        memcpy(&f->fixed32, skip.at, 4);
        return true;
    default: return false;
    }
}
