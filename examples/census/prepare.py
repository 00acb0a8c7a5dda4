"""Census-Income (KDD) -> train.parquet and valid.parquet: a template for your own table.

    python -m examples.census.prepare TRAIN VALID OUT

TRAIN and VALID are UCI's `census-income.data` and `census-income.test`, or CSV files of the same
columns with a first line that names them; gzipped or not. Needs only click and pyarrow, so a copy
of this file runs anywhere. It names UCI's columns, which have no names, as on its page, trims text,
and writes Parquet. Everything else is in the spec: text becomes an id by hashing, numbers are split
into buckets, labels are tests of columns, and columns that it does not name are not read.
"""

from __future__ import annotations

from pathlib import Path

import click
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

COLUMNS = (
    "age", "class_of_worker", "detailed_industry_recode", "detailed_occupation_recode",
    "education", "wage_per_hour", "enroll_in_edu_inst_last_wk", "marital_stat",
    "major_industry_code", "major_occupation_code", "race", "hispanic_origin", "sex",
    "member_of_a_labor_union", "reason_for_unemployment", "full_or_part_time_employment_stat",
    "capital_gains", "capital_losses", "dividends_from_stocks", "tax_filer_stat",
    "region_of_previous_residence", "state_of_previous_residence",
    "detailed_household_and_family_stat", "detailed_household_summary_in_household",
    "instance_weight", "migration_code_change_in_msa", "migration_code_change_in_reg",
    "migration_code_move_within_reg", "live_in_this_house_1_year_ago",
    "migration_prev_res_in_sunbelt", "num_persons_worked_for_employer", "family_members_under_18",
    "country_of_birth_father", "country_of_birth_mother", "country_of_birth_self", "citizenship",
    "own_business_or_self_employed", "fill_inc_questionnaire_for_veterans_admin",
    "veterans_benefits", "weeks_worked_in_year", "year", "income",
)  # fmt: skip
"""The columns of UCI's files, which have no line of names."""

NUMBERS = (
    "age", "wage_per_hour", "capital_gains", "capital_losses", "dividends_from_stocks",
    "num_persons_worked_for_employer", "weeks_worked_in_year",
)  # fmt: skip
"""The columns that become numbers; all others stay text, even if they contain codes such as 0."""


def prepare(train: Path, valid: Path, out: Path) -> dict[str, int]:
    """Write both parts to `out`, and return their numbers of rows by name.

    Raises ValueError or OSError for a file that cannot be read, before anything is written.
    """
    parts = {"train": read(train), "valid": read(valid)}
    out.mkdir(parents=True, exist_ok=True)
    for name, table in parts.items():
        path = out / f"{name}.parquet"
        pq.write_table(table, path, compression="zstd", write_page_checksum=True)
    return {name: table.num_rows for name, table in parts.items()}


def read(path: Path) -> pa.Table:
    """All columns of a file, under names that a spec can use; text is trimmed."""
    try:
        with pa.input_stream(path) as file:
            first = file.read(4).decode(errors="replace")
        named = first.startswith("age,")
        table = pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(column_names=None if named else COLUMNS),
            convert_options=pa.csv.ConvertOptions(null_values=[]),  # `NA` is an answer here
        )
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None
    table = table.rename_columns([name.replace("-", "_") for name in table.column_names])
    return pa.table({name: typed(path, name, table[name]) for name in table.column_names})


def typed(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers, if the column is one of `NUMBERS`; else text."""
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    try:
        return text.cast(pa.int64()) if name in NUMBERS else text
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: the column `{name}` is not numbers ({error})") from None


@click.command()
@click.argument("train", type=click.Path(path_type=Path))
@click.argument("valid", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def main(train: Path, valid: Path, out: Path) -> None:
    """Write OUT/train.parquet and OUT/valid.parquet from the files TRAIN and VALID."""
    try:
        rows = prepare(train, valid, out)
    except (ValueError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
    click.echo(f"{out}: {' and '.join(f'{n:,} {name}' for name, n in rows.items())} rows written")


if __name__ == "__main__":
    main()
