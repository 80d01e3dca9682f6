#!/bin/sh
# Model check of what ranks exchange inside kernels: check.sh [--large]. Prints a line for each case, with the
# states and seconds of its search. Exit status 77: there is no Spin.
set -eu
cd "$(dirname "$0")"
size=${1:-}
if [ "$size" != "" ] && [ "$size" != --large ]; then
    echo "usage: check.sh [--large]" >&2
    exit 2
fi
if ! command -v spin >/dev/null 2>&1; then
    echo "skipped: Spin is not installed (Debian: spin)"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp exchange.pml "$work"
cd "$work"
failed=0
optimise=-O2

compile() {
    rm -f ./*.trail
    spin "$@" -a exchange.pml && ${CC:-cc} $optimise -DSAFETY -w -o pan pan.c
}

# search DEFINES: sets found (nothing, "wrong value", deadlock, "ranks part", "something else"), states and
# seconds. A search that was cut short has found something else.
search() {
    if ! compile "$@" >log 2>&1; then
        cat log >&2
        exit 1
    fi
    ./pan -n -m100000 -w22 >log 2>&1 || true
    states=$(sed -n 's/^ *\([^ ]*\) states, stored.*/\1/p' log)
    seconds=$(sed -n 's/^pan: elapsed time \([^ ]*\) seconds/\1/p' log)
    case $(cat log) in
        *'pan:1: assertion violated ((found/2)==k)'*) found="wrong value" ;;
        *'pan:1: assertion violated (left==0)'*) found="ranks part" ;;
        *'pan:1: assertion violated (stayed<left)'*) found="ranks part" ;;
        *'pan:1: invalid end state'*) found=deadlock ;;
        *'pan:1: '* | *'Search not completed'* | *'search depth too small'*) found="something else" ;;
        *'errors: 0'*) found=nothing ;;
        *) found="something else" ;;
    esac
}

# finds WHAT NAME DEFINES: the case fails if Spin finds anything else. Of an error that nobody wants, the last
# steps are shown.
finds() {
    wanted=$1 name=$2
    shift 2
    search "$@"
    result=ok
    [ "$wanted" = nothing ] || result="ok: $found"
    [ "$found" = "$wanted" ] || result="FAILED: found $found, expected $wanted"
    printf '%-56s %9s states %6s s  %s\n' "$name" "$states" "$seconds" "$result"
    [ "$found" != "$wanted" ] || return 0
    failed=1
    cat log
    [ ! -f exchange.pml.trail ] || spin "$@" -t -p -g exchange.pml | tail -n 60
}

right() { finds nothing "$@"; }
right "2 ranks, 4 exchanges" -DR=2 -DN=4
right "2 ranks, 4 exchanges, any empty" -DR=2 -DN=4 -DANY_EMPTY=1
right "2 ranks, 4 exchanges, apart" -DR=2 -DN=4 -DAPART=1
right "2 ranks, a loop of 3 turns" -DR=2 -DLOOP=3
right "2 ranks, a loop of 2 turns, any empty" -DR=2 -DLOOP=2 -DANY_EMPTY=1
right "2 ranks, a loop of 2 turns, apart" -DR=2 -DLOOP=2 -DAPART=1
right "3 ranks, 3 exchanges" -DR=3 -DN=3
right "3 ranks, 2 exchanges, any empty" -DR=3 -DN=2 -DANY_EMPTY=1
right "3 ranks, a loop of 2 turns" -DR=3 -DLOOP=2
right "4 ranks, 3 exchanges" -DR=4 -DN=3
right "4 ranks, a loop of 1 turn" -DR=4 -DLOOP=1
if [ "$size" = --large ]; then
    right "2 ranks, 5 exchanges, any empty" -DR=2 -DN=5 -DANY_EMPTY=1
    right "2 ranks, 3 exchanges, any empty, apart" -DR=2 -DN=3 -DANY_EMPTY=1 -DAPART=1
    right "3 ranks, 5 exchanges" -DR=3 -DN=5
    right "3 ranks, 3 exchanges, any empty" -DR=3 -DN=3 -DANY_EMPTY=1
    right "3 ranks, 1 exchange, apart" -DR=3 -DN=1 -DAPART=1
    right "3 ranks, a loop of 1 turn, any empty" -DR=3 -DLOOP=1 -DANY_EMPTY=1
    right "4 ranks, 4 exchanges" -DR=4 -DN=4
    right "4 ranks, 1 exchange, any empty" -DR=4 -DN=1 -DANY_EMPTY=1
    right "4 ranks, a loop of 2 turns" -DR=4 -DLOOP=2
fi

# bugs WHERE DEFINES: each is found in three exchanges, or in a loop of two turns; soon, so that the search
# takes less time than the optimiser would
bugs() {
    where=$1 optimise=-O0
    shift
    finds "wrong value" "one set instead of two$where" "$@" -DN=3 -DBUG=one_set
    finds "wrong value" "flags stored relaxed$where" "$@" -DN=3 -DBUG=relaxed_store
    finds "wrong value" "flags loaded relaxed$where" "$@" -DN=3 -DBUG=relaxed_load
    finds "wrong value" "round stays$where" "$@" -DN=3 -DBUG=round_stays
    finds "wrong value" "round moved on by the first block out$where" "$@" -DN=3 -DBUG=round_first
    finds "wrong value" "nobody waits for the last rank$where" "$@" -DN=3 -DBUG=not_the_last
    finds "wrong value" "nobody waits for an empty share$where" "$@" -DN=3 -DANY_EMPTY=1 -DBUG=senders_only
    finds "wrong value" "an empty share does not wait$where" "$@" -DN=3 -DANY_EMPTY=1 -DBUG=empty_goes
    finds "wrong value" "kernels start early$where" "$@" -DN=3 -DBUG=early
    finds "wrong value" "kernels start early with their number$where" "$@" -DN=3 -DBUG=early_counted
    finds deadlock "flags compared with ==$where" "$@" -DN=3 -DBUG=equal
    finds "ranks part" "each rank reads its own stop flag$where" "$@" -DLOOP=2 -DBUG=own_stop
}
bugs "" -DR=2
if [ "$size" = --large ]; then
    bugs ", apart" -DR=2 -DAPART=1
    bugs ", 3 ranks" -DR=3
fi
exit $failed
