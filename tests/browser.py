"""A person at MLflow's own pages: what can be found there, and seen."""

import re
import shutil
from contextlib import contextmanager

from playwright.sync_api import expect, sync_playwright

# Debian's Chromium, as root too, and without a look at anything but the page
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SECONDS = 60


@contextmanager
def opened_page(width=1400, height=800):
    """A page of a new browser."""
    chromium = shutil.which("chromium")
    assert chromium, "Install chromium: this test looks at MLflow's pages."
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(OPTIONS))
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(SECONDS * 1000)
            yield page
        finally:
            browser.close()


def close_assistant(page):
    """MLflow opens a panel at the right at the first visit."""
    page.get_by_text("MLflow Assistant").wait_for()
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.get_by_text("MLflow Assistant")).not_to_be_in_viewport()


def see_runs(page, address, experiment, parent):
    """Find an experiment, and the parent among its runs, and open it: its children stand below it."""
    page.goto(f"{address}/#/experiments")
    page.get_by_role("link", name=experiment, exact=True).first.click()
    page.get_by_role("link", name="Training runs").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=parent, exact=True))
    expect(row).to_have_count(1)
    close_assistant(page)
    expect(page.get_by_role("link", name=re.compile("trial-"))).to_have_count(0)
    row.get_by_role("button").first.click()
    expect(page.get_by_role("link", name="trial-00", exact=True)).to_be_visible()


def compare_runs(page, names):
    """Tick runs of the table, and compare them: their parameters and metrics stand side by side."""
    for name in names:
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))
        row.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text(f"Comparing {len(names)} Runs from 1 Experiment")).to_be_visible()


def see_curves(page, metric, names):
    """From the comparison, look at the curves of a metric, one a run."""
    here = page.url
    # a click on what is still being put together goes nowhere
    for _ in range(SECONDS):
        page.get_by_role("link", name=metric, exact=True).click()
        page.wait_for_timeout(1000)
        if page.url != here:
            break
    expect(page.get_by_role("heading", name=metric).first).to_be_visible()
    for name in names:
        expect(page.get_by_text(f"{name} ({metric})").first).to_be_visible()
    page.get_by_text("Y-axis Log Scale").locator("xpath=..").get_by_role("switch").click()
    lines = page.locator(".scatterlayer .trace path.js-line")
    expect(lines.nth(len(names) - 1)).to_be_visible()
    # not by colour: MLflow picks it by a hash of the run's id, and two runs may meet in one
    paths = lines.evaluate_all("lines => lines.map(line => line.getAttribute('d'))")
    assert len(set(paths)) == len(names), paths


def see_model(page, address, name, version):
    """Find a registered model's version by its alias, and read its card."""
    page.goto(f"{address}/#/models/{name}")
    link = page.get_by_role("link", name=f"Version {version}", exact=True)
    expect(page.get_by_role("row").filter(has=link)).to_contain_text("champion")
    link.click()
    expect(page.get_by_text("champion").first).to_be_visible()
    expect(page.get_by_role("heading", name="Measured")).to_be_visible()
