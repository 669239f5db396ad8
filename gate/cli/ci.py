"""`perf-gate ci ...`: the steps that the GitHub workflows run (action.yml maps a mode to each).

measure and update-baseline run the project's code; verdict and report only read what it left, and
trust none of it. Publishing never changes a verdict.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import click

from gate import report as reports
from gate.cli import drift, jobcache
from gate.cli.baselines import last_report
from gate.cli.options import cache_directory, config_option, option
from gate.cli.sources import SUITES, configuration, endpoint_cases, read_suites
from gate.config import Config
from gate.errors import BLOCKED, INCONCLUSIVE, NOTHING_COMPARED, PASS, ConfigError, GateError, PublishError
from gate.github import artifact, override, summary
from gate.github.again import Ground, Read
from gate.github.client import Client
from gate.github.comment import Author
from gate.github.commit import Checkout, Remote, commit_baselines, is_update, offer
from gate.github.event import Event, Runner, job_event, read_runner
from gate.github.override import Override
from gate.github.stage import Desk, comment_on
from gate.github.verdict import (
    Decision,
    Found,
    Result,
    accepted_by,
    consider,
    decide,
    find_report,
    overridden,
)
from gate.model import Finding, Report, State
from gate.plan import asked
from gate.schema import report_to_json
from gate.target.repository import Repository
from gate.toml import read_config

Perform = Callable[[Sequence[str]], int]  # a perf-gate command line, without the program; its exit code
TOKEN = "PERF_GATE_GITHUB_TOKEN"  # the variable's name
PASS_ON = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}

artifact_option = option(
    "--report-artifact",
    default="perf-gate-report",
    show_default=True,
    help="The artifact that holds report.json; '-' and a pull request's number may follow its name.",
)
label_option = option(
    "--override-label",
    default=override.LABEL,
    show_default=True,
    help="Accepts a blocked pull request, set by somebody who may write; 'off' accepts nothing so.",
)
caching_option = option(
    "--caching",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="Whether GitHub keeps data sets and dependencies for the next job.",
)
token_option = option("--github-token", default="", hidden=True)
python_option = option(
    "--python-path", default="", help="The project's Python; its directory comes first on PATH."
)
flags_argument = click.argument("flags", nargs=-1, type=click.UNPROCESSED)


@click.group()
def ci() -> None:
    """The steps that the GitHub workflows run."""


@ci.command("cache")
@caching_option
@config_option
def cache_command(caching: str, config: str) -> int:
    """Say where data sets and installed dependencies lie, and with what the keys of their caches begin.

    The outputs: path, for PERF_GATE_CACHE, and prefix, empty where nothing is to be restored.
    """
    here = job()
    path = jobcache.directory(here.environ, caching=caching == "on")
    prefix = jobcache.prefix(config) if caching == "on" else ""
    here.put({"path": path, "prefix": prefix})
    click.echo(f"{path or cache_directory(here.environ)}: {prefix or 'not kept by GitHub'}")
    return 0


@ci.command(context_settings=PASS_ON)
@python_option
@flags_argument
def measure(python_path: str, flags: tuple[str, ...]) -> int:
    """Do what `perf-gate run` does, with its flags, and write the job summary and the step's outputs.

    report.json goes where --json says, by default below RUNNER_TEMP; the output report-path names it.
    """
    put_first(python_path)
    return measure_job(flags, job(), perform=perform)


@ci.command()
@option(
    "--measure-result",
    type=click.Choice([result.value for result in Result]),
    required=True,
    help="How the measuring job ended: needs.<job>.result.",
)
@option("--report", type=click.Path(path_type=Path), help="A report.json at hand, instead of the artifact.")
@artifact_option
@label_option
@token_option
def verdict(
    measure_result: str, report: Path | None, report_artifact: str, override_label: str, github_token: str
) -> int:
    """Decide the required check from how the measuring job ended and from the report it left.

    A skipped measurement is answered by the newest finished run of the same commit. A blocked report
    passes where somebody with write permission has set the label since that commit was pushed.
    """
    here = job(github_token)
    result = Result(measure_result)
    if report is not None:
        read = artifact.parse(_text(report), where=str(report)) if report.exists() else None
        return answer(decide(result, read), read, here, show=True)
    with here.client() as client:
        found = find_report(client, here.event, here.runner, result=result, name=report_artifact)
        decision, judged, taken = decided(client, here, found, override_label)
    borrowed = found.report is not None and result is Result.SKIPPED
    if borrowed:
        here.say(f"not measured again: run {found.run} measured this commit")
    path = kept(judged, here) if judged and taken else ""
    if taken:
        here.put({"accepted-by": taken.by})
    return answer(decision, judged, here, show=borrowed or taken is not None, path=path)


@ci.command("report")
@artifact_option
@option(
    "--comment",
    type=click.Choice(["always", "on-regression"]),
    default="always",
    show_default=True,
    help="on-regression: no comment before something is not well; one that is there is kept up to date.",
)
@option("--comment-id", default="default", show_default=True, help="Tells several gates apart.")
@option(
    "--comment-author",
    default="github-actions[bot]",
    show_default=True,
    help="The account of the token: only its comments are ours.",
)
@config_option
@option(
    "--suite",
    multiple=True,
    type=click.Choice(SUITES),
    help="The measuring job's, so that what it was not asked for is not missed.",
)
@option("--only", default="*", show_default=True, help="The measuring job's, as --suite.")
@label_option
@token_option
def report_command(
    report_artifact: str,
    comment: str,
    comment_id: str,
    comment_author: str,
    config: str,
    suite: tuple[str, ...],
    only: str,
    override_label: str,
    github_token: str,
) -> int:
    """Comment a finished run's report on its pull request (for `workflow_run`; checks nothing out).

    The report's samples are judged again with the base commit's configuration and baselines, and our
    own text is made of that; the comment says so first where the check came to another verdict.
    """
    here = job(github_token)
    run = here.event.completed
    if run is None:
        raise ConfigError(
            f"`ci report` answers a workflow_run event, not {here.event.name}",
            hint="use the workflow perf-gate-report.yml",
        )
    desk = Desk(
        author=Author(gate=comment_id, login=comment_author),
        name=report_artifact,
        survey=Surveyor(path=str(PurePosixPath(config)), suites=frozenset(suite), only=only),
        label=override_label,
        always=comment == "always",
    )
    with here.client() as client:
        said = comment_on(run, client, desk)
    here.say(said.text)
    here.put({"comment-url": said.url})
    if said.unposted:
        here.summarize(said.unposted)
    return 0


@ci.command("update-baseline", context_settings=PASS_ON)
@config_option
@caching_option
@option("--baselines", default="baselines", show_default=True, help="The directory of the baselines.")
@option(
    "--check-workflow",
    default="perf-gate.yml",
    show_default=True,
    help="Started on the pull request that a protected branch makes necessary.",
)
@label_option
@python_option
@token_option
@flags_argument
def update_baseline(
    config: str,
    caching: str,
    baselines: str,
    check_workflow: str,
    override_label: str,
    python_path: str,
    github_token: str,
    flags: tuple[str, ...],
) -> int:
    """Run `perf-gate baseline update`, with its flags, and commit what changed to the default branch.

    Only for what is already merged: a push to the default branch, a schedule, or a dispatch there. The
    output cache-key names the data set and the dependencies that it used; none but this command's are kept.
    """
    here = job(github_token)
    require_default_branch(here.event)
    # What runs now is the project's code; it needs no token and must not inherit this one.
    os.environ.pop(TOKEN, None)
    put_first(python_path)
    began = time.time()
    # With an App's token our own commit starts this again, and again for the times of that.
    untimed = ("--times", "off") if is_update(checkout_of(here)) else ()
    if code := perform(["baseline", "update", "--config", config, *flags, *untimed]):
        return code
    if caching == "on":
        key = kept_key(here.environ, config, since=began)
        here.put({"cache-key": key})
        here.say(f"data set and dependencies: {key}")
    here.summarize(drift_text(here, config))
    notes = acceptances(here, check_workflow, override_label) if here.event.name == "push" else ()
    here.say(publish_baselines(here, baselines, check_workflow, notes))
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """This job: its event, its runner, and where what we say goes."""

    event: Event
    runner: Runner
    environ: dict[str, str] = field(repr=False)

    def client(self) -> Client:
        """Raises ConfigError without a token."""
        if not self.runner.token:
            raise ConfigError("no token for GitHub's API", hint=f"set {TOKEN}, or github-token in the action")
        return Client(
            base=self.runner.api_url,
            repository=self.runner.repository,
            token=self.runner.token,
            notify=self.say,
        )

    def say(self, text: str) -> None:
        """One line on stderr, harmless to the runner that reads it."""
        click.echo(f"perf-gate: {summary.plain(text, 1000)}", err=True)

    def summarize(self, markdown: str) -> None:
        if self.runner.summary:
            summary.write_summary(Path(self.runner.summary), markdown)

    def put_out(self, report: Report | None, *, state: str, path: str = "") -> None:
        self.put(summary.outputs(report, state=state, path=path))

    def put(self, values: Mapping[str, str]) -> None:
        if self.runner.output:
            summary.write_outputs(Path(self.runner.output), values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyor:
    """Reads what a commit says a run is judged by. path: of the configuration, from the root."""

    path: str
    suites: frozenset[str] = frozenset()
    only: str = "*"

    def __call__(self, read: Read, ref: str) -> Ground:
        """Raises ConfigError or BaselineError where a file is there and cannot be read."""
        text = read(self.path)
        config = read_config(text, name=self.path) if text is not None else None
        directory = config.baselines if config else str(Config.model_fields["baselines"].default)
        stored = read_suites(directory, read, ref=ref)
        named = {planned.case for planned in stored.cases} if stored else set()
        if config is not None:
            named |= {planned.case for planned in endpoint_cases(config)}
        known = frozenset(case for case in named if asked(case, only=self.only, suites=self.suites))
        suite = config.suites.benchmarks if config else None
        benchmarks = (
            [str(PurePosixPath(config.target.directory, path)) for path in suite.paths]
            if config and suite
            else []
        )
        places = (
            ("workflows", ".github/"),
            ("the gate's configuration", self.path),
            ("baselines", f"{directory}/"),
            *(("benchmarks", path) for path in benchmarks),
            *(("benchmarks", f"{path}/") for path in benchmarks),
        )
        return Ground(ref=ref, config=config, stored=stored, known=known, places=places)

    def drift(self, report: Report, ground: Ground, at: Callable[[str], Read]) -> tuple[Finding, ...]:
        """What the change and those merged before it have come to. Raises BaselineError."""
        if ground.config is None:
            return ()
        found = drift.drifted(report, ground.config, read=at(ground.ref), at=at)
        return drift.findings(found, ground.config)


def job(token: str = "") -> Job:
    """This process's job. Raises ConfigError outside of GitHub Actions."""
    environ = dict(os.environ)
    event = job_event(environ)
    if event is None:
        raise ConfigError(
            "not inside a GitHub Actions job: GITHUB_EVENT_NAME is not set",
            hint="`perf-gate run` measures anywhere",
        )
    return Job(event=event, runner=read_runner(environ, token=token), environ=environ)


def put_first(python: str) -> None:
    """Let the configuration's `python3` be this interpreter, for this process and what it starts."""
    if not python:
        return
    if not Path(python).is_absolute():
        raise ConfigError(f"python-path must be an absolute path, not {python!r}")
    os.environ["PATH"] = os.pathsep.join((str(Path(python).parent), os.environ.get("PATH", os.defpath)))


def perform(command: Sequence[str]) -> int:
    """Run another perf-gate command in this process. Its errors pass through."""
    from gate.cli import cli

    result = cli.main(args=list(command), prog_name="perf-gate", standalone_mode=False)
    return result if isinstance(result, int) else 0


def measure_job(flags: Sequence[str], here: Job, *, perform: Perform) -> int:
    """Measure, then say it in the job's own places; the exit code is `perf-gate run`'s.

    Between the two fence lines the runner obeys no command that a benchmark prints. After an error
    the fence stays closed, since its text may quote a log.
    """
    path = report_path(flags, here.environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    stop, resume = summary.fence()
    click.echo(stop)
    try:
        code = perform(["run", *flags, "--json", str(path)])
    except GateError as error:
        here.summarize(no_verdict(error))
        here.put_out(None, state=State.ERROR)
        raise
    report = artifact.parse(_text(path), where=str(path))
    click.echo(resume)
    for line in summary.annotate(report):
        click.echo(line)
    here.summarize(whole(report, here))
    here.put_out(report, state=report.verdict.state, path=str(path))
    return code


def whole(report: Report, here: Job) -> str:
    """A report for the job's summary."""
    return reports.markdown(report, limit=summary.MOST_BYTES, commit=here.event.sha)


def report_path(flags: Sequence[str], environ: Mapping[str, str]) -> Path:
    """Where the report goes: --json, PERF_GATE_JSON, or a place outside the working tree."""
    if named := flag_value(flags, "--json", environ):
        return Path(named)
    return Path(environ.get("RUNNER_TEMP") or tempfile.gettempdir()) / "perf-gate" / "report.json"


def flag_value(flags: Sequence[str], name: str, environ: Mapping[str, str]) -> str:
    """What a flag that is passed on says, or its environment variable; empty where nobody said it."""
    for place, flag in enumerate(flags):
        if flag == name and place + 1 < len(flags):
            return flags[place + 1]
        if flag.startswith(f"{name}="):
            return flag.partition("=")[2]
    return environ.get(f"PERF_GATE_{name.removeprefix('--').upper()}", "")


def no_verdict(error: GateError) -> str:
    """The job summary of a run without a report. The log stays in the log."""
    lines = [
        error.message,
        f"at {error.where}" if error.where else "",
        f"hint: {error.hint}" if error.hint else "",
    ]
    shown = "\n".join(f"    {summary.plain(line, 500)}" for line in lines if line)
    return f"**perf-gate: no verdict** (exit {error.exit_code})\n\n{shown}\n"


def decided(
    client: Client, here: Job, found: Found, label: str
) -> tuple[Decision, Report | None, Override | None]:
    """What the found report and how it came about answer, and what a label makes of it, if it counts.

    A label that cannot be looked up leaves the check as it is, and says so: publishing and asking never
    turn a blocked change into an error of GitHub's.
    """
    decision = decide(found.result, found.report)
    if decision.exit_code != BLOCKED:
        return decision, found.report, None
    try:
        ruling = consider(client, here.event, here.runner, found, label=label)
    except PublishError as error:
        here.say(f"the label {label} could not be looked up: {error.message} ({error.where})")
        return decision, found.report, None
    decision, judged = overridden(decision, found.report, ruling)
    return decision, judged, ruling.override if judged is not found.report else None


def kept(report: Report, here: Job) -> str:
    """Where a report that a label changed was written, for the record; the measuring job's stays as it is."""
    path = Path(here.environ.get("RUNNER_TEMP") or tempfile.gettempdir()) / "perf-gate" / "accepted.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report_to_json(report), encoding="utf-8")
    return str(path)


def answer(decision: Decision, report: Report | None, here: Job, *, show: bool, path: str = "") -> int:
    """Say the decision everywhere and give its exit code.

    show: the whole report in the summary, where the measuring job's own summary does not have it.
    path: of the report, where a label changed it.
    """
    text = summary.plain(decision.text, 500)
    if decision.exit_code:
        click.echo(summary.command("error", text, title="perf-gate"))
    else:
        click.echo(f"perf-gate: {text}")
    shown = whole(report, here) if report and show else ""
    here.summarize(f"    perf-gate: {text}\n\n{shown}")
    answered = report is not None and decision.exit_code in (PASS, BLOCKED, NOTHING_COMPARED, INCONCLUSIVE)
    here.put_out(report, state=report.verdict.state if report and answered else State.ERROR, path=path)
    return decision.exit_code


def require_default_branch(event: Event) -> None:
    """Raises ConfigError for an event whose numbers are not the default branch's."""
    if not event.may_update_baselines:
        raise ConfigError(
            f"baselines are not updated from {event.name} on {event.ref or 'no ref'}",
            hint="only a push to the default branch, a schedule, or a dispatch there may update them; "
            "in a pull request use `perf-gate accept`",
        )


def kept_key(environ: Mapping[str, str], config: str, *, since: float) -> str:
    """The key under which GitHub is to keep what was used since then; what was not goes first."""
    home = cache_directory(environ)
    jobcache.trim(home, since=since)
    return jobcache.key(home, config)


def drift_text(here: Job, config: str) -> str:
    """How far the branch has come from its anchor, for the job's summary; empty where nobody can say."""
    try:
        repository = Repository.discover(Path.cwd(), environ=here.environ)
        report = last_report(repository, None)
        found = drift.drift_here(report, configuration(Path.cwd() / config, config), repository)
    except GateError as error:
        here.say(f"no drift: {error.message}")
        return ""
    return "".join(f"    {summary.plain(line, 500)}\n" for line in drift.told(found).splitlines())


def acceptances(here: Job, check_workflow: str, label: str) -> tuple[str, ...]:
    """Trailers that name whoever accepted by label what this push merged; none where GitHub cannot say."""
    if not here.runner.token or label == override.OFF:
        return ()
    try:
        with here.client() as client:
            return accepted_by(client, here.event.sha, check_workflow, label=label)
    except PublishError as error:
        here.say(f"who accepted what was merged could not be looked up: {error.message}")
        return ()


def checkout_of(here: Job) -> Checkout:
    """The working tree. git gets the token for one command at a time, never by its environment."""
    environ = {name: value for name, value in here.environ.items() if name != TOKEN}
    return Checkout(root=Path.cwd(), environ=environ)


def publish_baselines(here: Job, directory: str, check_workflow: str, notes: Sequence[str] = ()) -> str:
    """Commit and push what changed; the sentence says what became of it."""
    runner, branch = here.runner, here.event.default_branch
    remote = Remote(url=f"{runner.server_url}/{runner.repository}.git", token=runner.token)
    update = commit_baselines(checkout_of(here), directory, branch=branch, remote=remote, notes=notes)
    if update.action == "protected":
        with here.client() as client:
            return offer(client, update, branch=branch, check_workflow=check_workflow)
    words = {
        "unchanged": "the baselines already hold these values",
        "pushed": f"committed to {branch}: {', '.join(update.files)}",
        "kept back": f"{branch} is protected, and only times are new: they are not offered on their own",
        "moved": f"{branch} has moved on and has newer values; these were left out",
    }
    return words[update.action]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PublishError(f"the report cannot be read: {type(error).__name__}", where=str(path)) from error
