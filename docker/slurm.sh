#!/bin/sh
# weir serve over four processes under Slurm: sbatch docker/slurm.sh VERIFIER DRAFTER. The job ends with the
# first process that fails, and Slurm starts it again.
#SBATCH --job-name=weir --ntasks=4 --cpus-per-task=8 --requeue --open-mode=append
set -eu
export WEIR_THREADS="${SLURM_CPUS_PER_TASK:-8}"
exec srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="$WEIR_THREADS" \
    weir serve -m "$1" -md "$2" -tp "$SLURM_NTASKS" --comm mpi \
    --host 0.0.0.0 --api-key-file "$HOME/.weir-keys"
