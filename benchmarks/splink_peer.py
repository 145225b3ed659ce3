"""The peer: Splink on DuckDB over the same records in plain text. Runs in a Python of its own, where Splink 5 is installed.

    PYTHON benchmarks/splink_peer.py FOLDER

Reads `purchases.csv` and `cases.csv` of the folder, writes `pairs.csv` (purchase, case, probability) and `figures.json`. It gets what
this service's matching gets: numbers normalised, the birth date out of the document. It blocks on whatever may join two records, compares
by exact levels, edit distance and Jaro-Winkler with adjustment for common names, and learns its weights from these very records.
"""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path

import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

COLUMNS = ("unique_id", "name", "document", "born", "phone", "division")
LEAST_PROBABILITY = 0.01

BLOCKING = [
    block_on("document"),
    block_on("phone"),
    block_on("name", "born"),
    block_on("name", "substr(document, 1, 14)"),
    block_on("name", "substr(document, length(document) - 7)"),
]


def main(folder: Path) -> None:
    """Train, predict, and write what came of it."""
    api = DuckDBAPI()
    tables = []
    for name in ("purchases", "cases"):
        columns = "{" + ", ".join(f"'{column}': 'VARCHAR'" for column in COLUMNS) + "}"
        api.duckdb_con.execute(
            f"CREATE TABLE {name} AS SELECT * FROM read_csv('{folder / name}.csv', header = true, columns = {columns})"
        )
        tables.append(api.register(api.duckdb_con.table(name)))
    settings = SettingsCreator(
        link_type="link_only",
        blocking_rules_to_generate_predictions=BLOCKING,
        comparisons=[
            cl.JaroWinklerAtThresholds("name", [0.9, 0.7]).configure(term_frequency_adjustments=True),
            cl.DamerauLevenshteinAtThresholds("document", [1, 2]),
            cl.ExactMatch("born"),
            cl.LevenshteinAtThresholds("phone", [1]),
            cl.ExactMatch("division"),
        ],
    )
    begin = time.perf_counter()
    linker = Linker(tables, settings, log_level=None)
    linker.training.estimate_probability_two_random_records_match(
        [block_on("document"), block_on("phone", "name")], recall=0.9
    )
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    for rule in (block_on("document"), block_on("phone", "name"), block_on("phone")):
        # On few records a level may never be seen, and its weight underflows; what the other rounds have learnt stays.
        with suppress(ValueError):
            linker.training.estimate_parameters_using_expectation_maximisation(rule)
    trained = time.perf_counter() - begin
    begin, cpu = time.perf_counter(), time.process_time()
    found = linker.inference.predict(threshold_match_probability=LEAST_PROBABILITY)
    predicted, cpu = time.perf_counter() - begin, time.process_time() - cpu
    api.duckdb_con.execute(
        f"COPY (SELECT unique_id_l, unique_id_r, match_probability FROM {found.physical_name})"
        f" TO '{folder / 'pairs.csv'}' (HEADER true)"
    )
    figures = {"training": trained, "wall": predicted, "cpu": cpu}
    (folder / "figures.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
