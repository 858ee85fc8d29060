"""Results in words: every number with its errors, limits as limits."""

from __future__ import annotations

import re

import numpy as np

from jetexp.evaluation.seeds import compare_over_seeds
from jetexp.sentences import markdown_table, sentence


def row(variant: str, **measured: dict) -> dict:
    return {"tagger": "cnn", "variant": variant, "runs": ["a", "b"], "test": measured}


def number(mean: float, error: float | None, spread: float | None, is_limit: bool = False) -> dict:
    return {"mean": mean, "error": error, "spread": spread, "is_limit": is_limit}


def test_a_table_has_statistical_errors_and_spreads_and_limits() -> None:
    table = markdown_table(
        [
            row("", auc=number(0.93161, 0.0011, 0.00052), rejection_50=number(150.8, 9.9, None)),
            row("", rejection_30=number(3300.0, None, None, is_limit=True)),
            row("", rejection_30=number(896.4, 156.2, 181.7), rejection_50=number(99.0, None, 14.2)),
        ]
    )
    lines = table.splitlines()
    assert lines[0].startswith("| tagger | seeds | accuracy | AUC |")
    assert lines[2] == "| cnn | 2 |  | 0.9316 ± 0.0011 (0.0005) |  | 150.8 ± 9.9 |  |"
    assert lines[3] == "| cnn | 2 |  |  | > 3300 (95 % CL) |  |  |"
    assert lines[4] == "| cnn | 2 |  |  | 896 ± 156 (182) | 99 (14) |  |"
    assert len({line.count("|") for line in lines}) == 1


def test_variants_have_a_column_of_their_own() -> None:
    lines = markdown_table([row("not zoomed", auc=number(0.9, 0.01, None))]).splitlines()
    assert lines[0].startswith("| variant | tagger |")
    assert lines[2].startswith("| not zoomed | cnn | 2 |")


def test_pairs_of_classes_have_a_line_each_and_taggers_a_column() -> None:
    pairs = {
        "auc_W_vs_rest": number(0.9, 0.01, 0.002),
        "rejection_50_W_vs_QCD": number(150.0, 10.0, None),
        "rejection_50_QCD_vs_W": number(99.0, None, None, is_limit=True),
    }
    rows = [row("") | {"pairs": pairs}, row("few jets") | {"tagger": "pfn"}]
    lines = markdown_table(rows).splitlines()
    assert lines[4:8] == [
        "",
        "| AUC | cnn | few jets: pfn |",
        "|---|---|---|",
        "| `W_vs_rest` | 0.900 ± 0.010 (0.002) |  |",
    ]
    assert lines[8:10] == ["", "| rejection at 50 % | cnn | few jets: pfn |"]
    assert lines[11:] == ["| `W_vs_QCD` | 150 ± 10 |  |", "| `QCD_vs_W` | > 99 (95 % CL) |  |"]


def test_a_sentence_holds_difference_ratio_and_what_is_not_known() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 500)
    good, bad = (label * 2 + rng.normal(0, spread, (2, 1000)) for spread in (1.0, 2.0))
    comparison = compare_over_seeds(label, good, bad, signal_index=1, replicas=100)
    text = sentence(comparison)
    assert f"AUC difference {comparison.auc.difference:+.4f} ± {comparison.auc.total_error:.4f}" in text
    assert f"rejection ratio at 50 % {comparison.ratio:.3f}" in text
    assert "not known" not in text
    alone = compare_over_seeds(label, good[:1], bad, signal_index=1, replicas=100)
    assert "spread over seeds not known for both" in sentence(alone)
    assert "rough" not in text
    ensemble = compare_over_seeds(
        label, good, [good.mean(axis=0)], signal_index=1, replicas=9, one_training=True
    )
    assert "(of the same fits: their spread over seeds is left out)" in sentence(ensemble)
    nearly = compare_over_seeds(
        label, bad[:1], bad[:1] + rng.normal(0, 0.01, 1000), signal_index=1, replicas=9, one_training=True
    )
    assert 0 < nearly.auc.total_error < 5e-4
    # two digits of the error, however small
    assert re.search(r"± 0\.000\d\d+ \(95 % lower bound [+-]0\.00\d{3,}\)", sentence(nearly))
    perfect = compare_over_seeds(label, [label * 1.0], bad, signal_index=1, replicas=100)
    assert "(rough: for some seed no background jet passes)" in sentence(perfect)
