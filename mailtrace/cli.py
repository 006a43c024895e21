"""The commands: Invoke tasks, and the `mailtrace` program around them.

The only place that prompts or exits, and that opens stdout. What a command does is in `run`; what its flags mean is in
`flags` and `request`. Nothing heavy is imported before a command runs: completion and `--list` wait for this module.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from invoke import Argument, Collection, Config, Context, Exit, ParseError, Program, Task

from mailtrace import flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailtrace.console import Console
    from mailtrace.flags import Flag, Given, Group
    from mailtrace.job import Job
    from mailtrace.load import ConfigLike
    from mailtrace.notify import Event, Listener
    from mailtrace.report import Report
    from mailtrace.run import Stop

USAGE = 2
BUG = 70


# ---------------------------------------------------------------------------------------------- the tasks


class Command(Task):  # type: ignore[type-arg]
    """A task whose flags come from a table, and whose errors reach the user as one message and an exit code."""

    def __init__(self, body: Callable[..., int], groups: tuple[Group, ...], positional: str = "") -> None:
        """`positional` is the flag that words without a flag go to, in the program (Invoke's own would eat flags)."""
        self.groups = groups
        self.stray = positional
        super().__init__(body, positional=(), auto_shortflags=False)

    @property
    def flags(self) -> Iterator[Flag]:
        """All flags of the command."""
        return (flag for group in self.groups for flag in group.flags)

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The flags as Invoke parses them."""
        return [_argument(flag) for flag in self.flags]

    def __call__(self, context: Context, **given: Any) -> None:
        """Run the command; anything but success leaves by `Exit`."""
        empty: Given = {
            flag.key: [] if flag.many else 0 if flag.counted else None if flag.value else False for flag in self.flags
        }
        given = {**empty, **given}
        self.times_called += 1
        code = _guarded(lambda: self.body(given), given)
        if code:
            raise Exit(code=code)


def _argument(flag: Flag) -> Argument:
    names = (flag.name, flag.short) if flag.short else (flag.name,)
    # An alias that is the name itself sends Invoke round in circles.
    key = flag.key if flag.key != flag.name else None
    if flag.counted:
        return Argument(names=names, kind=int, default=0, incrementable=True, help=flag.help, attr_name=key)
    kind: Any = list if flag.many else str if flag.value else bool
    default: Any = [] if flag.many else None if flag.value else False
    return Argument(names=names, kind=kind, default=default, help=flag.help, attr_name=key)


def command(*groups: Group, positional: str = "") -> Callable[[Callable[[Given], int]], Command]:
    """Make a task of a function that takes what was typed and returns the exit code."""
    return lambda body: Command(body, groups, positional)


@command(*flags.RUN, positional="job")
def run(given: Given) -> int:
    """Find mails, choose one, and follow it hop by hop."""
    request = _Request("run", given)
    return request.look() if request.only_looks else request.converse()


@command(*flags.TRACE, positional="job")
def trace(given: Given) -> int:
    """Tell where mails went: every recipient, from host to host."""
    request = _Request("trace", given)
    return request.look() if request.only_looks else request.play()


@command(*flags.GRAPH, positional="job")
def graph(given: Given) -> int:
    """Draw the way of mails as a Graphviz graph (DOT)."""
    request = _Request("graph", given)
    return request.look() if request.only_looks else request.play()


@command(*flags.TRACING, positional="job")
def tracing(given: Given) -> int:
    """Send mails as OpenTelemetry traces, continuously."""
    request = _Request("tracing", given)
    return request.look() if request.only_looks else request.follow()


@command(*flags.PLAY, positional="job")
def play(given: Given) -> int:
    """Run jobs, one after the other; the worst exit code wins."""
    from mailtrace.load import recipes
    from mailtrace.request import wrong

    if not given["job"]:
        raise wrong("play what?", f"write mailtrace play JOB…; these come with mailtrace: {', '.join(recipes())}")
    if given["print_job"] and len(given["job"]) > 1:
        raise wrong("--print-job prints one job", "name one")
    worst, ran = 0, []
    single = given if len(given["job"]) == 1 else {**given, "junit": None}  # several jobs share one file of results
    for number, path in enumerate(given["job"]):
        request = _Request("", {**single, "job": path, "more_events": number > 0})
        code = _guarded(request.look if request.only_looks else request.play, given)
        worst = _worse(worst, code)
        ran.append((path, code, request.report))
        if worst in (130, 143):
            break
    if given["junit"] and not single["junit"]:
        worst = _worse(worst, _guarded(lambda: _results(given["junit"], ran), given))
    return worst


def _results(path: str, ran: list[tuple[str, int, Report | None]]) -> int:
    """Write one file of test results for several jobs."""
    from mailtrace.exporters.junit import not_run, suite, write
    from mailtrace.output import writing

    suites = [suite(report) if report else not_run(name, f"exit code {code}") for name, code, report in ran]
    with writing(path) as stream:
        write(suites, stream)
    return 0


@command(*flags.LINT, positional="path")
def lint(given: Given) -> int:
    """Tell what is wrong with jobs and configs, without running them."""
    from mailtrace.load import lint as problems_of
    from mailtrace.load import lintable
    from mailtrace.wording import count

    if given["plan"]:
        _put("".join(f"{_visible(str(file))}\n" for path in given["path"] or ["."] for file in lintable(path)))
        return 0
    problems = problems_of(given["path"] or ["."])
    for problem in problems:
        _put(_visible(str(problem)) + "\n")
    if problems:
        _say(f"mailtrace: {count(len(problems), 'problem')}")
    return USAGE if problems else 0


@command(*flags.TEST, positional="path")
def test(given: Given) -> int:
    """Play jobs over recorded log lines, and compare the reports with what their tests want."""
    from mailtrace.jobtest import find_tests, run_tests
    from mailtrace.request import wrong
    from mailtrace.wording import count

    places = given["path"] or ["."]
    files = find_tests(places)
    if not files:
        raise wrong(f"there is no NAME.test.yaml in {', '.join(places)}", "mailtrace explain logs tells what is in one")
    if given["plan"]:
        _put("".join(f"{_visible(str(file))}\n" for file in files))
        return 0
    worst = failed = 0
    for result in run_tests(files):
        code, said = result.verdict
        worst, failed = _worse(worst, code), failed + bool(code)
        _put(_visible(said) + "\n")
    _say(f"mailtrace: {count(len(files), 'test')}, {failed} failed")
    return worst


@command(*flags.DOCTOR, positional="job")
def doctor(given: Given) -> int:
    """Tell whether all is there that a trace needs, and the cure of what is not."""
    from mailtrace.doctor import findings

    worst = 0
    for finding in findings(_Request("trace", given).load):
        worst = _worse(worst, finding.code or 0)
        _put(_visible(str(finding)) + "\n")
    return worst


@command(*flags.NEW, positional="recipe")
def new(given: Given) -> int:
    """Write a job to begin with: a recipe, or one that shows what a job may hold."""
    import shlex

    from mailtrace.recipes import write

    path = write(given["recipe"] or "", given["output"], _put)
    if path:
        word = shlex.quote(path)
        _say(f"mailtrace: {path} is written; edit it, then: mailtrace lint {word} && mailtrace play {word}")
    return 0


@command(*flags.EXPLAIN, positional="word")
def explain(given: Given) -> int:
    """Tell what a key, a module, an outcome or a status code means."""
    from mailtrace.explain import explained, overview
    from mailtrace.request import wrong

    word = " ".join(given["word"])
    try:
        _put(_visible(explained(word, described(), _width()) if word else overview(described(), _width())))
    except LookupError as error:
        raise wrong(f'there is no explanation of "{word}"', str(error)) from None
    return 0


def _worse(one: int, other: int) -> int:
    """Of two exit codes the one that comes first in the manual's table."""
    order = (143, 130, BUG, USAGE, 4, 3, 1, 0)
    return min(one, other, key=lambda code: order.index(code) if code in order else 2)


COMMANDS = (run, trace, graph, tracing, play, lint, test, new, explain, doctor)
namespace = Collection(*COMMANDS)


# ------------------------------------------------------------------------------- one command, one job


class _Request:
    """What one command line asks for, from flags to exit code. `kind` is "" where the job file says it."""

    def __init__(self, kind: str, given: Given) -> None:
        from mailtrace.request import job_file

        self.kind = kind
        if given.get("bundle"):
            given = {**given, "job": self._unpacked(given)}
        self.given = {**given, "job": job_file(given["job"])} if given["job"] else given
        self.sets: list[str] = []
        self.report: Report | None = None
        self.only_looks = bool(given.get("plan") or given.get("check") or given.get("print_job"))

    def _unpacked(self, given: Given) -> str:
        """The job of the case bundle that is given; it is unpacked as long as this request lasts."""
        import tempfile
        from pathlib import Path

        from mailtrace.bundle import open_bundle
        from mailtrace.request import wrong

        for name in ("job", "config_path", "log"):
            if given.get(name):
                raise wrong(f"--bundle and --{name.replace('_', '-')} both say what is traced", "give one of them")
        self.folder = tempfile.TemporaryDirectory(prefix="mailtrace-")
        try:
            return str(open_bundle(given["bundle"], Path(self.folder.name)))
        except BaseException:
            self.folder.cleanup()
            raise

    def load(self) -> Job:
        """The job that the flags, the job file and the config make together."""
        from dataclasses import replace

        from mailtrace.request import DEFAULT_EXPORT, shown

        job = self._load([])
        if self.kind in DEFAULT_EXPORT and job.kind in DEFAULT_EXPORT and job.kind != self.kind:
            # The question of the file, the answer of the command: its exports are those of another kind.
            job = self._load([f"kind={self.kind}", *([] if self._exports() else ["export=[]"])])
        if self.kind == "run":
            return replace(job, export=tuple(export for export in job.export if export.to != "-"))
        return shown(job, self.given)

    def _load(self, sets: list[str]) -> Job:
        from mailtrace.errors import RequestError
        from mailtrace.load import load_job
        from mailtrace.request import as_flags, as_sets, split_hosts

        path = self.given["job"]
        self.sets = [*sets, *(as_sets(self._values()) if path else ()), *self.given["set"]]
        try:
            return load_job(
                path or self.document(),
                variables=self.given["var"],
                sets=self.sets,
                config=self._config_of_job(path) if path else None,
                limit=split_hosts(self.given.get("limit") or ()),
                secrets=self._secrets(),
            )
        except RequestError as error:
            # A flag may set several values of a job, and is still wrong once.
            raise RequestError(dict.fromkeys(as_flags(problem, self.given) for problem in error.problems)) from None

    def _config_of_job(self, path: str) -> ConfigLike:
        """What leads over a job's own config: the one that the flags name; where nobody names any, our own logs."""
        from mailtrace.load import find_config
        from mailtrace.request import files_config, names_logs, own_logs

        named = self._named_config()
        if named is not None or names_logs(path) or find_config():
            return named
        own = own_logs()
        return files_config(own) if own else None

    def _values(self) -> dict[str, Any]:
        from mailtrace.request import settings

        return settings(self.kind, self.given, job=bool(self.given["job"]))

    def _exports(self) -> bool:
        return bool(self.given.get("output") or self.given.get("format"))

    def document(self) -> dict[str, Any]:
        """The job file that asks what the flags ask."""
        from mailtrace.request import document

        return document("trace" if self.kind == "run" else self.kind, self._values(), self._config())

    def _named_config(self) -> ConfigLike:
        """The config that the flags name, None where they don't."""
        from mailtrace.request import absolute, files_config, wrong

        path, logs = self.given.get("config_path"), self.given.get("log")
        if path and logs:
            raise wrong("-c and --log both say where the logs are", "give one of them")
        if logs:
            return files_config(logs)
        return absolute(path) if path else None

    def _config(self) -> Any:
        """The config of a command line without a job: the one named, the one found, this machine's own logs."""
        from mailtrace.load import find_config
        from mailtrace.request import absolute, files_config, own_logs, wrong

        if named := self._named_config():
            return named
        if found := find_config():
            return absolute(str(found))
        if own := own_logs():
            return files_config(own)
        raise wrong(
            "no config, and no mail log on this machine",
            "name a config with -c FILE or a log with --log [HOST=]PATH",
        )

    def _secrets(self) -> dict[str, str]:
        """Passwords of the command line, by where the config has them."""
        out = {}
        for name, place in PASSWORDS.items():
            if self.given.get(f"ask_{name}_pass"):
                out[place] = _password(f"{PASSWORD_NAMES[name]} password: ")
            elif self.given.get(f"{name}_pass"):
                out[place] = self.given[f"{name}_pass"]
        # Asked for once, however often the job is loaded.
        self.given.update({f"{name}_pass": out.get(place) for name, place in PASSWORDS.items()})
        self.given.update({f"ask_{name}_pass": False for name in PASSWORDS})
        return out

    # ------------------------------------------------------------------------------ looking only

    def look(self) -> int:
        """`--print-job`, `--plan`, `--check`."""
        if self.given.get("print_job"):
            return self._print_job()
        from mailtrace import run as running

        job = self.load()
        _listen_to_logs(self.given, job)
        if self.given.get("plan"):
            if job.kind == "tracing":
                from mailtrace.tracing.service import plan
            else:
                plan = running.plan
            _put("".join(f"{line}\n" for line in plan(job)))
            return 0
        missing = False
        for item in running.check(job):
            missing = missing or item.missing
            text = job.redactor.redact(running.checked(item, job.find.zone))
            _put(_visible(f"{item.host or item.source}: {text}") + "\n")
        return 3 if missing and job.on_unreachable != "warn" else 0

    def _print_job(self) -> int:
        from mailtrace.request import printed

        job = self.load()  # a job that would not run is not printed
        path = self.given["job"]
        config = self._config_of_job(path) if path else self._config()
        _put(printed(path or self.document(), self.sets, config, job, self.given))
        return 0

    # ---------------------------------------------------------------------------------- running

    def play(self) -> int:
        """Run the job and its exporters."""
        job = self.load()
        return self.follow() if job.kind == "tracing" else self._run(job).exit_code

    def _run(self, job: Job) -> Report:
        from mailtrace.console import Console
        from mailtrace.errors import RequestError
        from mailtrace.request import as_flags
        from mailtrace.run import run_job

        _listen_to_logs(self.given, job)
        with _stoppable() as stop, Console(job) as console, self._listener(job, console) as listener:
            try:
                self.report = run_job(job, listener=listener, stdout=sys.stdout, stop=stop)
            except RequestError as error:  # a file that the question names cannot be read
                raise RequestError(as_flags(problem, self.given) for problem in error.problems) from None
            console.conclude(self.report)
        _annotate(self.report, self.given["job"] or "")
        return self.report

    @contextmanager
    def _listener(self, job: Job, console: Console) -> Iterator[Listener]:
        """Who hears of the run: the user, and the file of `--events`."""
        from pathlib import Path

        from mailtrace.errors import ExportError
        from mailtrace.notify import recorder

        path = self.given.get("events")
        if not path:
            yield console
            return
        try:
            mode = "a" if self.given.get("more_events") else "w"  # `play` writes one file for all its jobs
            stream = Path(path).open(mode, encoding="utf-8")  # noqa: SIM115 - closed below
        except OSError as error:
            raise ExportError(f"cannot write {path}: {error.strerror}") from None
        with stream:
            record = recorder(stream, job.redactor.redact)

            def hear(event: Event) -> None:
                console(event)
                record(event)

            yield hear

    def follow(self) -> int:
        """Trace continuously, or tell how that goes."""
        import gc
        import logging

        from mailtrace.console import StatusLine
        from mailtrace.errors import RequestError
        from mailtrace.problem import Problem
        from mailtrace.tracing import service

        job = self.load()
        if job.kind != "tracing":
            raise RequestError([Problem(f"a {job.kind} job is no tracing job", hint="mailtrace play JOB runs it")])
        gc.enable()  # this one goes on for months
        _listen_to_logs(self.given, job)
        log = logging.getLogger("mailtrace")
        for warning in job.warnings:
            log.warning("%s", warning.message)
        if self.given.get("status"):
            _put("".join(f"{line}\n" for line in service.report(job)))
            return 0
        with StatusLine(log) as line:
            voice = service.Voice(line.above(log.warning), line.above(log.info), line.show)
            return service.Service(self.load, voice).run()

    def converse(self) -> int:
        """Run the job, then go through its mails with the user."""
        from mailtrace.interactive import Conversation
        from mailtrace.times import zone

        job = self.load()
        report = self._run(job)
        alone = job.config.auto_continue or not (sys.stdin.isatty() and sys.stdout.isatty())
        name = job.find.zone
        talk = Conversation(
            report,
            job.inventory,
            lambda line: _put(_folded(job.redactor.redact(line))),
            None if alone or report.partial else _ask,
            zone(name),
            job.find.start_host,
        )
        talk.talk()
        return report.exit_code


def _annotate(report: Report, job: str) -> None:
    """Tell a CI server what went wrong, in its own form; on stderr, which it reads too."""
    from contextlib import suppress

    from mailtrace.annotations import lines

    with suppress(OSError, ValueError):
        sys.stderr.write("".join(f"{line}\n" for line in lines(report, job, os.environ)))
        sys.stderr.flush()


def _folded(line: str) -> str:
    """A line of the conversation in the width of the terminal; as it is where there is none."""
    import shutil
    import textwrap

    if not sys.stdout.isatty():
        return f"{line}\n"
    width = max(20, shutil.get_terminal_size().columns)
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return "\n".join(textwrap.wrap(line, width, subsequent_indent=indent, drop_whitespace=True) or [""]) + "\n"


def _ask(question: str) -> str:
    """The user's answer. Ctrl-D stops the conversation."""
    from select import select

    from mailtrace.interactive import Stopped

    sys.stdout.write(question)
    sys.stdout.flush()
    # `input` by itself would not hear of a Ctrl-C between its prompt and its wait.
    while not select([sys.stdin], [], [], 0.2)[0]:
        pass
    try:
        return input()
    except EOFError:
        _put("\n")
        raise Stopped from None


def _password(question: str) -> str:
    """What the user types, unseen. Raises `RequestError` where nobody is there to type."""
    import warnings
    from getpass import GetPassWarning, getpass

    from mailtrace.request import wrong

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)
            return getpass(question)
    except (EOFError, GetPassWarning):
        hint = f"without a terminal, set one of {', '.join(PASSWORD_VARIABLES)}"
        raise wrong("no password was typed", hint) from None


PASSWORDS = {
    "login": "ssh_config.password",
    "sudo": "ssh_config.sudo_pass",
    "opensearch": "opensearch_config.password",
}
PASSWORD_VARIABLES = ("MAILTRACE_SSH_PASSWORD", "MAILTRACE_SUDO_PASSWORD", "MAILTRACE_OPENSEARCH_PASSWORD")
PASSWORD_NAMES = {"login": "SSH", "sudo": "sudo", "opensearch": "OpenSearch"}


# ------------------------------------------------------------------------- what the user sees and does


def _visible(text: str) -> str:
    """A message in which nothing moves the cursor; line ends stay."""
    from mailtrace.report import visible

    return "\n".join(visible(line) for line in text.split("\n"))


def _say(text: str) -> None:
    """A message for the user, on stderr."""
    try:
        sys.stderr.write(_visible(text) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody is there to read it


def _put(text: str) -> None:
    """A piece of the product, on stdout. Raises `ExportError`, but lets a closed pipe through."""
    from mailtrace.errors import ExportError

    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _abandon_stdout()
        raise ExportError(f"cannot write standard output: {error.strerror or error}") from None


def _guarded(work: Callable[[], int], given: Given) -> int:
    """Do the work of a command; whatever goes wrong becomes a message and an exit code."""
    from mailtrace.errors import MailtraceError, RequestError

    try:
        code = work()
    except RequestError as error:
        for problem in error.problems:
            _say(str(problem) if problem.place else f"mailtrace: {problem}")
        return error.exit_code
    except MailtraceError as error:
        _say(_without_passwords(f"mailtrace: {error}", given))
        return error.exit_code
    except KeyboardInterrupt:
        _say("\nmailtrace: interrupted")
        return 130
    except BrokenPipeError:
        _abandon_stdout()
        return 0
    except Exit:
        raise
    except Exception as error:  # noqa: BLE001 - a user gets no traceback
        if _interrupted(error):
            _say("\nmailtrace: interrupted")
            return 130
        return _bug(error, given)
    return code


def _interrupted(error: BaseException | None) -> bool:
    """Whether an error is what an import made of a Ctrl-C."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _bug(error: Exception, given: Given) -> int:
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{last.filename.rpartition(os.sep)[2]}:{last.lineno}"
    said = f"mailtrace: this is a bug in mailtrace: {type(error).__name__}: {error} ({where})"
    _say(_without_passwords(said, given))
    if given.get("verbose", 0) > 1:
        _say(_without_passwords("".join(traceback.format_exception(error)), given))
        _say("Please report it as CONTRIBUTING.md says, with the text above.")
    else:
        _say("Please report it as CONTRIBUTING.md says, with what the same command prints with -vv.")
    return BUG


def _without_passwords(text: str, given: Given) -> str:
    """A message that may have come from anywhere, without the passwords that were typed or are in the environment."""
    from mailtrace.secret import Redactor, Secret

    typed = [given.get(f"{name}_pass") for name in PASSWORDS]
    known = [os.environ.get(name) for name in PASSWORD_VARIABLES]
    return Redactor(Secret(value) for value in (*typed, *known) if value).redact(text)


def _abandon_stdout() -> None:
    from mailtrace.output import abandon

    abandon(sys.stdout)


def _stoppable() -> Any:
    """A `Stop` that Ctrl-C and SIGTERM call, as long as the block runs."""
    import signal
    import threading
    from contextlib import contextmanager

    from mailtrace.run import Stop

    @contextmanager
    def block() -> Iterator[Stop]:
        stop = Stop()

        def hear(number: int, frame: object) -> None:
            if not stop.signal:
                # Not through sys.stderr: the signal may have come in the middle of a write to it.
                os.write(2, b"\nmailtrace: stopping with what was found; once more to stop at once\n")
            stop(number, frame)

        if threading.current_thread() is not threading.main_thread():
            yield stop
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for number, handler in before.items():
                if handler is not signal.SIG_IGN:  # `nohup`, or a shell's background
                    signal.signal(number, hear)
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    return block()


LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _listen_to_logs(given: Given, job: Job) -> None:
    """Messages of the given level and above, on stderr: -v and --log-level lead over the config's `log_level`."""
    import logging

    from mailtrace.problem import did_you_mean
    from mailtrace.request import wrong

    asked = (given.get("log_level") or "").upper()
    if asked and asked not in LEVELS:
        raise wrong(
            f"--log-level {asked}: there is no such level", did_you_mean(asked, LEVELS) or "one of " + " ".join(LEVELS)
        )
    verbose = ("", "INFO", "DEBUG")[min(given.get("verbose", 0), 2)]
    logger = logging.getLogger("mailtrace")
    logger.setLevel(verbose or asked or job.config.log_level.upper())
    redactor = job.redactor

    class ToUser(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _say(f"mailtrace: {redactor.redact(record.getMessage())}")

    logger.handlers = [ToUser()]
    logger.propagate = False


# --------------------------------------------------------------------------------------- the program


class OwnConfig(Config):
    """Invoke's own settings, without its files and variables: mailtrace has one config, and it is not this one."""

    def load_system(self, merge: bool = True) -> None:
        """Read no /etc/invoke.*."""

    def load_user(self, merge: bool = True) -> None:
        """Read no ~/.invoke.*."""

    def load_shell_env(self) -> None:
        """Read no INVOKE_*."""


class App(Program):
    """The `mailtrace` command: one task at a time, with words for flags where that is plain."""

    def normalize_argv(self, argv: Any) -> None:
        """Bring the command line into the form that Invoke parses, or say what is wrong with it."""
        super().normalize_argv(argv)
        program, *words = self.argv
        if words[:2] == ["--complete", "--"]:
            _complete(words[2:])
        if words[:1] == ["--print-completion-script"]:
            _put(_completion_script(" ".join(words[1:])))
            raise Exit
        self.argv = [program, *arranged(words)]

    def core_args(self) -> list[Argument]:
        """As Invoke's, and our own."""
        return [
            *super().core_args(),
            Argument(names=("jobs",), kind=bool, default=False, help=dict(CORE)["mailtrace --jobs"]),
        ]

    def parse_core(self, argv: Any) -> None:
        """As Invoke, with our exit code for wrong usage."""
        _usage(super().parse_core, argv)
        if self.args.jobs.value:
            from mailtrace.recipes import listed

            _put(listed(_width()))
            raise Exit

    def parse_tasks(self) -> None:
        """As Invoke, with our exit code for wrong usage."""
        _usage(super().parse_tasks)

    def parse_cleanup(self) -> None:
        """As Invoke, with our exit code for wrong usage."""
        _usage(super().parse_cleanup)

    def execute(self) -> None:
        """As Invoke; from here on Ctrl-C is the command's, which has something to tell."""
        import signal

        handler = signal.getsignal(signal.SIGINT)
        if callable(handler) and handler is not signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            os.getcwd()  # noqa: PTH109 - the question is whether it can be told
        except OSError:
            raise Exit("mailtrace: the folder you are in is gone; cd into another one", code=USAGE) from None
        try:
            super().execute()
        except KeyboardInterrupt:  # Invoke would say 1
            raise Exit(code=130) from None

    def print_version(self) -> None:
        """`mailtrace 0.1.0`, and what it uses."""
        from mailtrace import __version__
        from mailtrace.versions import told

        _put("".join(f"{line}\n" for line in told(__version__)))

    def print_help(self) -> None:
        """The commands, and how to go on from here."""
        lines = ["Usage: mailtrace COMMAND [FLAGS]", "", "Where did this mail go?", "", "Commands:", ""]
        for task in COMMANDS:
            lines += _hanging(f"  {task.name:<10}", _summary(task), _width())
        lines += ["", *EXAMPLES[""], "", "More: mailtrace COMMAND --help", "", "Also:", ""]
        for name, text in CORE:
            lines += _hanging(f"  {name:<36}", text, _width())
        sys.stdout.write("\n".join(lines) + "\n")

    def print_task_help(self, name: str) -> None:
        """The flags of one command, in groups."""
        sys.stdout.write("\n".join(_help(self.collection[name], _width())) + "\n")


CORE = (
    ("mailtrace --list", "list the commands"),
    ("mailtrace --jobs", "list the recipes that come with mailtrace"),
    ("mailtrace --version", "show the versions of it and of what it uses"),
    ("mailtrace --print-completion-script", "bash, zsh or fish: completion for that shell"),
)
EXAMPLES = {
    "": [
        "Examples:",
        "",
        "  mailtrace trace -k user@example.com --since '2h ago'",
        "  mailtrace trace --log mx1=/tmp/mx1/mail.log --log mx2=/tmp/mx2/mail.log -k 4bXyZ1",
        "  mailtrace play demo",
    ],
    "run": ["mailtrace run -c config.yaml -h mx1 -k user@example.com --time '2025-07-21 10:00' --time-range 10h"],
    "trace": [
        "mailtrace trace -k user@example.com --since '2h ago'",
        "mailtrace trace --log /var/log/mail.log --sender alice@example.com -o way.svg",
        "mailtrace trace jobs/where-is-this-mail.yaml -e who=user@example.com",
    ],
    "graph": [
        "mailtrace graph -c config.yaml -k user@example.com -o mail.svg",
        "mailtrace graph --since today | dot -Tpng > day.png",
    ],
    "tracing": ["mailtrace tracing -c config.yaml --otel-endpoint http://localhost:4317 --ask-opensearch-pass"],
    "play": ["mailtrace play jobs/is-mail-flowing.yaml jobs/day-graph.yaml -e since='1h ago'"],
    "lint": ["mailtrace lint jobs config.yaml"],
    "doctor": ["mailtrace doctor", "mailtrace doctor -c config.yaml --ask-sudo-pass"],
    "test": ["mailtrace test tests", "mailtrace test jobs/bounces.test.yaml"],
    "new": ["mailtrace new", "mailtrace new why-did-it-bounce -o jobs/bounces.yaml"],
    "explain": ["mailtrace explain find.since", "mailtrace explain in_transit", "mailtrace explain 5.7.1"],
}
WORDS = {"job": "[JOB]", "path": "[PATH…]", "word": "[WORD]", "recipe": "[RECIPE]", "": ""}


def _width() -> int:
    """The columns that help and explanations take."""
    import shutil

    return max(50, min(shutil.get_terminal_size().columns, 110))


def described() -> list[flags.Described]:
    """Every command with its flags, for `explain` and the manual."""
    return [
        flags.Described(task.name, _summary(task), _usage_of(task), task.groups, tuple(EXAMPLES[task.name]))
        for task in COMMANDS
    ]


def _usage_of(task: Command) -> str:
    word = "JOB…" if task is play else WORDS[task.stray]
    return f"mailtrace {task.name} {word} [FLAGS]".replace("  ", " ")


def _summary(task: Command) -> str:
    return (task.__doc__ or "").partition("\n")[0]


def _hanging(left: str, text: str, width: int) -> list[str]:
    """A text beside what it is about, in lines of this width."""
    import textwrap

    first, *rest = textwrap.wrap(text, width - len(left))
    return [f"{left}{first}", *(f"{'':<{len(left)}}{line}" for line in rest)]


def _help(task: Command, width: int) -> list[str]:
    out = [f"Usage: {_usage_of(task)}", "", _summary(task)]
    for group in task.groups:
        out += ["", f"{group.title}:", ""]
        for flag in group.flags:
            short = f"-{flag.short}, " if flag.short else "    "
            left = f"  {short}--{flag.name} {flag.value}".rstrip()
            repeat = " (may be repeated)" if flag.many and "repeated" not in flag.help else ""
            if len(left) > 32:
                out.append(left)
                left = ""
            out += _hanging(f"{left:<34}", flag.help + repeat, width)
    return [*out, "", "Examples:", "", *(f"  {line}" for line in EXAMPLES[task.name])]


def _usage(step: Callable[..., None], *args: Any) -> None:
    try:
        step(*args)
    except ParseError as error:
        raise Exit(f"mailtrace: {str(error).rstrip('!.')}; see mailtrace --help", code=USAGE) from None


def arranged(words: Sequence[str]) -> list[str]:
    """A command line as Invoke parses it: one command, every value behind its flag, stray words as the flag they mean.

    Raises `Exit` with what is wrong, and what was perhaps meant.
    """
    if not words or words[0].startswith("-"):
        return list(words)
    name, *rest = words
    task = next((task for task in COMMANDS if task.name == name), None)
    if task is None:
        raise _wrong_command(name)
    if "--help" in rest or rest == ["-h"] or ("-h" in rest and not any(flag.short == "h" for flag in task.flags)):
        return ["--help", name]
    return [name, *_Arranger(task, rest).arrange()]


def _complete(words: Sequence[str]) -> NoReturn:
    """Tell a shell what the last of the words may become."""
    from mailtrace.completion import candidates

    core = ["--help", *(name.partition(" ")[2] for name, _ in CORE)]
    _put("".join(f"{_visible(word)}\n" for word in candidates(words, described(), core)))
    raise Exit


def _completion_script(shell: str) -> str:
    from mailtrace.completion import SCRIPTS, script
    from mailtrace.problem import did_you_mean

    if shell not in SCRIPTS:
        hint = did_you_mean(shell, SCRIPTS) or f"there are {', '.join(SCRIPTS)}"
        raise Exit(f'mailtrace: there is no completion for "{_visible(shell)}"; {hint}', code=USAGE)
    return script(shell)


def _wrong_command(name: str) -> Exit:
    from mailtrace.problem import did_you_mean

    if name.endswith((".yaml", ".yml")):
        hint = f"to run a job: mailtrace play {name}"
    else:
        core = next((spelling for spelling, _ in CORE if spelling == f"mailtrace --{name}"), "mailtrace --help")
        hint = did_you_mean(name, [task.name for task in COMMANDS]) or f"see {core}"
    return Exit(f'mailtrace: there is no command "{_visible(name)}"; {hint}', code=USAGE)


class _Arranger:
    """Goes once over the words behind a command."""

    def __init__(self, task: Command, words: Sequence[str]) -> None:
        self.task = task
        self.words = list(words)
        self.known = {spelling: flag for flag in task.flags for spelling in flag.spellings}
        self.out: list[str] = []
        self.once: set[str] = set()
        self.after_log = False

    def arrange(self) -> list[str]:
        while self.words:
            word = self.words.pop(0)
            if word == "--":
                for stray in self.words:
                    self._stray(stray)
                break
            if word.startswith("--"):
                self._long(word)
            elif word.startswith("-") and word != "-":
                self._short(word)
            else:
                self._stray(word)
        return self.out

    def _long(self, word: str) -> None:
        name, equals, value = word.partition("=")
        if self.task.name == "explain" and name not in self.known and self._elsewhere(name):
            self._stray(name.lstrip("-"))  # what a flag of another command means
            return
        flag = self._flag(name)
        if not flag.value:
            if equals:
                raise self._wrong(f"{name} takes no value")
            self._take(flag, None)
        else:
            self._take(flag, value if equals else self._value(flag, name))

    def _short(self, word: str) -> None:
        letters = word[1:]
        while letters:
            flag, letters = self._flag(f"-{letters[0]}", word), letters[1:]
            if not flag.value:
                self._take(flag, None)
                continue
            self._take(flag, letters.removeprefix("=") if letters else self._value(flag, f"-{flag.short}"))
            return

    def _flag(self, name: str, word: str = "") -> Flag:
        from mailtrace.problem import did_you_mean

        flag = self.known.get(name)
        if flag is not None:
            return flag
        elsewhere = self._elsewhere(name)
        hint = did_you_mean(name, [spelling for spelling in self.known if len(spelling) > 2]) if len(name) > 2 else ""
        if not hint and elsewhere:
            hint = f"it is a flag of {', '.join(elsewhere)}"
        shown = name if word in ("", name) else f"{name} (in {word})"
        raise self._wrong(f"there is no flag {shown}", hint or f"see mailtrace {self.task.name} --help")

    def _elsewhere(self, name: str) -> list[str]:
        """The commands that have this flag."""
        return [task.name for task in COMMANDS if any(name in flag.spellings for flag in task.flags)]

    def _value(self, flag: Flag, name: str) -> str:
        if not self.words or self.words[0] in self.known:
            raise self._wrong(f"{name} needs a value", f"{name} {flag.value}")
        return self.words.pop(0)

    def _take(self, flag: Flag, value: str | None) -> None:
        self.after_log = flag.name == "log"
        if not flag.many and not flag.counted and flag.value:
            if flag.name in self.once:
                raise self._wrong(f"--{flag.name} is given twice")
            self.once.add(flag.name)
        self.out.append(f"--{flag.name}")
        if value is not None:
            self.out.append(value)

    def _stray(self, word: str) -> None:
        """A word without a flag: a job, a recipe, or one more log behind `--log logs/*`."""
        yaml = word.endswith((".yaml", ".yml"))
        if self.after_log and not yaml:
            self.out += ["--log", word]
            return
        flag = self.known.get(f"--{self.task.stray}")
        if flag is None:
            raise self._wrong(f'what is "{word}"?', f"see mailtrace {self.task.name} --help")
        if self.task.stray == "recipe":
            # Who names a file means the one to write.
            flag = self.known["--output"] if yaml else flag
            if flag.name in self.once:
                raise self._wrong("one job at a time", f"mailtrace {self.task.name} writes one")
        elif not flag.many:
            from mailtrace.errors import RequestError
            from mailtrace.request import job_file

            try:
                path = job_file(word)
            except RequestError as error:
                raise self._wrong(str(error)) from None
            if not yaml and not os.access(path, os.F_OK):
                raise self._wrong(f'there is no job file "{word}"', f"to search for a text: -k {word}")
            if flag.name in self.once:
                raise self._wrong("one job at a time", "mailtrace play runs several")
        self._take(flag, word)

    def _wrong(self, text: str, hint: str = "") -> Exit:
        said = f"mailtrace {self.task.name}: {text}" + (f"; {hint}" if hint else "")
        return Exit(_visible(said), code=USAGE)


def _open_closed() -> None:
    """Put something in the place of standard streams that are closed, or a log gets their numbers and our output.

    Writing to a closed standard output goes wrong, as it does for other programs; nobody can be told of what happens
    to standard error.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            got = os.open(os.devnull, os.O_WRONLY if number != 1 else os.O_RDONLY)
            os.dup2(got, number)
            if got != number:
                os.close(got)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


program = App(namespace=namespace, name="mailtrace", binary="mailtrace", config_class=OwnConfig)


def main() -> None:
    """The `mailtrace` program."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A terminal that lacks a letter gets its number, not a crash.
            reconfigure(errors="backslashreplace")
    try:
        try:
            program.run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _abandon_stdout()
        sys.exit(0)
    except OSError as error:
        _abandon_stdout()
        _say(f"mailtrace: cannot write standard output: {error.strerror or error}")
        sys.exit(4)
    except KeyboardInterrupt:
        sys.exit(130)
