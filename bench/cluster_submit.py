"""Handing one job over to submitit: what can not be, what [cluster] means in submitit's words.

    job = hand_over(Work(words, folder), suite.cluster, "slurm")      # its number

Imports no torch.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cluster_job import Work
from bench.errors import BenchError, RunFailed, unknown
from bench.sections import Cluster

LAUNCHERS = ("slurm", "local")
NO_LIMIT_MINUTES = 10 * 365 * 24 * 60  # on one's own machine
# What Slurm's commands are told by the environment. The rest of a job's variables stays behind when it submits another.
KEPT = ("SLURM_CONF", "SUBMITIT_PREEMPT_SIGNAL")


def check(cluster: Cluster, launcher: str) -> None:
    """Raises BenchError for what can not be submitted from here."""
    if launcher not in LAUNCHERS:
        raise unknown("launcher", launcher, LAUNCHERS, "For example: --launcher local")
    if launcher == "slurm" and not (shutil.which("sbatch") and shutil.which("srun") and shutil.which("squeue")):
        raise BenchError(
            "--launcher slurm, but this machine has no Slurm (no sbatch, srun and squeue)",
            "a machine from which Slurm takes jobs",
            "Log in to one, or use --launcher local: the runs go one after the other on this machine, in the background.",
        )
    if launcher == "local" and cluster.nodes > 1:
        raise BenchError(f"cluster.nodes = {cluster.nodes} with --launcher local", "1", "Add --set cluster.nodes=1.")
    if cluster.signal_delay_seconds >= 60 * cluster.time_minutes:
        given = f"cluster.signal_delay_seconds = {cluster.signal_delay_seconds} of {cluster.time_minutes} minutes"
        raise BenchError(given, "less than the time limit", "Change cluster.signal_delay_seconds or cluster.time_minutes.")
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        remedy = "Install it: pip install -c constraints.txt -e '.[cluster]'"
        raise BenchError("--launcher without the package submitit", "submitit 1.5", remedy) from error


def hand_over(work: Work, cluster: Cluster, launcher: str) -> str:
    """Give one job to submitit; returns its number. Raises BenchError when the cluster refuses it."""
    import submitit
    from submitit.core.utils import UncompletedJobError

    retries = {f"{launcher}_max_num_timeout": cluster.max_requeues}
    executor = submitit.AutoExecutor(Path(work.folder) / "log", cluster=launcher, **retries)
    executor.update_parameters(**parameters(Path(work.folder).name, cluster, launcher))
    with outside_of_jobs():
        try:
            return str(executor.submit(work).job_id)
        except UncompletedJobError as error:  # sbatch's own words
            text = " ".join(str(error).split()) or "without a word"
            remedy = "Change [cluster] in bench.toml, or add --set cluster.KEY=VALUE."
            raise BenchError(f"Slurm refuses the job ({text})", "what this cluster offers: see sinfo", remedy) from error
        except OSError as error:
            raise RunFailed(f"the job could not be handed over: {error}") from error


def parameters(name: str, cluster: Cluster, launcher: str) -> dict[str, Any]:
    """submitit's names for what [cluster] says; what is left open there is left out."""
    found: dict[str, Any] = {"name": name, "stderr_to_stdout": True, "gpus_per_node": cluster.gpus_per_node or None}
    if launcher == "local":  # processes by `bench run --gpus`, and no limit
        return found | {"timeout_min": NO_LIMIT_MINUTES, "tasks_per_node": 1}
    # One process that fails tells the others itself, and they write why; the others' patience, and no more, is Slurm's part.
    srun = ["--kill-on-bad-exit=0", "--wait=300"]
    if cluster.cpus_per_task:
        srun.append(f"--cpus-per-task={cluster.cpus_per_task}")  # since Slurm 22.05 srun does not take it over from sbatch
    return found | {
        "nodes": cluster.nodes,
        "tasks_per_node": cluster.processes,
        "timeout_min": cluster.time_minutes,
        "cpus_per_task": cluster.cpus_per_task or None,
        "mem_gb": cluster.memory_gb or None,
        "slurm_partition": cluster.partition or None,
        "slurm_account": cluster.account or None,
        "slurm_signal_delay_s": cluster.signal_delay_seconds,
        "slurm_setup": list(cluster.setup) or None,
        "slurm_srun_args": srun,
        "slurm_additional_parameters": {"requeue": True, **cluster.extra},  # a cluster may have it off by default
    }


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Without the variables of the job from within which this is submitted, if it is: Slurm would mix the two up."""
    from submitit.helpers import clean_env

    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("SBATCH_")}
    with clean_env():
        os.environ.update(kept)
        yield
