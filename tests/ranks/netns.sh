#!/bin/sh
# Ranks on two machines, as network namespaces with a link between them: netns.sh BUILD. One process of an MPI
# job in each, 5 ms apart where the kernel can delay; its text against one rank's; then the other machine's
# process is killed, and the link is cut. Exit status 77: no MPI, not root, or no namespaces.
set -eu
cd "$(dirname "$0")/../.."
build=$1

skip() {
    echo "$*: skipped"
    exit 77
}
[ -f "$build/weir-mpi.so" ] || skip "no MPI module"
for tool in mpirun ip unshare; do
    command -v "$tool" >/dev/null 2>&1 || skip "no $tool"
done
[ "$(id -u)" -eq 0 ] || skip "namespaces need root"

work=$(mktemp -d)
near=weir-$$-0 # rank 0's and mpirun's
far=weir-$$-1
# Everything in the namespaces was started here.
end_all() {
    for space in "$near" "$far"; do
        # shellcheck disable=SC2046  # a list of numbers
        kill -KILL $(ip netns pids "$space" 2>/dev/null) 2>/dev/null || true
        ip netns del "$space" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap end_all EXIT
trap 'exit 1' INT TERM

for space in "$near" "$far"; do
    ip netns add "$space" 2>"$work/log" || skip "$(head -n 1 "$work/log")"
    ip -n "$space" link set lo up
done
ip link add eth0 netns "$near" type veth peer name eth0 netns "$far" 2>"$work/log" ||
    skip "$(head -n 1 "$work/log")"
ip -n "$near" addr add 192.0.2.1/24 dev eth0 # of a range that is kept for examples
ip -n "$far" addr add 192.0.2.2/24 dev eth0
delay="no delay"
for space in "$near" "$far"; do
    ip -n "$space" link set eth0 up
    if tc -n "$space" qdisc add dev eth0 root netem delay 5ms loss 1% 2>/dev/null; then
        delay="5 ms, 1% lost"
    fi
done

# A machine is a namespace with a name of its own, by which Open MPI tells machines apart.
cat >"$work/on" <<'SH'
#!/bin/sh
# on NAMESPACE WORD...
space=$1
shift
exec ip netns exec "$space" unshare --uts sh -c 'hostname "$0" && exec "$@"' "$space" "$@"
SH
# What Open MPI calls for ssh: ADDRESS WORD..., which a shell there reads.
cat >"$work/rsh" <<SH
#!/bin/sh
shift
exec "$work/on" "$far" sh -c "\$*"
SH
chmod +x "$work/on" "$work/rsh"

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_orte_base_help_aggregate=0
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_plm_rsh_agent="$work/rsh" OMPI_MCA_btl=tcp,self
# How soon a machine's daemon misses mpirun; without these after 8 minutes.
export OMPI_MCA_oob_tcp_keepalive_time=4 OMPI_MCA_oob_tcp_keepalive_intvl=1
export OMPI_MCA_oob_tcp_keepalive_probes=2
export OMPI_MCA_orte_tmpdir_base="$work" # what it leaves behind when it is killed goes, too
export OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_oob_tcp_if_include=eth0 WEIR_MPI_MODULE="$build/weir-mpi.so"
pair="-m models/demo/verifier -md models/demo/drafter"

fail() {
    echo "netns.sh: $*" >&2
    cat "$work/log" >&2
    exit 1
}
# job WORD...: on both machines
job() {
    "$work/on" "$near" timeout 40 mpirun -np 2 --host 192.0.2.1:1,192.0.2.2:1 \
        "$build/weir" "$@" -tp 2 --comm mpi
}

cat >"$work/prompts.jsonl" <<'JSON'
{"prompt": "Where is my hat?", "seed": 5}
{"prompt": "It snowed a lot.", "seed": 6, "deferral_rule": "opt", "deferral_alpha": 0.1, "top_k": 20}
JSON
only_tokens() { sed 's/"timings".*//' "$1"; }
# shellcheck disable=SC2086  # a list of words
"$build/weir" generate $pair --input "$work/prompts.jsonl" -np 2 -n 40 -q >"$work/one"
# shellcheck disable=SC2086
job generate $pair --input "$work/prompts.jsonl" -np 2 -n 40 -q >"$work/two" 2>"$work/log" || fail "status $?"
only_tokens "$work/one" >"$work/a"
only_tokens "$work/two" >"$work/b"
cmp -s "$work/a" "$work/b" || fail "two machines write something else"

# running NAMESPACE: the number of its rank, if it runs
running() {
    for process in $(ip netns pids "$1"); do
        if [ "$(cat "/proc/$process/comm" 2>/dev/null)" = weir ]; then echo "$process"; fi
    done
}
now() { date +%s%3N; }
# What hurts the other machine in the middle of a run ends rank 0 within the deadline of 3 s and 2 s more,
# with a line that names the other rank. That one ends, too: by itself, or, if it waits for a command, once
# Open MPI's daemon there finds mpirun gone. $1: what, $2: the line, $3...: the command
hurt() {
    what=$1
    line=$2
    shift 2
    : >"$work/two"
    # shellcheck disable=SC2086
    job generate $pair --input "$work/many.jsonl" -n 40 -q --comm-timeout 3 >"$work/two" 2>"$work/log" &
    run=$!
    tries=0
    while [ "$(wc -l <"$work/two")" -lt 3 ] && [ "$tries" -lt 300 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    for space in "$near" "$far"; do
        [ -n "$(running "$space")" ] || fail "$what: no rank runs in $space"
    done
    began=$(now)
    "$@"
    while [ -n "$(running "$near")" ] || ! grep -q "$line" "$work/log"; do
        [ $(($(now) - began)) -le 5000 ] || fail "$what: after 5 s rank 0 runs on, or no line with: $line"
        sleep 0.05
    done
    took=$(($(now) - began))
    while [ -n "$(running "$far")" ]; do
        [ $(($(now) - began)) -le 20000 ] || fail "$what: rank 1 runs on"
        sleep 0.05
    done
    echo "$what: rank 0 ended after $took ms, rank 1 after $(($(now) - began)) ms or less"
    # mpirun may wait for the daemon of a machine that it cannot reach
    # shellcheck disable=SC2046
    kill -KILL $(ip netns pids "$near") $(ip netns pids "$far") 2>/dev/null || true
    ! wait "$run" || fail "$what: status 0"
}
i=0
while [ "$i" -lt 3000 ]; do
    sed "s/\"seed\": ./\"seed\": $i/" "$work/prompts.jsonl"
    i=$((i + 1))
done >"$work/many.jsonl"
kill_far() { kill -KILL "$(running "$far")"; }
hurt "killed" "rank 1 .* signal 9" kill_far
hurt "link cut" "rank 1 silent for 3 s, exchange" ip -n "$near" link set eth0 down
echo "netns.sh: passed ($delay)"
