"""Slurm on this machine alone: one node, with more cores than it has, so that several jobs run at once."""

from __future__ import annotations

import getpass
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import free_port

CORES = 8
MUNGE_FILES = {"socket": "socket", "pid-file": "pid", "log-file": "log"}


@contextmanager
def one_node() -> Iterator[dict[str, str]]:
    """Start Debian's Slurm, and what it needs; give the environment in which its commands find it."""
    # a socket's path must be short, and munge's folder one that everybody may enter
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    node, user = platform.node().split(".")[0], getpass.getuser()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    (folder / "slurm.conf").write_text(
        f"""\
ClusterName=one
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={node} NodeAddr=127.0.0.1 CPUs={CORES} RealMemory=100000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
    )
    for name in ("state", "spool"):
        (folder / name).mkdir()
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    at_munge = [f"--{name}={folder}/munge.{ending}" for name, ending in MUNGE_FILES.items()]
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--seed-file={folder}/seed", *at_munge],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", node],
    ]
    # Debian keeps its servers where only root's PATH leads
    paths = os.pathsep.join((environment["PATH"], "/usr/sbin"))
    processes = []
    try:
        for command in commands:
            program = shutil.which(command[0], path=paths)
            assert program is not None, f"{command[0]} of Debian's slurm-wlm is not there"
            with (folder / f"{command[0]}.log").open("w") as log:
                processes.append(
                    subprocess.Popen([program, *command[1:]], env=environment, stdout=log, stderr=log)
                )
            time.sleep(1)
        end = time.monotonic() + 60
        while "idle" not in call(environment, "sinfo", "--noheader", "--format=%t"):
            logs = [path.read_text()[-1000:] for path in folder.glob("*.log")]
            assert time.monotonic() < end, logs
            time.sleep(0.5)
        yield environment
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def call(environment: dict[str, str], *command: str, cwd: Path | None = None) -> str:
    """Call a command of Slurm's; give what it says."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=cwd, check=False)
    return done.stdout + done.stderr
