from app.core.sheets import read_sheet
from app.divisions.rules import Gazetteer
from app.divisions.service import check_rows

KNOWN = Gazetteer({"44": "广东省", "4403": "深圳市", "440304": "福田区"})


def check(*lines: str) -> tuple[dict[str, str], list[tuple[int, str, str]]]:
    names, errors = check_rows(read_sheet(["code,name", *lines], ("code", "name")), KNOWN)
    return names, [(error.line, error.column, error.code) for error in errors]


class TestAnImportOfDivisions:
    def test_takes_parents_and_children_in_any_order(self) -> None:
        names, errors = check("440304005001,甲社区", "440304005,沙头街道")
        assert names == {"440304005": "沙头街道", "440304005001": "甲社区"}
        assert not errors

    def test_keeps_good_rows_and_places_each_complaint(self) -> None:
        names, errors = check("440304005,沙头街道", "4403040,x", "440304006,", "440304005,别名")
        assert names == {"440304005": "沙头街道"}
        assert errors == [
            (3, "code", "division_malformed"),
            (4, "name", "name_invalid"),
            (5, "code", "duplicate_code"),
        ]

    def test_leaves_out_a_branch_whose_root_is_unknown(self) -> None:
        names, errors = check("450304005001,乙社区", "450304005,某街道")
        assert names == {}
        assert errors == [(3, "code", "parent_unknown"), (2, "code", "parent_unknown")]
