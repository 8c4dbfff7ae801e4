"""A table of people who never lived: for a first try, without files."""

from typing import TYPE_CHECKING

import numpy as np

from sparring.seeding import Stream

if TYPE_CHECKING:
    from pandas import DataFrame

SCHOOLS = ("primary", "secondary", "college", "university")
TOWNS = tuple(f"town {letter}" for letter in "ABCDEFGHIJKLMNOPQRST")  # each is rarer than the one before


def make_people(n: int, seed: int = 0) -> "DataFrame":
    """A table of n people with a column of each kind; what depends on what is written here, line by line.

    Columns: `person`, an identifier; `age`; `sex`; `school`, which younger people stay at longer; `income`, often 0 and
    else with a heavy tail, by age and school; `rent`, never above a third of the income plus 500; `owns_home`, by age
    and income; `married`, unknown of one in twenty; `height` in cm, by sex; `town`, some of them rare; `moved`, a date
    after the 18th birthday in 2024; `country`, always the same.

    Example:
        >>> list(make_people(3)[["age", "sex"]].columns)
        ['age', 'sex']
    """
    import pandas

    stream = Stream(seed, "people")

    def uniform(what: str) -> np.ndarray:
        drawn: np.ndarray = stream.part(what).uniform(n).double().numpy()
        return drawn

    def normal(what: str) -> np.ndarray:
        drawn: np.ndarray = stream.part(what).normal(n).double().numpy()
        return drawn

    age = np.floor(18 + 72 * uniform("age") ** 1.4).astype(int)
    is_woman = uniform("sex") < 0.52
    schooling = np.clip(np.floor(1.9 + 0.9 * normal("school") - 0.015 * (age - 45)), 0, 3).astype(int)
    works = uniform("works") < np.where((age > 22) & (age < 66), 0.85, 0.3)
    pay = np.exp(7.0 + 0.3 * schooling + 0.015 * np.minimum(age, 55) + 0.45 * normal("pay"))
    income = np.where(works, pay, 0).round(2)
    rent = np.round(300 + income / 3 * uniform("rent") + 200 * uniform("room"))
    owns_home = uniform("home") < 1 / (1 + np.exp(-(0.07 * (age - 50) + 0.0004 * (income - 2500))))
    married = (uniform("married") < np.clip((age - 20) / 50, 0.02, 0.75)).astype(object)
    married[uniform("unknown") < 0.05] = None
    height = (np.where(is_woman, 165, 178) + 7 * normal("height")).round(1)
    town = np.minimum(np.floor(-np.log(1 - uniform("town")) * 4), len(TOWNS) - 1).astype(int)
    days = np.floor((age - 18 + 0.99) * 365 * uniform("moved")).astype(int)
    return pandas.DataFrame(
        {
            "person": np.arange(1, n + 1),
            "age": age,
            "sex": np.where(is_woman, "female", "male").astype(object),
            "school": np.array(SCHOOLS, dtype=object)[schooling],
            "income": income,
            "rent": rent.astype(int),
            "owns_home": owns_home,
            "married": married,
            "height": height,
            "town": np.array(TOWNS, dtype=object)[town],
            "moved": (np.datetime64("2024-12-31") - days).astype("M8[s]"),
            "country": np.full(n, "Nowhere", dtype=object),
        }
    )
