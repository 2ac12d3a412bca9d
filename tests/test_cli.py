"""The command: its exit codes, what it prints where, and that no half-written run is left."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.errors import AllocationError
from jobs import report, stages
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
    shaping = {"walras", "python", "numpy", "pandas", "deltalake", "tzdata"}
    assert shaping <= set(manifest["versions"])
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
        ("summary", lambda _: {}, "20 more; give"),
        ("manifest", lambda _: {}, "name is missing, job is missing, seconds is missing, peak"),
        ("summary", lambda _: [], "the file should be an object, got []"),
        ("manifest", lambda _: None, "the file should be an object, got None"),
        ("summary", without("funnel"), "funnel is missing; give"),
        ("manifest", without("seconds", "name"), "name is missing, seconds is missing; give"),
        (
            "summary",
            without("policies", "contact_history"),  # as before contact policies told them
            "policies is missing, contact_history is missing; give",
        ),
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
        assert said in line and line.endswith("move it away and run its job again")
    assert runs_in(output_of(job)) == [folder]  # no traceback in a file


def test_report_shows_the_run_again(job, allocated):
    shown = walras("run", job, "--out", job.parent / "elsewhere")
    (folder,) = runs_in(job.parent / "elsewhere")
    assert walras("report", folder).stdout == shown.stdout
    found = json.loads(walras("report", folder, "--json").stdout)
    assert (found["run"], found["summary"]) == (str(folder), OPTIMAL)


def test_the_help_says_where_a_failure_is_explained():
    text = " ".join(walras("--help").stdout.split())
    assert "failure-*.txt in the output folder" in text
    for code in ("0 done", "3 infeasible", "4 no allocation found", "130 interrupted"):
        assert code in text


def test_settings_are_listed():
    found = json.loads(walras("settings", "--json").stdout)["settings"]
    assert any(row["path"] == "inputs.partitions" for row in found)
    assert "| `inputs.partitions` |" in walras("settings").stdout


def test_what_only_some_jobs_need_is_not_imported_by_every_command():
    code = "import sys, jobs.cli; print(*{'scipy.optimize', 'sklearn', 'xgboost'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.returncode) == ("\n", 0)
