"""Sweeps over several processes or machines, through Dask's `distributed`. This process stays the only writer
of the store: workers return answers. A task is a few prompts of one group of flags, verifier and points
together, so that a point's latency and the verifier's beside it come from one machine. A task whose worker
dies runs again elsewhere; what is already in the store does not.

  local:N            N processes of this machine
  ssh:HOST,HOST      a worker on each, started over SSH; this tree and the models lie there at the same paths
  slurm:KEY=VALUE,…  jobs of Slurm, N= of them (dask-jobqueue; the other keys are SLURMCluster's)
  tcp://HOST:PORT    a scheduler that runs; its workers were started with --resources weir=1
"""
from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import socket
from pathlib import Path
from typing import Any, Iterable, Iterator

from lab.errors import LabError
from lab.identity import difference, identity
from lab.program import Generate

PROMPTS_OF_TASK = 8


def import_dask() -> Any:
    try:
        import distributed
    except ImportError as e:
        raise LabError("--workers needs the package distributed (bench/lab/requirements.txt)") from e
    return distributed


def cluster_of(spec: str) -> Any:
    """A cluster to be closed, or the address of one."""
    dask = import_dask()
    kind, _, rest = spec.partition(":")
    one = {"resources": {"weir": 1}}
    if kind == "local" and rest.isdigit() and int(rest) > 0:
        return dask.LocalCluster(n_workers=int(rest), threads_per_worker=1, processes=True,
                                 dashboard_address=None, silence_logs=logging.CRITICAL, **one)
    if kind == "ssh" and rest:
        hosts = rest.split(",")
        return dask.SSHCluster([hosts[0], *hosts], worker_options={"nthreads": 1, **one})
    if kind == "slurm":
        try:
            from dask_jobqueue import SLURMCluster
        except ImportError as e:
            raise LabError("--workers slurm: needs the package dask-jobqueue") from e
        settings = dict(pair.partition("=")[::2] for pair in rest.split(",") if pair)
        count = int(settings.pop("N", "1"))
        cluster = SLURMCluster(cores=1, processes=1, memory=settings.pop("memory", "16GB"),
                               worker_extra_args=["--resources", "weir=1"], **settings)
        cluster.scale(count)
        return cluster
    if kind in ("tcp", "tls"):
        return spec
    raise LabError(f"--workers {spec}: expected local:N, ssh:HOST,HOST, slurm:KEY=VALUE,… or "
                   "tcp://HOST:PORT")


@contextlib.contextmanager
def client_of(spec: str) -> Iterator[Any]:
    cluster = cluster_of(spec)
    try:
        client = import_dask().Client(cluster, timeout=30)
    except OSError as e:
        raise LabError(f"--workers {spec}: {e}") from e
    try:
        yield client
    finally:
        client.close()
        if not isinstance(cluster, str):
            cluster.close()


# ---- on a worker -------------------------------------------------------------------------------------------

@functools.cache
def checked(program: str, models: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Program and models of this machine; read once in a process."""
    return identity(Path(program), {side: Path(path) for side, path in models}, [], {})


def answer(command: list[str], lines: list[dict[str, Any]], program: str, models: tuple[tuple[str, str], ...],
           wanted: dict[str, Any]) -> dict[str, Any]:
    """The answers of one process of the program. Never of another program or model than the sweep's."""
    own = checked(program, models)
    for key in ("program", "models"):
        found = difference(wanted[key], own[key], key)
        if found:
            raise LabError(f"worker on {socket.gethostname()}: {found}")
    generate = Generate(command)
    return {"answers": list(generate.answers(lines)), "machine": socket.gethostname(),
            "loading": generate.loading, "waited": generate.waited}


# ---- on the client -----------------------------------------------------------------------------------------

def batches(jobs: Iterable[Any]) -> list[list[Any]]:
    """Jobs in their order, those of a few neighbouring prompts together."""
    grouped = itertools.groupby(jobs, key=lambda job: (job.seed, job.prompt // PROMPTS_OF_TASK))
    return [list(part) for _, part in grouped]


def answers_of(client: Any, command: list[str], work: list[tuple[Any, list[dict[str, Any]]]], program: Path,
               models: dict[str, Path], wanted: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """(label, result of answer) of each piece of work, as they come."""
    dask = import_dask()
    there = tuple((side, str(path)) for side, path in models.items())
    futures = {client.submit(answer, command, lines, str(program), there, wanted, pure=False,
                             resources={"weir": 1}): label for label, lines in work}
    try:
        for future in dask.as_completed(futures):
            try:
                yield futures[future], future.result()
            except (dask.KilledWorker, OSError) as e:
                raise LabError(f"workers died over one task, again and again: {e}") from e
    finally:
        client.cancel(list(futures))
