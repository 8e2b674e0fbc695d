"""The twenty tables of tables.py: where each is from, under which terms, and what is asked of it.

`url` names a file at a commit, and `sha256` its bytes. `ignore` are columns that no method sees; `why` says for what
reason. `header` are the names of the columns where the file has none, in the words of the UCI repository. `task` is
what trainkit calls it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RAW = "https://raw.githubusercontent.com"
GERON = f"{RAW}/ageron/handson-ml2"
LANTZ = f"{RAW}/stedy/Machine-Learning-with-R-datasets"
R = f"{RAW}/vincentarelbundock/Rdatasets/cc03c29690889dbe83089f5206e2422db8c3f71f/csv"
SEABORN = f"{RAW}/mwaskom/seaborn-data"
BROWNLEE = f"{RAW}/jbrownlee/Datasets"

UCI = "CC BY 4.0 (UCI Machine Learning Repository)"
MODELDATA = "MIT (the R package modeldata)"
ROW = "rownames are the numbers of the rows"


@dataclass(frozen=True, slots=True)
class Table:
    """A public table and its question."""

    name: str
    task: Literal["classification", "regression"]
    target: str
    url: str
    sha256: str
    licence: str
    ignore: tuple[str, ...] = ()
    why: str = ""
    header: tuple[str, ...] = ()


TABLES = (
    Table(
        "titanic",
        "classification",
        "Survived",
        f"{GERON}/585fbab38c8f063eea7947eaa053a5b876cada7e/datasets/titanic/train.csv",
        "14769fb1850e2d26d8e6db0ee49c213878040432827e39b13caaa15603c6598f",
        "Apache-2.0 (the repository)",
        ignore=("PassengerId", "Name"),
        why="every passenger has his own",
    ),
    Table(
        "penguins",
        "classification",
        "species",
        f"{SEABORN}/4e06bf0b8c4bf161ed04e9df59b77c35fd2ec44a/penguins.csv",
        "e07636bd8af74260099ea2f8678e2eabbf35def579940cc76f67061ee16c06c1",
        "CC0 (Palmer Station, through the R package palmerpenguins)",
    ),
    Table(
        "telco",
        "classification",
        "Churn",
        f"{RAW}/IBM/telco-customer-churn-on-icp4d/1fd6fd70906479be1712e64cfc0ea89f58466629/data/Telco-Customer-Churn.csv",
        "16320c9c1ec72448db59aa0a26a0b95401046bef5d02fd3aeb906448e3055e91",
        "Apache-2.0 (the repository)",
        ignore=("customerID",),
        why="every customer has their own",
    ),
    Table(
        "credit",
        "classification",
        "Status",
        f"{R}/modeldata/credit_data.csv",
        "acd2b41f7923a4b7e2264e6b9ae2eff8f3e8f9ba3080fb6967df1cfec9568cac",
        MODELDATA,
        ignore=("rownames",),
        why=ROW,
    ),
    Table(
        "german",
        "classification",
        "default",
        f"{LANTZ}/40614d171be42856cc0936b665837b556a4f65c5/credit.csv",
        "5c9906df163beb8c7d9c497146d3bdf210c4816401f32b488d6c10fcbff0d048",
        UCI,
    ),
    Table(
        "adult",
        "classification",
        "income",
        f"{BROWNLEE}/477f2a64890670c95d53c85e7fdede32882aaf7c/adult-train.csv",
        "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        UCI,
        header=(
            *(
                "age",
                "workclass",
                "fnlwgt",
                "education",
                "education-num",
                "marital-status",
                "occupation",
                "relationship",
            ),
            *("race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income"),
        ),
    ),
    Table(
        "churn",
        "classification",
        "churn",
        f"{R}/modeldata/mlc_churn.csv",
        "58f21b63c526bded47dd6df9d58d03b11611d3ad628c2aa5e353f3abb8d51a9c",
        MODELDATA,
        ignore=("rownames",),
        why=ROW,
    ),
    Table(
        "hpc",
        "classification",
        "class",
        f"{R}/modeldata/hpc_data.csv",
        "3c5aedf52d915667bcfe0e473196088066626c52ac0f923783bd68753c344157",
        MODELDATA,
        ignore=("rownames",),
        why=ROW,
    ),
    Table(
        "letter",
        "classification",
        "letter",
        f"{LANTZ}/72e6b6cc91bc2bb08eb6f99f52c033677cb70c1a/letterdata.csv",
        "8db4f042f6aa77bc3665ac4ca07fd6b7680386d67376eefeec23d25b477b1c06",
        UCI,
    ),
    Table(
        "cells",
        "classification",
        "class",
        f"{R}/modeldata/cells.csv",
        "69d9aed0bd25f8614d622287ea49d3f18fc898e838b3bcefdf9dca52deb1e249",
        MODELDATA,
        ignore=("rownames", "case"),
        why=f"{ROW}; case is a split that others made",
    ),
    Table(
        "housing",
        "regression",
        "median_house_value",
        f"{GERON}/aa555aa16b9d0af6c84e67c7757f3317d05acb12/datasets/housing/housing.csv",
        "8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e",
        "Apache-2.0 (the repository)",
    ),
    Table(
        "ames",
        "regression",
        "Sale_Price",
        f"{R}/modeldata/ames.csv",
        "500eea48e9175223a10ac7ccbc4d57b79693d4a1132628b6269c7c781e974141",
        MODELDATA,
        ignore=("rownames",),
        why=ROW,
    ),
    Table(
        "diamonds",
        "regression",
        "price",
        f"{R}/ggplot2/diamonds.csv",
        "974c2ce1c1ce245508bd357ca11a7fba2b37813ecf0f1158808a9249ebff67a1",
        "MIT (the R package ggplot2)",
        ignore=("rownames",),
        why=ROW,
    ),
    Table(
        "insurance",
        "regression",
        "charges",
        f"{LANTZ}/d20658ec6d336af2d4ddb5fd72b6f677dd46136e/insurance.csv",
        "505c1cbc2e63d0363bac59501563df2530aadf4cdb9cfee226f4ef32f5468281",
        "public domain (says the repository)",
    ),
    Table(
        "mpg",
        "regression",
        "mpg",
        f"{SEABORN}/2fae127e7dfdb4080e82396c47194c3acb22c86f/mpg.csv",
        "c14b8b855ea7ee86cb9736bf8caaf281c4685ca08826f3eb2acaccaaf40f0d5a",
        UCI,
    ),
    Table(
        "concrete",
        "regression",
        "compressive_strength",
        f"{R}/modeldata/concrete.csv",
        "8882c9faa0ee78caf4a8f67438b90325bc7cd7f823fe7ab89d3bd5e7ae3ceddf",
        MODELDATA,
        ignore=("rownames",),
        why=ROW,
    ),
    Table(
        "whitewine",
        "regression",
        "quality",
        f"{LANTZ}/72e6b6cc91bc2bb08eb6f99f52c033677cb70c1a/whitewines.csv",
        "66b071bfe464e02aaef19d61fe28ce99b6f75efebb81be0fb58555713c3ab7a6",
        UCI,
    ),
    Table(
        "abalone",
        "regression",
        "rings",
        f"{BROWNLEE}/a8229c90a131a53c58be9027e047e6a74f11a264/abalone.csv",
        "eb2de13be807e9bb9ec4128b9c89b98ab23d7739121cfd17b7dde69b46ba7bf6",
        UCI,
        header=("sex", "length", "diameter", "height", "whole", "shucked", "viscera", "shell", "rings"),
    ),
    Table(
        "taxis",
        "regression",
        "fare",
        f"{SEABORN}/de49440879bea4d563ccefe671fd7584cba08983/taxis.csv",
        "08d6d71784dbaa2651fee37fc03389754194c05d72d2d19cbc2c799dea6ac09d",
        "NYC Open Data (Taxi and Limousine Commission)",
        ignore=("pickup", "dropoff", "tip", "total"),
        why="total has the fare in it and tip is a share of it; no method here reads times of day",
    ),
    Table(
        "births",
        "regression",
        "weight",
        f"{R}/openintro/births14.csv",
        "0b4ded0985bd058badcc5c0c3afe15f47d42aff5303135f9988b18c409608636",
        "public domain (CDC), through the R package openintro, GPL-3",
        ignore=("rownames", "lowbirthweight"),
        why=f"{ROW}; lowbirthweight is the target in two classes",
    ),
)
