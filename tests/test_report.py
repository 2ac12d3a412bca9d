import io
import json
from html.parser import HTMLParser

import pytest
from rich.console import Console

from engine.errors import DataError
from jobs import report

CATEGORIES = ("data", "voice", "roaming", "retention")
CHANNELS = ("sms", "email", "push", "ussd", "call", "app")
OFFERS = (
    "data_booster_1gb", "data_booster_5gb", "weekend_unlimited", "night_data", "voice_100",
    "voice_unlimited", "roaming_week", "roaming_eu", "retention_discount", "retention_bonus_data",
    "emergency_credit", "service_recovery_apology", "upsell_postpaid_family",
)  # fmt: skip
EVIL = "</script><script>alert('segment')</script>"


def constraint(k):
    """The k-th of 30 limits: some bind, some are minimums, some are ranges."""
    binds, low = k % 3 == 0, k % 7 == 5
    limit = 1_000.0 * (k + 1) + (0.5 if k % 4 == 0 else 0)
    use = limit if binds else limit * (1.6 if low else 0.2 + 0.02 * k)
    price = round(0.0137 * (k + 1), 6) * (-1 if low else 1) if binds else 0.0
    measure = ("contacts", "cost", "acceptances", "value")[k % 4]
    unit = "EUR" if measure in {"cost", "value"} else measure
    return {
        "name": f"{('capacity', 'quota', 'budget', 'minimum')[k % 4]}:{OFFERS[k % 13]}_{k}",
        "measure": measure,
        "kind": "hard",
        "unit": unit,
        "use": use,
        "at_least": limit if low else None,
        "at_most": None if low else limit,
        "price": price,
        "worth": f"one more of {unit} would be worth EUR {price:.4f}" if binds else "it has room",
        "overrun": 0.0,
        **dict.fromkeys(("penalty", "paid", "numerator", "denominator")),
    }


def summary_of(**changes):
    contacts = [9_000 - 600 * k for k in range(13)]
    return {
        "status": "OPTIMAL",
        "remedy": "",
        "currency": "EUR",
        "objective": {"maximise": "value", "unit": "EUR"},
        "value": 412_345.67,
        "expected_value": 412_345.67,
        "penalties": 0.0,
        "stages": [],
        "bound": 412_349.01,
        "gap": 8.1e-6,
        "bound_by": "Lagrangian bound",
        "constraints": [constraint(k) for k in range(30)],
        "funnel": [
            {"step": step, "subscribers": n, "text": text}
            for step, n, text in (
                ("subscribers", 200_000, "everyone in the subscriber table"),
                ("hold_out", 9_961, "kept aside to measure lift"),
                ("not_eligible", 31_200, "no offer's condition, consent or device fits"),
                ("policy", 24_039, "contact policies leave no contact"),
                ("no_offer_worth_its_price", 38_300, "others make better use of what is limited"),
                ("contacted", 96_500, "got one or two offers"),
            )
        ],
        "policies": [
            {"policy": "two_a_week", "kind": "at_most", "relaxed": "2 to 3",
             "subscribers": 24_039, "pairs": 51_000, "alone": 33_123, "gaining": 9_871,
             "gain": 1_234.5},
            {"policy": "quiet_hours", "kind": "quiet", "relaxed": "left out", "subscribers": 0,
             "pairs": 0, "alone": 0, "gaining": 0, "gain": 0.0},
        ],
        "contact_history": {
            "days": [
                {"day": f"2026-09-{d:02}", "past": 700 + d, "planned": 0} for d in range(1, 31)
            ]
            + [{"day": "2026-10-01", "past": 0, "planned": 120_300}],
            "caps": [
                {"policy": "two_a_week", "group": group, "over": "subscriber", "cap": 2,
                 "before": [150_000, 40_000, 9_000, 1_000],
                 "after": [100_000, 60_000, 39_000, 1_000]}
                for group in ("sms", "email")
            ],
        },
        "offers": [
            {
                "offer": offer,
                "category": CATEGORIES[k % 4],
                "contacts": contacts[k],
                "acceptances": contacts[k] * 0.0731,
                "value": contacts[k] * 1.37,
                "cost": contacts[k] * 0.21,
            }
            for k, offer in enumerate(OFFERS)
        ],
        "channels": [
            {
                "channel": channel,
                "contacts": 30_000 // (k + 1),
                "acceptances": 2_100.25 / (k + 1),
                "value": 40_000.5 / (k + 1),
                "cost": 900.0 / (k + 1),
                "capacity": None if k == 2 else 40_000 // (k + 1),
            }
            for k, channel in enumerate(CHANNELS)
        ],
        "segments": {
            "segment": [
                {"segment": name, "subscribers": n, "contacted": n // d, "contacts": n // d + 9,
                 "value": n * 0.9}
                for name, n, d in (("gold", 20_000, 1), ("silver", 60_000, 2), (EVIL, 120_000, 3))
            ],
            "plan": [
                {"segment": name, "subscribers": n, "contacted": n // 2, "contacts": n // 2,
                 "value": n * 2.1}
                for name, n in (("prepaid", 140_000), ("postpaid", 60_000))
            ],
        },
        "baselines": [
            {"name": "walras", "value": 412_345.67, "contacts": 120_300, "violations": 0,
             "text": "prices, rounding, certificate"},
            {"name": "greedy", "value": 371_002.1, "contacts": 118_000, "violations": 0,
             "text": "best pair first while limits allow"},
            {"name": "no optimisation", "value": 288_411.0, "contacts": 131_000, "violations": 7,
             "text": "subscribers in order, each its best offer"},
        ],
        "iterations": [
            {"step": "sample" if k < 6 else "zoom", "reads": 0.1 * k,
             "bound": 412_349 * (1 + 2.0**-k),
             "value": None if k < 6 else 412_345.0, "gap": None if k == 0 else 2.0 ** (-k / 1.2),
             "active": 200_000 >> k, "seconds": 0.31 * k}
            for k in range(18)
        ],
        "conflict": [],
        "violations": 0,
        "subscribers": 200_000,
        "contacts": 120_300,
        "contacted": 96_500,
    } | changes  # fmt: skip


def manifest_of(**score):
    actions = [{"action": f"{o}@{c}", "mean": 0.031} for o in OFFERS for c in CHANNELS]
    table = {"rows": 1_400_000, "kept": 1_399_290, "future": 12}
    return {
        "name": "quickstart",
        "fingerprint": "0123456789abcdef",
        "started": "2026-10-01T08:00:00+00:00",
        "seed": 7,
        "job": {
            "as_of": "2026-10-01T00:00:00Z",
            "seed": 7,
            "inputs": {"source": {"kind": "synthetic"}},
            "solver": {"gap_tolerance": 1e-4},
        },
        "seconds": {"ingest": 31.2, "profile": 24.01, "score": 19.4, "allocate": 12.75},
        "peak_memory_bytes": 2_345_678_901,
        "versions": {"walras": "0.1.0", "python": "3.11.9"},
        "stages": {
            "ingest": {
                "subscribers": 200_000,
                "partitions": 8,
                "tables": {
                    name: table | {"rejected": {"negative amount": 431, "unknown subscriber": 279}}
                    for name in ("usage", "recharges", "network", "care", "contacts", "outcomes")
                },
            },
            "profile": {"subscribers": 200_000, "features": 47, "passes": {}, "columns": []},
            "score": {
                "kind": "model",
                "contacts": {"train": 120_000, "calibrate": 40_000, "test": 40_000},
                "accepts": {"train": 6_600, "calibrate": 2_210, "test": 2_190},
                "purged": {"train": 1_234, "calibrate": 567},
                "left_out": ["tenure_days", "age"],
                "snapshots": [],
                "auc": 0.7231,
                "brier": 0.0487,
                "brier_base": 0.0519,
                "calibration": [
                    {"predicted": 0.01 * 1.35**k, "observed": 0.011 * 1.33**k, "contacts": 4_000}
                    for k in range(10)
                ],
                "importance": [
                    {"feature": f"usage_data_mb_sum_{k}d", "gain": 0.25 * 0.77**k}
                    for k in range(28)
                ],
                "actions": actions,
            }
            | score,
            "allocate": {},
        },
    }


@pytest.fixture
def run_folder(tmp_path):
    def make(summary=None, manifest=None):
        (tmp_path / "summary.json").write_text(json.dumps(summary or summary_of()))
        (tmp_path / "manifest.json").write_text(json.dumps(manifest or manifest_of()))
        return tmp_path

    return make


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The report of the sample run: its path, the parsed page, and what was logged."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "summary.json").write_text(json.dumps(summary_of()))
    (folder / "manifest.json").write_text(json.dumps(manifest_of()))
    path = report.write(folder)
    return path, Page(path)


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text outside scripts and styles."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self._inside = [], [], None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, content):
        if self._inside not in {"script", "style"}:
            self.text.append(content)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_needs_no_network(sample):
    path, page = sample
    assert path.name == "report.html" and path.stat().st_size > 1_000_000  # Bokeh is in it
    for _, attributes in page.tags:
        assert not {"src", "srcset", "data", "action"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    assert "@import" not in path.read_text() and "url(" not in page.all("style")[0]
    (policy,) = [m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy["content"].startswith("default-src 'none'")


def test_the_page_shows_every_figure(sample):
    text = " ".join("".join(sample[1].text).split())
    for offer in OFFERS:
        assert offer in text
    for k in range(30):
        assert constraint(k)["name"] in text and constraint(k)["worth"] in text
    for figure in ("EUR 412,346", "EUR 412,349", "8.1e-06", "Lagrangian bound", "96,500", "+11.1 %",
                   "120,300", "0.723", "0.0487", "negative amount: 431", "2.18 GiB", "48.2 %",
                   "38,300", "87.4 seconds", "5.5 %1,234", "5.5 %567", "5.5 %–",
                   "Left out for this: tenure_days, age. Used all the same: none.",
                   "200,000 subscribers; synthetic data", "0123456789abcdef",
                   "offersmsemailpushussdcallapp data_booster_1gb3.1 %3.1 %"):  # fmt: skip
        assert figure in text, figure


def test_text_from_the_data_is_never_markup(sample, run_folder, caplog):
    _, page = sample
    assert EVIL in "".join(page.text)
    assert "alert('segment')" not in [t.strip() for t in page.text]
    scripts = len(page.all("script"))
    harmless = summary_of()
    harmless["segments"]["segment"][2]["segment"] = "bronze"
    assert len(Page(report.write(run_folder(harmless))).all("script")) == scripts
    assert not caplog.records  # Bokeh logs what is wrong with a chart


def test_every_chart_has_a_description_and_a_table(sample):
    _, page = sample
    figures = page.all("figure")
    # funnel, policies, contacts a day and against a cap,
    # offers, channels, two segment columns, limits, minimums, baselines, convergence,
    # calibration, importance, run times
    assert len(figures) == 15
    assert all(f["role"] == "img" and len(f["aria-label"]) > 40 for f in figures)
    assert len(page.all("table")) == len(page.all("caption")) >= len(figures)
    assert page.all("html")[0]["lang"] == "en" and len(page.all("h1")) == 1
    sections = [s["id"] for s in page.all("section")]
    assert [a["href"] for a in page.all("a")] == [f"#{name}" for name in sections]


def limit_in_conflict(number, name):
    return {
        "set_number": number,
        "is_minimal": True,
        "constraint": name,
        "limit": 900,
        "smallest_relaxation": 120.5,
        "text": f"only 780 of {name} are possible",
    }


def infeasible_summary(*conflict):
    unpriced = [constraint(k) | {"price": None, "worth": "limits conflict"} for k in range(3)]
    return summary_of(
        status="INFEASIBLE", remedy="relax what conflicts", value=0.0, bound=None, gap=None,
        bound_by=None, contacts=0, contacted=0, baselines=[], iterations=[], constraints=unpriced,
        funnel=[{"step": "subscribers", "subscribers": 9, "text": "everyone"},
                {"step": "limits_conflict", "subscribers": 9, "text": "nothing is allocated"},
                {"step": "contacted", "subscribers": 0, "text": "none"}],
        conflict=list(conflict),
    )  # fmt: skip


def test_an_infeasible_run_shows_what_conflicts_and_no_price(run_folder):
    one = limit_in_conflict(1, "minimum:roaming")
    folder = run_folder(infeasible_summary(one))
    page = " ".join("".join(Page(report.write(folder)).text).split())
    for text in (page, shown_in_terminal(folder)):
        for shown in ("INFEASIBLE", "relax what conflicts", "minimum:roaming", "120.50", "only 780",
                      "No allocation keeps this limit; relax it", "limits in conflict",
                      "limits conflict", "nothing is allocated", "EUR 0"):  # fmt: skip
            assert shown in text, shown
        assert "together" not in text and "None" not in text and "bound by" not in text
        assert "greedy" not in text and "By offer" not in text
    assert "Bound–limits conflict" in page and "Gap–limits conflict" in page
    assert "While limits conflict, none has a price." in page
    assert f"{constraint(0)['unit']}–limits conflict" in page


def test_conflicts_beside_each_other_are_shown_apart(run_folder):
    pair = [limit_in_conflict(1, "budget"), limit_in_conflict(1, "minimum:voice")]
    folder = run_folder(infeasible_summary(*pair, limit_in_conflict(2, "minimum:roaming")))
    page = " ".join("".join(Page(report.write(folder)).text).split())
    first = "Conflict 1 of 2: no allocation keeps these limits together; relax one of them"
    second = "Conflict 2 of 2: no allocation keeps this limit; relax it"
    for text in (page, shown_in_terminal(folder)):
        places = [text.index(found) for found in (
            first, "only 780 of budget", "only 780 of minimum:voice", second,
            "only 780 of minimum:roaming",
        )]  # fmt: skip
        assert places == sorted(places)
    assert "Each conflict must be resolved." in page


def test_real_data_is_not_called_synthetic(run_folder):
    manifest = manifest_of()
    manifest["job"]["inputs"]["source"]["kind"] = "files"
    text = "".join(Page(report.write(run_folder(None, manifest))).text)
    assert "200,000 subscribers" in text and "synthetic" not in text


@pytest.mark.parametrize("name", ["#plan", "~plan", "?plan"])
def test_a_segment_column_keeps_its_whole_name(run_folder, name):
    summary = summary_of()
    summary["segments"] = {name: summary["segments"]["plan"]}
    path = report.write(run_folder(summary))
    assert f'<th scope="col" class="">{name}</th>' in path.read_text()


@pytest.mark.parametrize("kind", ["formula", "columns"])
def test_scores_without_a_model_show_their_means(run_folder, kind):
    manifest = manifest_of()
    manifest["stages"]["score"] = {"kind": kind, "actions": [{"action": "a@sms", "mean": 0.25}]}
    text = " ".join(Page(report.write(run_folder(None, manifest))).text)
    assert "25.0 %" in text and "AUC" not in text


def test_estimates_of_fatigue_are_shown(run_folder):
    told = {"channel": "sms", "contacts": 4_321, "accepted": 210, "slope": 0.1234, "low": 0.0567,
            "high": 0.1901, "cost": [0.0321, 0.0287]}  # fmt: skip
    item = {"of": "tired", "borders": [2.5], "contacts": 4_321, "without_state": 77,
            "channels": [told]}  # fmt: skip
    text = " ".join(Page(report.write(run_folder(None, manifest_of(fatigue=[item])))).text)
    for shown in ("Fatigue estimated by tired", "77 contacts had no state", "4,321", "210",
                  "0.1234", "0.0567 to 0.1901", "cost from 2.50", "0.0321", "0.0287"):  # fmt: skip
        assert shown in text


def test_a_missing_auc_is_explained(run_folder):
    manifest = manifest_of(auc=None, auc_note="all contacts of the test share were refused")
    text = " ".join(Page(report.write(run_folder(None, manifest))).text)
    assert "AUC none: all contacts of the test share were refused" in text


def test_corners_are_drawn(run_folder):
    summary = summary_of(gap=0.0, value=0.0, bound=0.0, contacts=0, contacted=0)
    for item in summary["constraints"]:
        item |= {"use": 0.0, "at_most": 0.0}
    for step in summary["iterations"]:
        step["gap"] = 0.0
    for offer in summary["offers"]:
        offer["contacts"] = 0
    page = Page(report.write(run_folder(summary)))
    assert len(page.all("figure")) == 14  # a gap of 0 has no place on a logarithmic scale
    assert "nan" not in " ".join(page.text).lower().split()


def shown_in_terminal(folder):
    console = Console(width=160, file=io.StringIO())
    console.print(*report.table(folder), sep="\n")
    return console.file.getvalue()


def test_a_plan_is_shown_day_by_day(run_folder):
    days = [
        {"day": day, "contacts": 10 * day, "acceptances": 1.5, "value": 12.0, "cost": 3.0,
         "channels": {name: day if name == "sms" else 0 for name in CHANNELS}}
        for day in (1, 2, 3)
    ]  # fmt: skip
    limits = [
        constraint(1) | {"name": f"capacity:sms:day-{day}", "at_most": 2.0 * day, "use": 1.0 * day,
                         "price": 0.5 * (day == 3)}
        for day in (1, 2, 3)
    ]  # fmt: skip
    page = Page(report.write(run_folder(summary_of(plan=days, constraints=limits))))
    text = "".join(page.text)
    assert "Day by day" in text and "Contacts by channel and day" in text
    assert "capacity:sms (3 days)" in text and "has a price on day 3" in text
    assert "capacity:sms:day-1" not in text
    assert "Day by day" not in Page(report.write(run_folder())).text


def test_the_terminal_shows_the_summary(run_folder):
    text = shown_in_terminal(run_folder())
    for shown in ("quickstart: OPTIMAL", "EUR 412,346", "8.1e-06", "service_recovery_apology",
                  "no worthwhile offer", "38,300", "greedy", EVIL[:20]):  # fmt: skip
        assert shown in text, shown


def test_a_broken_run_folder_is_told(run_folder, tmp_path):
    with pytest.raises(DataError, match=r"summary.json: cannot be read \(No such file"):
        report.table(tmp_path / "nowhere")
    folder = run_folder()
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest.json: is not valid JSON: .*; run the job again"):
        report.write(folder)
    assert not (folder / "report.html").exists()
    assert not list(folder.glob(".report*"))
