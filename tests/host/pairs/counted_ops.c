#include "tests/host/pairs/counted_ops.h"

weir_backend_ops real_op;
long ops_left = -1, ops_run;
weir_status ops_failure;
bool ops_recover;

static weir_status count_op(void) {
    ops_run++;
    if (ops_left < 0 || ops_left-- > 0) return WEIR_OK;
    if (!ops_recover) ops_left = 0;
    return ops_failure;
}

#define COUNTED(name, args)                                        \
    static weir_status counted_##name(weir_backend *be, args *a) { \
        WEIR_TRY(count_op());                                      \
        return real_op.name(be, a);                                \
    }
WEIR_OP_MAP(COUNTED)
#undef COUNTED

void count_ops(weir_engine *e) {
    real_op = e->pair.be->op;
    ops_left = -1;
#define TAKE(name, args) e->pair.be->op.name = counted_##name;
    WEIR_OP_MAP(TAKE)
#undef TAKE
}
