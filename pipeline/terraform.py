"""Terraform as a program: where its provider comes from, running it, reading what it says.

Nothing here knows what the configuration is about; :mod:`pipeline.infra` does.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import FinlakeError

PROVIDER = "registry.terraform.io/hashicorp/aws"
LOCK_FILE = ".terraform.lock.hcl"
OVERRIDE_FILE = "localstack_providers_override.tf"  # made by tflocal, for as long as it runs
NO_CHANGE, CHANGES = 0, 2  # exit codes of `terraform plan -detailed-exitcode`
SHOWN_ERRORS = 3
SHOWN_CHARACTERS = 300

Report = Callable[[str], None]


@dataclass(frozen=True)
class ProviderSource:
    """Where Terraform takes the AWS provider from.

    Attributes:
        description: For people: which place, and why.
        folder: Mirror to name to ``terraform init``; None leaves the choice to Terraform.
    """

    description: str
    folder: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What Terraform did, or would do.

    Attributes:
        changes: Changed resources as (action, address), such as ``("create", "module.s3...")``.
        outputs: Values of the root outputs; empty for a plan and after destroy.
        provider: Where the provider came from; empty when Terraform was already initialised.
        seconds: Seconds per step.
        skipped: True when nothing had to be asked of Terraform: same inputs as at the last apply, and
            the stack still has what it made.
    """

    changes: tuple[tuple[str, str], ...] = ()
    outputs: dict[str, Any] = field(default_factory=dict)
    provider: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: bool = False

    @property
    def changed(self) -> bool:
        """Whether there is any change."""
        return bool(self.changes)


# --- the provider --------------------------------------------------------------------------------


def locked_version(lock_file: Path) -> str:
    """Version of the AWS provider that the lock file names.

    Raises:
        FinlakeError: The file is missing or has no such entry.
    """
    text = lock_file.read_text(encoding="utf-8") if lock_file.is_file() else ""
    found = re.search(rf'provider "{re.escape(PROVIDER)}" {{\s*version\s*=\s*"([^"]+)"', text)
    if not found:
        raise FinlakeError(f"{lock_file} does not name the AWS provider", "restore it with `git checkout`")
    return found.group(1)


def platform_name() -> str:
    """This machine in Terraform's words, such as ``linux_amd64``."""
    machine = platform.machine().lower()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    return f"{platform.system().lower()}_{architecture}"


def find_provider(
    environ: Mapping[str, str],
    version: str,
    *,
    home: Path | None = None,
    root: Path = Path("/"),
    target: str | None = None,
) -> ProviderSource:
    """Find out where Terraform shall take the AWS provider from.

    In this order: the user's own Terraform CLI configuration; a mirror on this machine, in the plug-in
    cache, Terraform's own mirror folders, or a usual place for add-ons; the registry.

    Args:
        environ: Environment variables.
        version: Version that the mirror must hold.
        home: Home folder, default the user's.
        root: Root of the file system (tests use another one).
        target: Platform, default this machine's.
    """
    home = home or Path.home()
    for file in _cli_configs(environ, home):
        if file.is_file():
            return ProviderSource(f"as your Terraform CLI configuration says ({file})")
    for folder, kind in _mirrors(environ, home, root):
        if _holds(folder, version, target or platform_name()):
            return ProviderSource(f"from the {kind} {folder}", folder)
    return ProviderSource("from Terraform's registry (no mirror on this machine holds it)")


def _cli_configs(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Files that Terraform would read its CLI configuration from."""
    named = environ.get("TF_CLI_CONFIG_FILE") or environ.get("TERRAFORM_CONFIG")
    # Terraform reads its default file only if none is named. One that is named but missing is as good
    # as none (Terraform warns and goes on), so it is left out of Terraform's environment later.
    yield Path(named) if named and Path(named).is_file() else home / ".terraformrc"


def _mirrors(environ: Mapping[str, str], home: Path, root: Path) -> Iterator[tuple[Path, str]]:
    """Folders that may hold providers in Terraform's mirror layout, the most deliberate first."""
    if cache := environ.get("TF_PLUGIN_CACHE_DIR"):
        yield Path(cache), "plug-in cache"
    data_home = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    data_dirs = [Path(folder) for folder in environ.get("XDG_DATA_DIRS", "").split(":") if folder]
    for folder in (
        home / ".terraform.d/plugins",
        data_home / "terraform/plugins",
        *(folder / "terraform/plugins" for folder in data_dirs),
        home / "Library/Application Support/io.terraform/plugins",
        root / "Library/Application Support/io.terraform/plugins",
        root / "usr/local/share/terraform/plugins",
        root / "usr/share/terraform/plugins",
    ):
        yield folder, "provider mirror"
    for place in ("opt", "srv", "usr/local/share", "usr/local/lib", "usr/share", "usr/lib", "var/lib"):
        for found in sorted((root / place).glob(f"*/{PROVIDER}")):
            yield found.parents[2], "provider mirror"


def _holds(mirror: Path, version: str, target: str) -> bool:
    """Whether a mirror has the provider for a platform, unpacked or as the archive it came in."""
    provider = mirror / PROVIDER
    archive = provider / f"terraform-provider-aws_{version}_{target}.zip"
    try:
        return archive.is_file() or any((provider / version / target).glob("terraform-provider-aws*"))
    except OSError:
        return False  # a folder of somebody else's that we may not look into


# --- running Terraform ---------------------------------------------------------------------------


@dataclass
class Terraform:
    """One folder with a root module, and how to run Terraform there.

    Attributes:
        folder: Where Terraform runs.
        command: ``terraform``, or the path of ``tflocal``.
        environ: Its environment.
        variables: ``-var`` and ``-var-file`` arguments.
        log: File that gets all of Terraform's output.
        source: Folder with the original files, ``terraform/`` of the project.
        report: Gets a short text while something is going on.
        keep_open: File descriptors that Terraform inherits (the lock of the local stage).
    """

    folder: Path
    command: str
    environ: dict[str, str]
    variables: list[str]
    log: Path
    source: Path
    report: Report
    keep_open: tuple[int, ...] = ()
    provider: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    def init(self) -> None:
        """Initialise the folder, unless that was done for the same files and provider.

        Raises:
            FinlakeError: Terraform failed; the message holds the last lines of its output.
        """
        version = locked_version(self.source / LOCK_FILE)
        parts = [self.source / LOCK_FILE, *sorted(self.source.glob("*.tf"))]
        stamp_file = self.folder / ".terraform" / "finlake-init"
        stamp = digest(*(path.read_bytes() for path in parts if path.name != OVERRIDE_FILE), str(self.folder))
        installed = self.folder / ".terraform/providers" / PROVIDER / version / platform_name()
        if stamp_file.is_file() and stamp_file.read_text(encoding="utf-8") == stamp and installed.exists():
            return
        source = find_provider(self.environ, version)
        self.provider = f"hashicorp/aws {version} {source.description}"
        self.report(f"terraform init: {self.provider}")
        if self.folder != self.source:
            shutil.copyfile(self.source / LOCK_FILE, self.folder / LOCK_FILE)
        mirror = [f"-plugin-dir={source.folder}"] if source.folder else []
        # Plain terraform, always: init talks to no AWS endpoint unless there is a remote backend.
        code, lines = self._run("init", ["terraform", "init", "-input=false", "-no-color", *mirror])
        if code != 0:
            hint = "see the whole output in " + str(self.log)
            if source.folder is None:
                hint = (
                    f"without internet, put the provider into a mirror folder that Terraform knows, such as "
                    f"~/.terraform.d/plugins/{PROVIDER}/{version}/{platform_name()}/; {hint}"
                )
            raise FinlakeError(tail("terraform init failed", lines), hint)
        stamp_file.write_text(stamp, encoding="utf-8")

    def run(self, step: str, arguments: Sequence[str], *, good: Sequence[int] = (0,)) -> Outcome:
        """Run one Terraform command that speaks JSON, and collect what it says.

        Args:
            step: Name of the step, for progress and timing.
            arguments: Command and its options, without ``-json`` and variables.
            good: Exit codes that are no failure.

        Raises:
            FinlakeError: Terraform failed; the message holds its errors.
        """
        events = Events(step, self.report)
        code, lines = self._run(step, [self.command, *arguments], events.read)
        if code not in good:
            said = events.errors() or tail(f"terraform {step} failed", lines)
            raise FinlakeError(said, hint_for("\n".join([said, *lines]), self.log))
        return Outcome(
            changes=tuple(events.changes),
            outputs=events.outputs,
            provider=self.provider,
            seconds=self.seconds,
        )

    def _run(
        self, step: str, command: list[str], on_line: Callable[[str], None] = lambda _: None
    ) -> tuple[int, list[str]]:
        """Run a command to its end; its output goes to the log, and line by line to ``on_line``."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        lines: list[str] = []
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"\n=== {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n")
            # In a session of its own, so that Ctrl-C reaches Terraform once, through us: it takes a
            # second interrupt as the wish to die at once, and may then lose its state.
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                pass_fds=self.keep_open,
                start_new_session=True,
            )
            try:
                for line in process.stdout or ():
                    log.write(line)
                    lines.append(line.rstrip())
                    on_line(line)
            except KeyboardInterrupt:
                self.report("stopping Terraform, so that it can save its state")
                process.send_signal(signal.SIGINT)
                log.write(process.communicate()[0] or "")
                raise
            finally:
                self.seconds[step] = round(time.monotonic() - started, 1)
        return process.wait(), lines


# What AWS or Terraform say -> what to do about it; the first that fits counts.
HINTS = (
    (
        r"BucketAlreadyExists",
        "bucket names are unique in all of AWS, and somebody has this one: choose another bucket_suffix in "
        "terraform/envs",
    ),
    (
        r"Already(Exists|OwnedByYou)",
        "it was made without Terraform's knowing, as by an apply that was killed: delete it, or "
        "`terraform import` it, then run the same command again",
    ),
    (
        r"ExpiredToken|[Tt]oken included in the request is expired|SSO session .* expired",
        "log in again, such as by `aws sso login`, then run the same command: Terraform goes on from what it "
        "has saved",
    ),
    (
        r"(?s)acquiring the state lock.*?Lock Info:(?:\\n|\s)*ID:\s*(?P<id>[0-9a-f-]{36})",
        "another Terraform is at work on this stage. Only if it was killed, and you are sure of it: "
        "terraform -chdir=terraform force-unlock {id}",
    ),
    (r"acquiring the state lock", "another Terraform is at work on this stage: wait for it to end"),
    (
        r"Invalid value for (input )?variable|No value for required variable",
        "values of a stage are in its file in terraform/envs, what they may be in terraform/variables.tf",
    ),
    (
        r"AWS account ID not allowed",
        "set AWS_PROFILE to one of the account that account_id in terraform/envs names",
    ),
)


def hint_for(said: str, log: Path) -> str:
    """What to do about a failure of Terraform, and where its whole output is.

    Args:
        said: Its errors and output.
        log: File with all of its output.
    """
    whole = f"see the whole output in {log}"
    for pattern, hint in HINTS:
        if found := re.search(pattern, said):
            return f"{hint.format(**found.groupdict())}; {whole}"
    return whole


class Events:
    """Reads the JSON lines of ``terraform plan|apply|destroy -json``.

    Attributes:
        changes: Planned changes as (action, address).
        outputs: Values of the root outputs.
    """

    def __init__(self, step: str, report: Report) -> None:
        self.changes: list[tuple[str, str]] = []
        self.outputs: dict[str, Any] = {}
        self._step = step
        self._report = report
        self._done = 0
        self._errors: list[str] = []

    def read(self, line: str) -> None:
        """Take in one line; lines that are not JSON (tflocal's own) are left out."""
        try:
            event = json.loads(line)
        except ValueError:
            return
        match event.get("type") if isinstance(event, dict) else None:
            case "planned_change" if event["change"]["action"] not in ("read", "no-op"):
                self.changes.append((event["change"]["action"], event["change"]["resource"]["addr"]))
            case "apply_complete":
                self._done += 1
                self._report(f"terraform {self._step}: {self._done} of {len(self.changes)} resources")
            case "refresh_start" if not self.changes:
                self._report(f"terraform {self._step}: comparing with what is there")
            case "outputs":
                self.outputs = {name: item.get("value") for name, item in event["outputs"].items()}
            case "diagnostic" if event["diagnostic"]["severity"] == "error":
                self._errors.append(_diagnostic(event["diagnostic"]))

    def errors(self) -> str:
        """The errors, as text for people; empty when there is none."""
        unique = list(dict.fromkeys(self._errors))
        more = len(unique) - SHOWN_ERRORS
        return "\n".join([*unique[:SHOWN_ERRORS], *([f"... and {more} more"] if more > 0 else [])])


def _diagnostic(diagnostic: Mapping[str, Any]) -> str:
    place = diagnostic.get("range") or {}
    where = f" ({place['filename']}:{place['start']['line']})" if place else ""
    address = f"{diagnostic['address']}: " if diagnostic.get("address") else ""
    detail = " ".join((diagnostic.get("detail") or "").split())
    said = f"{address}{diagnostic['summary']}{': ' if detail else ''}{detail}"
    return f"terraform{where}: {textwrap.shorten(said, SHOWN_CHARACTERS, placeholder=' ...')}"


def tail(message: str, lines: Sequence[str], count: int = 12) -> str:
    """Message with the last lines of an output that say something."""
    said = [line.strip(" │╷╵") for line in lines]
    said = [line for line in said if line]
    # Terraform tells what it tries first, then the errors: show from the first error on.
    first = next((i for i, line in enumerate(said) if line.startswith("Error")), max(0, len(said) - count))
    return "\n".join([f"{message}:", *(f"  {line}" for line in said[first : first + count])])


def digest(*parts: bytes | str) -> str:
    """SHA-256 over parts, such that shifting bytes from one part to the next changes it."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()


def require(program: str) -> str:
    """Path of a program of this Python environment, or on PATH.

    Raises:
        FinlakeError: It is in neither; the hint says how to get it.
    """
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.is_file() else shutil.which(program)
    if not found:
        hint = {"tflocal": "install it with `pip install 'finlake[emulator]'`"}.get(
            program, "get it from developer.hashicorp.com/terraform, or your package manager"
        )
        raise FinlakeError(f"{program} is not installed", hint)
    return found


def without_missing_config(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, without the name of a Terraform CLI configuration that does not exist."""
    named = environ.get("TF_CLI_CONFIG_FILE")
    drop = {"TF_CLI_CONFIG_FILE"} if named and not Path(named).is_file() else set()
    return {name: value for name, value in environ.items() if name not in drop}
