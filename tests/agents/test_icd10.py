import subprocess
import sys

import pytest

from teachback.agents.icd10 import check_code


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("J18.9", "billable"),
        ("J90", "billable"),
        ("S22.39XA", "billable"),
        ("B20", "billable"),  # a block of one code bears the code's name
        ("J18", "category"),
        ("S22.39", "category"),
        ("S22.39XX", "unknown"),
        ("J99.99", "unknown"),
        ("J189", "unknown"),
        ("j18.9", "unknown"),
        (" J18.9", "unknown"),
        ("J09-J18", "unknown"),
        ("10", "unknown"),
        ("", "unknown"),
        ("J18.9; DROP TABLE labels", "unknown"),
    ],
)
def test_a_code_is_what_the_table_says_of_it_as_it_was_given(code, says):
    assert check_code(code) == says


def test_the_table_is_not_read_before_a_code_is_looked_up():
    loaded = "'simple_icd_10_cm' in sys.modules or 'bm25s' in sys.modules"
    code = f"import sys, teachback.agents.llm_labeler; sys.exit({loaded})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the package that is compared with, on its import
def test_every_code_is_what_the_classifications_own_tree_says():
    import simple_icd_10_cm as tree

    codes = [code for code in tree.get_all_codes(True) if tree.is_category_or_subcategory(code) and "-" not in code]
    codes = [code for code in codes if not tree.is_chapter_or_block(code)]
    assert len(codes) > 90_000
    wrong = [code for code in codes if check_code(code) != ("billable" if tree.is_leaf(code) else "category")]
    assert wrong == []
