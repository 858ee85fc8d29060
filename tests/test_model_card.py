"""Model cards: what tests/test_pipeline.py does not see of them."""

from jetexp.model_card import PartOfJets, summary_of


def test_a_summary_leaves_out_the_last_section_and_ends_with_a_whole_line():
    assert summary_of("# w\n\nwhat\n\n## Made from\n\nyaml\n") == "# w\n\nwhat"
    long = "# w\n" + "a line of text\n" * 1000 + "\n## Made from\n"
    summary = summary_of(long)
    assert 4400 < len(summary) <= 4500
    assert summary.endswith("a line of text")
    assert summary_of("") == ""


def test_jets_are_summed_up(pythia_jets):
    text = str(PartOfJets.of(pythia_jets))
    low, high = pythia_jets.pt.min(), pythia_jets.pt.max()
    assert text == (
        f"300 QCD, 300 W, 300 top; pT {low:.0f} to {high:.0f} GeV; "
        f"fingerprint `{pythia_jets.fingerprint[:12]}`"
    )
