"""The program that builds and runs images on this machine: docker, podman or buildah."""

import json
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scripts.oci.catalogue import ImagesError

Kind = Literal["docker", "podman", "buildah"]
KINDS: tuple[Kind, ...] = ("docker", "podman", "buildah")
_MOST_PROCESSES = 32768
_GET_ONE = "get one: `apt-get install podman runc` (Debian, Ubuntu), `dnf install podman` (Fedora), or Docker"
# What our manifests give a container, and less: there is no network.
_CONFINED = ("--rm", "--interactive", "--network=none", "--read-only", "--tmpfs=/scratch:rw,mode=1777", "--cap-drop=ALL")


@dataclass(frozen=True)
class Done:
    """What a command in a container printed, and its exit code."""

    code: int
    output: str


@dataclass(frozen=True)
class Engine:
    """One engine that answers on this machine. What buildah built is run by podman, which has the same store."""

    kind: Kind

    def build(self, context: Path, dockerfile: Path, options: Sequence[str]) -> None:
        """Builds an image; the engine shows its own progress.

        Raises:
            ImagesError: the build failed; the engine has said why.
        """
        host = [] if self.kind == "docker" else ["--network=host", *_limits()]
        self._stream(self.kind, "build", *host, *options, "--file", str(dockerfile), str(context))

    def push(self, reference: str, *, insecure: bool = False) -> str:
        """Pushes an image and returns its digest there, ``sha256:…``.

        Args:
            reference: repository and tag.
            insecure: over HTTP, for a registry on this machine; docker knows such registries from its own configuration.
        """
        if self.kind == "docker":
            self._stream("docker", "push", reference)
            digests: list[str] = json.loads(_read("docker", "image", "inspect", "--format={{json .RepoDigests}}", reference))
            return next(name.partition("@")[2] for name in digests if name.startswith(reference.rpartition(":")[0] + "@"))
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as digest:
            self._stream(self.kind, "push", f"--digestfile={digest.name}", f"--tls-verify={str(not insecure).lower()}", reference)
            return digest.read().strip()

    def inspect(self, reference: str) -> dict[str, Any]:
        """What the engine knows about an image: Config (User, Env, Labels, …), Size in bytes, RepoDigests.

        Raises:
            ImagesError: there is no such image here.
        """
        return dict(json.loads(_read(self.runner, "image", "inspect", reference))[0])

    def run(self, reference: str, command: Sequence[str], *, user: str = "", entrypoint: bool = True, text: str = "") -> Done:
        """Runs a command as a confined pod would: read-only root, /scratch in memory, no capability, no network.

        Args:
            reference: the image.
            command: what to run.
            user: another user than the image's own.
            entrypoint: whether the image's own process 1 starts the command.
            text: its standard input.
        """
        options = [*_CONFINED, "--security-opt=no-new-privileges", *([f"--user={user}"] if user else []), *self._own_options()]
        if not entrypoint:
            options.append("--entrypoint=")
        done = subprocess.run([self.runner, "run", *options, reference, *command], input=text, capture_output=True, text=True, check=False)
        return Done(done.returncode, (done.stdout + done.stderr).strip())

    def start(self, reference: str, command: Sequence[str], mounts: Mapping[Path, str] | None = None) -> str:
        """Starts a confined container in the background and returns its id.

        Args:
            reference: the image.
            command: what to run; empty: the image's own command.
            mounts: folders of this machine and where the container finds them, read-only.
        """
        options = [option for option in _CONFINED if option != "--rm"]
        options += [f"--volume={folder}:{inside}:ro" for folder, inside in (mounts or {}).items()]
        return _read(self.runner, "run", "--detach", *options, *self._own_options(), reference, *command).strip()

    def execute(self, container: str, command: Sequence[str]) -> Done:
        """Runs one more command in a container that runs."""
        done = subprocess.run([self.runner, "exec", container, *command], capture_output=True, text=True, check=False)
        return Done(done.returncode, (done.stdout + done.stderr).strip())

    def stop(self, container: str, *, grace_s: int) -> int:
        """Asks a container to end as Kubernetes does, kills it after the grace period, removes it, and returns its exit code."""
        _read(self.runner, "stop", f"--time={grace_s}", container)
        code = int(_read(self.runner, "inspect", "--format={{.State.ExitCode}}", container))
        _read(self.runner, "rm", "--force", container)
        return code

    @property
    def runner(self) -> str:
        """The program that runs images.

        Raises:
            ImagesError: buildah without podman.
        """
        if self.kind != "buildah":
            return self.kind
        if shutil.which("podman") is None:
            raise ImagesError("buildah runs nothing with a read-only root, so what it built cannot be checked; install podman beside it")
        return "podman"

    def _own_options(self) -> list[str]:
        """What docker does without being told: no writable /tmp and /run beside the read-only root, and limits of its own."""
        return [] if self.kind == "docker" else ["--read-only-tmpfs=false", *_limits()]

    def _stream(self, *command: str) -> None:
        code = subprocess.run(command, check=False).returncode
        if code:
            raise ImagesError(f"`{' '.join(command[:2])}` ended with code {code}; its last lines say why")


def choose(wanted: str) -> Engine:
    """The wanted engine, or with ``auto`` the first one that answers.

    Raises:
        ImagesError: there is none; says of each why, and how to get one.
    """
    problems = []
    for kind in KINDS if wanted == "auto" else [kind for kind in KINDS if kind == wanted]:
        problem = _problem(kind)
        if not problem:
            return Engine(kind)
        problems.append(f"{kind}: {problem}")
    raise ImagesError(f"no engine can build images here ({'; '.join(problems)}); {_GET_ONE}")


def _problem(kind: Kind) -> str:
    if shutil.which(kind) is None:
        return "is not installed"
    done = subprocess.run([kind, "info"], capture_output=True, text=True, timeout=60, check=False)
    last = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else (last[-1] if last else f"`{kind} info` ended with code {done.returncode}")


def _limits() -> list[str]:
    """Limits that this process may hand on: podman asks for more by default, which a machine without CAP_SYS_RESOURCE refuses."""
    hard = {"nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1], "nproc": resource.getrlimit(resource.RLIMIT_NPROC)[1]}
    most = {"nofile": hard["nofile"], "nproc": min(hard["nproc"], _MOST_PROCESSES)}
    return [f"--ulimit={name}={most[name]}:{most[name]}" for name in most if hard[name] != resource.RLIM_INFINITY]


def _read(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImagesError(f"`{' '.join(command[:3])}` ended with code {done.returncode}: {done.stderr.strip()}")
    return done.stdout
