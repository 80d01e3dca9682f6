/* How ranks exchange data from inside kernels: the steps of kernels/comm/exchange.cu. check.sh runs the
 * cases. Each exchange is one kernel of one or two blocks. The kernels of a rank run one after another, the
 * blocks of a kernel in any order.
 *
 * Memory is weak. A store to data is issued at once and arrives at any time later. Only flags order it: a
 * flag stored with release brings the stores of its block, and of earlier kernels, to whoever loads it with
 * acquire. A load of data finds the last store that was issued or, unless a flag has brought that, what was
 * there before. So nothing has to be delivered, and what a block does for all ranks (its stores, flags, waits
 * or loads) can be one step: what arrives late is a load that finds less, or a wait that takes longer. With
 * APART=1 they are a step for each rank.
 *
 *   R          ranks
 *   N          exchanges; every list of one and two blocks is tried
 *   LOOP       instead of N: up to LOOP times an exchange and a stop word, then one more exchange
 *   ANY_EMPTY  1: in each exchange, any ranks but not all push nothing. 0: all push
 *   BUG        what is wrong: */
#define nothing 0
#define one_set 1
#define relaxed_store 2  /* of the flag */
#define relaxed_load 3   /* of the flag */
#define round_stays 4
#define round_first 5    /* the first block out moves it, not the last */
#define not_the_last 6   /* nobody waits for the last rank */
#define senders_only 7   /* nobody waits for ranks that push nothing */
#define empty_goes 8     /* a rank that pushes nothing neither waits nor reads */
#define equal 9          /* the wait is for the flag of this exchange alone, not for it or a later one */
#define own_stop 10      /* each rank obeys the host's stop flag itself */
#define early 11         /* a kernel starts once all blocks of the one before have started */
#define early_counted 12 /* the same, but it knows its number without reading round */
#ifndef BUG
#define BUG nothing
#endif
#ifndef APART
#define APART 0
#endif
#ifndef ANY_EMPTY
#define ANY_EMPTY 0
#endif
#ifdef LOOP
#define N (2 * LOOP + 1)
#define IS_WORD(k) ((k) % 2 == 0)
#else
#define LOOP 0
#define IS_WORD(k) false
#endif

/* How many kernels of a rank may run at once. */
#if BUG == early || BUG == early_counted
#define KERNELS 2
#else
#define KERNELS 1
#endif

#if APART
#define together
#else
#define together atomic
#endif

/* Exchanges count from 1; 1 << r stands for rank r. */
byte two;           /* bit k: exchange k has two blocks */
byte silent[N + 1]; /* the ranks that push nothing */
#define BLOCKS(k) (IS_WORD(k) -> 1 : 1 + (two >> (k) & 1))
#define PUSHES(r, k) (!(silent[k] >> (r) & 1))

/* What peers write. A slice has two cells, one for each block, or both for a block alone. A cell holds twice
 * the number of the exchange that stored to it last, plus the stop word. */
typedef memory {
    byte data[2 * R * 2];
    byte slot[2 * R];
    byte brings[2 * R]; /* the kernel whose stores the flag brings; 0: of none */
};
memory at[R];
#define DATA(set, source, cell) data[((set) * R + (source)) * 2 + (cell)]
#define ENTRY(b, source) [(b) * R + (source)]

/* What a rank has for itself. */
byte round[R];
byte gone[R];
byte kernel[R];  /* the last one launched */
byte started[R]; /* its blocks that have started */
byte ended[R];   /* the last kernel that has ended */
byte final[R];   /* the last one to run; 0: not known yet */

bit stop;    /* set by the host at any time */
byte stayed; /* the last stop word after which a rank has stayed in the loop */
byte left;   /* the one after which ranks have left it */

hidden byte cell;
hidden byte found;

inline launch(me) {
    kernel[me]++;
    started[me] = 0
}

inline push(to) {
    for (cell : b .. b + 2 - BLOCKS(k)) {
        at[to].DATA(set, me, cell) = 2 * k + word
    }
}

inline flag(to) {
    at[to].slot ENTRY(b, me) = e;
    at[to].brings ENTRY(b, me) = (BUG == relaxed_store -> 0 : k)
}

#define TAKES_PART (BUG != empty_goes || PUSHES(me, k))
#define FORGETS(r) (BUG == not_the_last && (r) == R - 1 || BUG == senders_only && !PUSHES(r, k))
#define AWAITS(r) (TAKES_PART && !FORGETS(r))
#define IS_HERE(r) (BUG == equal -> at[me].slot ENTRY(b, r) == e : at[me].slot ENTRY(b, r) >= e)
#define WAITED(r) (!AWAITS(r) || IS_HERE(r))

/* What the flag brings that has ended the wait. */
inline acquire(from) {
    if
    :: BUG != relaxed_load && AWAITS(from) && at[me].brings ENTRY(b, from) >= k ->
        brought = brought | 1 << from
    :: else
    fi
}

inline load(from) {
    for (cell : b .. b + 2 - BLOCKS(k)) {
        if
        :: found = at[me].DATA(set, from, cell)
        :: !(brought >> from & 1) -> found = 0 /* or any other exchange */
        fi;
        assert(found / 2 == k)
    }
}

/* found: the word of rank 0 */
inline obey() {
    if
    :: BUG == own_stop -> found = k < 2 * LOOP && !stop
    :: else
    fi;
    if
    :: found & 1 ->
        stayed = k;
        assert(left == 0)
    :: else ->
        left = k;
        final[me] = k + 1;
        assert(stayed < left)
    fi
}

inline leave() {
    gone[me]++;
    if
    :: BUG != round_stays && (gone[me] == BLOCKS(k) || BUG == round_first) -> round[me] = e
    :: else
    fi;
    if
    :: gone[me] == BLOCKS(k) ->
        gone[me] = 0;
        ended[me]++;
        if
        :: KERNELS == 1 && ended[me] != final[me] -> launch(me)
        :: else
        fi
    :: else
    fi
}

/* Block b of all kernels of rank me that have it; of every second kernel if two may run at once. */
proctype block(byte me; byte b; byte parity) {
    byte k, e, r, brought;
    bit set, word;
    do
    :: together { /* the kernel starts, and pushes */
        d_step {
            kernel[me] != k && kernel[me] % KERNELS == parity && b < BLOCKS(kernel[me]) ->
            k = kernel[me];
            started[me]++;
            e = (BUG == early_counted -> k : round[me] + 1);
            set = (BUG == one_set -> 0 : e % 2);
            word = IS_WORD(k) && me == 0 && k < 2 * LOOP && !stop;
            brought = 1 << me /* its own stores need no flag */
        }
        for (r : 0 .. R - 1) {
            d_step {
                if
                :: PUSHES(me, k) -> push(r)
                :: else
                fi
            }
        }
       }
       together { /* a barrier of its threads has passed */
        for (r : 0 .. R - 1) {
            d_step { flag(r) }
        }
       }
       together {
#if !APART
        WAITED(0) && WAITED(1) && WAITED(2 % R) && WAITED(3 % R);
#endif
        for (r : 0 .. R - 1) {
            d_step { WAITED(r) -> acquire(r) }
        }
       }
       together { /* the latest loads are those that find most wrong: the block is out with them */
        for (r : 0 .. R - 1) {
            atomic {
                if
                :: TAKES_PART && PUSHES(r, k) -> load(r)
                :: else
                fi;
                if
                :: IS_WORD(k) && r == 0 -> obey()
                :: else
                fi
            }
        }
        atomic {
            leave();
            word = 0;
            brought = 0
        }
       }
    :: d_step { ended[me] == final[me] && final[me] != 0 -> k = 0; e = 0; r = 0 } -> break
    od
}

#if KERNELS == 2
proctype stream(byte me) {
    do
    :: d_step {
        started[me] == BLOCKS(kernel[me]) && ended[me] + 1 >= kernel[me] && kernel[me] < N -> launch(me)
       }
    :: kernel[me] == N -> break
    od
}
#endif

#if LOOP
active proctype host() {
    stop = 1
}
#endif

init {
    byte k, r;
    atomic {
        for (k : 1 .. N) {
            if
            :: IS_WORD(k) -> silent[k] = (1 << R) - 2
            :: !IS_WORD(k) && ANY_EMPTY -> select (r : 0 .. (1 << R) - 2); silent[k] = r
            :: !IS_WORD(k) && !ANY_EMPTY
            fi;
            if
            :: two = two | 1 << k
            :: !IS_WORD(k)
            fi
        }
        for (r : 0 .. R - 1) {
            final[r] = (LOOP -> 0 : N);
            launch(r);
            run block(r, 0, 1 % KERNELS);
            run block(r, 1, 1 % KERNELS);
#if KERNELS == 2
            run block(r, 0, 0);
            run block(r, 1, 0);
            run stream(r)
#endif
        }
    }
}
