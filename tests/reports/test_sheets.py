"""A table that a spreadsheet opens."""

import csv
import io
from decimal import Decimal

import pytest

from app.reports.sheets import inert, write_csv


class TestATable:
    def test_reads_back_as_it_was_written(self) -> None:
        text = write_csv(["名称 Name", "n"], [['福田区"某"药房,沙头店', 3], ["第一行\n第二行", Decimal("-1000.00")]])
        assert text.startswith(b"\xef\xbb\xbf")
        rows = list(csv.reader(io.StringIO(text.decode("utf-8-sig"), newline="")))
        assert rows == [
            ["名称 Name", "n"],
            ['福田区"某"药房,沙头店', "3"],
            ["第一行\n第二行", "-1000.00"],
        ]

    @pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"])
    def test_holds_no_text_that_would_be_run(self, begin: str) -> None:
        assert inert(f"{begin}HYPERLINK(1)") == f"'{begin}HYPERLINK(1)"

    @pytest.mark.parametrize("cell", [-1, Decimal("-0.01"), "", "药房", "a=b", None])
    def test_leaves_numbers_and_other_text_alone(self, cell: object) -> None:
        assert inert(cell) == cell
