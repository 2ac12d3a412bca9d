"""The command: its exit codes, what it prints where, and that no half-written run is left."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.errors import AllocationError
from jobs import report, stages, synthetic
from jobs.cli import app
from jobs.stages import STORE
from tests.test_report import infeasible_summary, summary_of
from tests.test_stages import JOB

ROOT = Path(__file__).parent.parent
REAL = stages.stage_function
OPTIMAL = summary_of()
BUDGET = {"set_number": 1, "is_minimal": True, "constraint": "budget", "limit": 9.5,
          "smallest_relaxation": None, "text": "changing it alone is not enough"}  # fmt: skip
LEAST = {"set_number": 1, "is_minimal": True, "constraint": "minimum:data", "limit": 10,
         "smallest_relaxation": 8.0, "text": "lower it by at least 8, to 2"}  # fmt: skip
OTHER = {"set_number": 2, "is_minimal": True, "constraint": "minimum:voice", "limit": 3,
         "smallest_relaxation": 3.0, "text": "lower it by at least 3, to 0"}  # fmt: skip
BUDGET_SAID = "  budget: limit 9.5; changing it alone is not enough"
LEAST_SAID = "  minimum:data: limit 10; relaxing it alone takes 8; lower it by at least 8, to 2"
OTHER_SAID = "  minimum:voice: limit 3; relaxing it alone takes 3; lower it by at least 3, to 0"
TOGETHER = "no allocation keeps these limits together; relax one of them:"
ALONE = "no allocation keeps this limit; relax it:"


@pytest.fixture
def job(tmp_path):
    """Write a tiny job with its inputs; return its path."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "subscribers.csv").write_text("subscriber,optin\n1,true\n2,false\n")
    (folder / "usage.csv").write_text("subscriber,time,charge,mb\n1,2026-09-30,1.5,3\n")
    path = tmp_path / "job.yaml"
    path.write_text(JOB.format(folder=folder))
    return path


@pytest.fixture
def allocated(monkeypatch):
    """Put a small stage in place of allocate, and of the report; return what it shall answer."""
    answer = {"summary": OPTIMAL, "runs": 0}

    def allocate(job, earlier, folder, tasks):
        answer["runs"] += 1
        (folder / "prices.json").write_text("{}")
        if isinstance(answer["summary"], BaseException):
            raise answer["summary"]
        (folder / "certificate.json").write_text("{}")
        for name in ("allocations", "decisions"):
            (folder / name).mkdir()
            (folder / name / "part-00000.parquet").write_text(name)
        return answer["summary"]

    monkeypatch.setattr(
        stages, "stage_function", lambda name: allocate if name == "allocate" else REAL(name)
    )
    monkeypatch.setattr(report, "write", lambda folder: (folder / "report.html").write_text("page"))
    monkeypatch.setattr(report, "table", lambda folder: ["a table"])
    return answer


def walras(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def output_of(job):
    return job.parent / "in" / "runs"


def runs_in(output):
    return sorted(path for path in output.glob("*") if path.name != STORE)


def test_run_leaves_a_whole_run_folder_and_recognises_it(job, allocated):
    result = walras("run", job)
    assert result.exit_code == 0, result.output
    (folder,) = runs_in(output_of(job))
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert files == [
        "allocations/part-00000.parquet",
        "certificate.json",
        "decisions/part-00000.parquet",
        "manifest.json",
        "prices.json",
        "report.html",
        "summary.json",
    ]
    assert json.loads((folder / "summary.json").read_text()) == OPTIMAL
    assert "a table" in result.stdout and f"run folder: {folder}" in result.stdout
    assert "allocate: done in" in result.stderr and "allocate:" not in result.stdout

    again = walras("run", job)
    assert (again.exit_code, allocated["runs"]) == (0, 1)
    assert f"already done: {folder}" in again.stderr
    assert again.stdout == result.stdout


def test_the_manifest_says_what_the_run_was_made_of(job, allocated):
    assert walras("run", job, "--set", "seed=9", "--set", "name=other").exit_code == 0
    (folder,) = runs_in(output_of(job))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert folder.name == f"other-{manifest['fingerprint'][:12]}"
    assert (manifest["name"], manifest["seed"], manifest["job"]["seed"]) == ("other", 9, 9)
    assert manifest["job"]["holdout_share"] == 0.05  # defaults are filled in
    assert list(manifest["seconds"]) == list(manifest["stages"]) == list(stages.STAGES)
    assert list(manifest["inputs"]["usage"]) == ["usage.csv"]
    assert manifest["peak_memory_bytes"] > 10_000_000
    assert {"walras", "python", "numpy", "pandas"} <= set(manifest["versions"])
    assert manifest["stages"]["ingest"]["subscribers"] == 2
    assert manifest["started"] <= manifest["finished"]


@pytest.mark.parametrize("command", ["run", "ingest", "profile", "score", "allocate", "check"])
def test_json_is_one_object_on_standard_output(job, allocated, command):
    result = walras(command, job, "--json")
    found = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert found["exit_code"] == result.exit_code == 0
    if command in stages.STAGES:
        assert found["stage"] == command and found["already_done"] is False
        assert json.loads(walras(command, job, "--json").stdout)["already_done"] is True


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_full_standard_output_is_said_and_is_no_success(more):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "jobs", "check", "configs/quickstart.yaml", *more]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "standard output" in line and "No space left" in line


def test_of_two_that_generate_into_one_folder_the_second_is_told(tmp_path, monkeypatch):
    generate, folder = synthetic.generate, tmp_path / "operator"

    def overtaken(temporary, subscribers, days, seed, tasks):
        made = generate(temporary, subscribers, days, seed, tasks)
        generate(folder, subscribers, days, seed + 1, tasks)
        return made

    monkeypatch.setattr(synthetic, "generate", overtaken)
    result = walras("generate", "--subscribers", 30, "--days", 5, "--out", folder, "--quiet")
    assert result.exit_code == 2 and result.stdout == ""
    said = f"error: --out: another process has filled {folder} meanwhile; give another\n"
    assert result.stderr == said
    assert [path.name for path in tmp_path.iterdir()] == ["operator"]


@pytest.mark.parametrize("command", ["run", "score"])
def test_quiet_shows_no_progress(job, allocated, command):
    assert walras(command, job, "--quiet").stderr == ""


@pytest.mark.parametrize("command", ["run", "allocate"])
@pytest.mark.parametrize(
    ("conflict", "said"),
    [
        ([LEAST], [f"infeasible: {ALONE}", LEAST_SAID]),
        ([BUDGET, LEAST], [f"infeasible: {TOGETHER}", BUDGET_SAID, LEAST_SAID]),
        (
            [BUDGET, LEAST, OTHER],
            [
                f"infeasible: conflict 1 of 2: {TOGETHER}", BUDGET_SAID, LEAST_SAID,
                f"infeasible: conflict 2 of 2: {ALONE}", OTHER_SAID,
                "each conflict must be resolved",
            ],
        ),
    ],
    ids=["one limit", "one set", "two sets"],
)  # fmt: skip
def test_infeasible_is_an_answer_with_exit_code_3(job, allocated, command, conflict, said):
    allocated["summary"] = infeasible_summary(*conflict)
    for _ in range(2):
        result = walras(command, job)
        assert (result.exit_code, allocated["runs"]) == (3, 1)
        lines = result.stderr.splitlines()
        assert lines[lines.index(said[0]) :] == said
    assert len(runs_in(output_of(job))) == (command == "run")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (AllocationError("solver: late; wait"), 4, "no allocation found: solver: late; wait"),
        (KeyboardInterrupt(), 130, "interrupted: nothing half-written is left"),
        (OSError(28, "No space left on device"), 2, "the disk or folder is full (No space left"),
        (PermissionError(13, "Permission denied", "/x"), 2, "error: /x: the disk or folder cannot"),
        (MemoryError(), 2, "error: memory: there is too little for this job; raise"),
    ],
)
def test_an_error_is_one_message_and_leaves_no_run(job, allocated, error, code, said):
    allocated["summary"] = error
    result = walras("run", job, "--quiet")
    assert (result.exit_code, len(result.stderr.splitlines())) == (code, 1)
    assert said in result.stderr
    assert runs_in(output_of(job)) == []
    assert not list(output_of(job).rglob(".tmp-*"))
    assert not list((output_of(job) / STORE).glob("allocate-*"))
    found = json.loads(walras("run", job, "--json").stdout)
    assert (found["exit_code"], found["status"]) == (code, "ERROR")

    allocated["summary"] = OPTIMAL  # and then it goes on where it stopped
    result = walras("run", job)
    assert result.exit_code == 0 and "score: reused" in result.stderr


def test_a_failure_of_our_own_leaves_its_traceback_in_a_file(job, allocated):
    allocated["summary"] = ZeroDivisionError("of walras")
    result = walras("run", job, "--quiet")
    (path,) = runs_in(output_of(job))
    assert result.exit_code == 1
    assert result.stderr == (
        f"failure: walras itself failed (ZeroDivisionError: of walras); where is in {path}\n"
    )
    assert "Traceback (most recent call last)" in path.read_text()
    shown = walras("run", job, "--quiet", "--debug")
    assert shown.exit_code == 1 and "Traceback (most recent call last)" in shown.stderr
    assert runs_in(output_of(job)) == [path]


def test_every_problem_of_a_job_file_is_said_at_once(job, allocated):
    job.write_text(job.read_text() + "seed: -1\nholdout_share: 2\nbudget: 3\n")
    result = walras("run", job)
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert {line.split(": ")[2] for line in lines} == {"seed", "holdout_share", "budget"}
    assert all(line.startswith(f"error: {job}: ") for line in lines)
    problems = json.loads(walras("run", job, "--json").stdout)["problems"]
    assert [f"error: {problem}" for problem in problems] == lines
    assert not output_of(job).exists()


def test_problems_with_the_inputs_are_found_before_anything_runs(job, allocated):
    sets = ("catalogue.channels.sms.consent=opt_in", "inputs.events.usage.time=at")
    result = walras("run", job, *(part for change in sets for part in ("--set", change)))
    assert result.exit_code == 2
    assert "the column at is missing" in result.stderr
    assert "catalogue.channels.sms.consent: there is no such column, got opt_in" in result.stderr
    assert not list((output_of(job) / STORE).iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "none.yaml"), "error: none.yaml: cannot be read"),
        (("check", "none.yaml", "--json"), "error: none.yaml: cannot be read"),
        (("report", "none"), "error: none: is not a finished run"),
        (("run",), "Missing argument 'JOB'"),
        (("run", "none.yaml", "--fast"), "No such option: --fast"),
        (("generate", "--subscribers", "0", "--out", "x"), "Invalid value for '--subscribers'"),
    ],
)
def test_wrong_arguments_are_exit_code_2(arguments, said):
    result = walras(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_an_output_that_cannot_be_written_is_said_first(job, allocated):
    place = job / "runs"  # below a file
    result = walras("run", job, "--out", place)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: output: the folder cannot be written (Not a directory)")


def test_a_folder_in_the_place_of_a_run_is_not_taken_for_one(job, allocated):
    walras("run", job)
    (folder,) = runs_in(output_of(job))
    (folder / "manifest.json").unlink()
    for command in (("run", job), ("report", folder)):
        result = walras(*command)
        assert result.exit_code == 2
        assert f"error: {folder}: is not a finished run" in result.stderr


def without(*names):
    def spoil(content):
        for name in names:
            del content[name]
        return content

    return spoil


def with_(name, value):
    return lambda content: content | {name: value}


@pytest.mark.parametrize(
    "case",
    [
        ("summary", lambda _: {}, "status is missing, remedy is missing, currency is missing, "),
        ("summary", lambda _: {}, "18 more; give"),
        ("manifest", lambda _: {}, "name is missing, job is missing, seconds is missing, peak"),
        ("summary", lambda _: [], "the file should be an object, got []"),
        ("manifest", lambda _: None, "the file should be an object, got None"),
        ("summary", without("funnel"), "funnel is missing; give"),
        ("manifest", without("seconds", "name"), "name is missing, seconds is missing; give"),
        ("summary", with_("value", "12"), "value should be a valid number, got '12'"),
        ("summary", with_("value", float("nan")), "value should be a finite number, got nan"),
        ("summary", with_("offers", {}), "offers should be a valid array, got {}"),
        ("summary", with_("constraints", [{}]), "constraints.0.name is missing, constraints.0."),
        ("manifest", with_("job", {}), "job.solver is missing"),
    ],
)
@pytest.mark.parametrize("command", ["run", "report"])
def test_a_folder_that_holds_other_json_is_no_run(job, allocated, case, command):
    file, spoil, said = case
    walras("run", job)
    (folder,) = runs_in(output_of(job))
    path = folder / f"{file}.json"
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    for more in ((), ("--json",)):
        result = walras(command, {"run": job, "report": folder}[command], *more)
        assert result.exit_code == 2
        line = result.stderr.splitlines()[-1]
        assert line.startswith(f"error: {path}: is not of a finished run of this walras: ")
        assert said in line and line.endswith("or move this one away")
    assert runs_in(output_of(job)) == [folder]  # no traceback in a file


def test_report_shows_the_run_again(job, allocated):
    shown = walras("run", job, "--out", job.parent / "elsewhere")
    (folder,) = runs_in(job.parent / "elsewhere")
    assert walras("report", folder).stdout == shown.stdout
    found = json.loads(walras("report", folder, "--json").stdout)
    assert (found["run"], found["summary"]) == (str(folder), OPTIMAL)


def test_generate_fills_a_new_folder_whole(tmp_path):
    folder = tmp_path / "deep" / "operator"
    made = walras("generate", "--subscribers", 30, "--days", 5, "--out", folder, "--json")
    assert made.exit_code == 0 and json.loads(made.stdout)["folder"] == str(folder)
    assert {"subscribers", "usage", "contacts"} <= {path.name for path in folder.iterdir()}
    assert [path.name for path in folder.parent.iterdir()] == ["operator"]
    again = walras("generate", "--subscribers", 30, "--out", folder)
    assert again.exit_code == 2 and "is there and is not empty" in again.stderr


@pytest.mark.parametrize(
    ("leads_to", "said"),
    [
        ("new", None),
        ("empty", None),
        ("deep/new", None),
        ("full", "is there and is not empty"),
        ("file", "is there and is not empty"),
        ("out", "is there and is not empty"),  # itself
        ("file/below", "the folder cannot be made (File exists)"),
    ],
)
def test_generate_follows_a_link_or_refuses_it(tmp_path, leads_to, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("")
    (tmp_path / "file").write_text("")
    out = tmp_path / "out"
    out.symlink_to(tmp_path / leads_to)
    result = walras("generate", "--subscribers", 30, "--days", 5, "--out", out, "--quiet")
    if said is None:
        assert (result.exit_code, result.stdout) == (0, f"generated: {out}\n")
        assert (out / "subscribers").is_dir() and out.is_symlink()
        assert not list(tmp_path.rglob(".tmp-*"))
    else:
        assert result.exit_code == 2
        assert result.stderr.startswith("error: --out: ") and said in result.stderr
        assert f"got {out}" in result.stderr
        assert {path.name for path in tmp_path.iterdir()} == {"empty", "full", "file", "out"}


@pytest.mark.parametrize("place", ["file/out", "x" * 300])
def test_generate_refuses_a_place_where_no_folder_can_be(tmp_path, place):
    (tmp_path / "file").write_text("")
    result = walras("generate", "--out", tmp_path / place)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --out: the folder cannot be made (")


def unread(stream, *arguments):
    """Run the command while nobody reads one of its streams; return how it ended."""
    read, write = os.pipe()
    os.close(read)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: write}
    command = [sys.executable, "-m", "jobs", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, text=True, **streams)
    os.close(write)
    return done


@pytest.mark.parametrize("arguments", ["settings", "settings --json", "version", "--help"])
def test_whoever_stops_reading_is_left_in_peace(arguments):
    done = unread("stdout", *arguments.split())
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("manner", [(), ("--json",)])
def test_a_run_whose_result_nobody_reads_is_whole(job, manner):
    done = unread("stdout", "run", job, "--quiet", *manner)
    assert (done.returncode, done.stderr) == (141, "")
    (folder,) = runs_in(output_of(job))
    assert (folder / "report.html").exists()


def test_a_run_whose_progress_nobody_reads_ends_and_leaves_nothing(job):
    done = unread("stderr", "run", job)
    assert (done.returncode, done.stdout) == (141, "")
    assert runs_in(output_of(job)) == [] and list((output_of(job) / STORE).iterdir()) == []


def test_the_help_says_where_a_failure_is_explained():
    text = " ".join(walras("--help").stdout.split())
    assert "failure-*.txt in the output folder" in text
    for code in ("0 done", "3 infeasible", "4 no allocation found", "130 interrupted"):
        assert code in text


def test_settings_are_listed():
    found = json.loads(walras("settings", "--json").stdout)["settings"]
    assert any(row["path"] == "inputs.partitions" for row in found)
    assert "| `inputs.partitions` |" in walras("settings").stdout


def start(job, patch, **options):
    """Start the command in a process of its own, some code of it replaced."""
    code = textwrap.dedent(patch) + f"\nimport sys\nsys.argv = ['walras', 'run', {str(job)!r}]\n"
    code += "from jobs.cli import main\nmain()\n"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


SLEEPY = """
    import time
    from jobs import stages

    def ingest(job, folder, tasks):
        (folder / "half").write_text("half")
        print("begun", flush=True)
        tasks.map("sleep", time.sleep, [0, 50, 50])

    stages.stage_function = lambda name: ingest
"""


def test_ctrl_c_ends_a_running_job_soon_and_leaves_nothing(job):
    process = start(job, SLEEPY)
    assert process.stdout.readline() == "begun\n"
    time.sleep(1.0)  # until the tasks sleep
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=40)
    assert process.returncode == 130
    assert time.monotonic() - began < 30
    assert said.splitlines()[-1].startswith("interrupted: nothing half-written is left")
    assert list((output_of(job) / STORE).iterdir()) == []


def test_a_killed_job_leaves_nothing_that_looks_finished(job, allocated):
    process = start(job, SLEEPY)
    process.stdout.readline()
    process.kill()
    process.communicate()
    (left,) = (output_of(job) / STORE).iterdir()
    assert left.name.startswith(".tmp-") and (left / "half").exists()
    assert walras("run", job).exit_code == 0
    assert not left.exists()


def test_a_full_disk_is_one_message(job):
    def no_room():  # a file may have so many bytes: the write that goes on fails as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    process = start(job, "", preexec_fn=no_room, env={**os.environ, "NUMBA_DISABLE_JIT": "1"})
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "is full" in said.splitlines()[-1] and "Traceback" not in said
    assert runs_in(output_of(job)) == [] and list((output_of(job) / STORE).iterdir()) == []
