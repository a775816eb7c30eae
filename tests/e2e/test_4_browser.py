"""A planner's morning in headless Chromium: log in, start the day, watch the bar move, see the purchase list."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.demo.factory import FactoryFiles
from cluster.local.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.browser]


def test_a_planner_starts_the_day_and_sees_what_to_buy(chromium: Any, stack: Stack, factory: FactoryFiles) -> None:
    from playwright.sync_api import expect

    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    assert stack.first_password is not None
    page.goto(f"{stack.dashboard_url}/purchasing")
    page.fill("#email", stack.settings.admin_email)
    page.fill("#password", stack.first_password)
    page.click(".fmrp-login-submit")
    # The deep link survives the log-in.
    expect(page.locator(".fmrp-page-purchasing")).to_be_visible(timeout=20_000)

    page.click(".fmrp-nav-today")
    expect(page.locator(".fmrp-page-today")).to_be_visible(timeout=20_000)
    page.locator(".fmrp-start-day button").click()
    bar = page.locator(".fmrp-day-progress").first
    expect(page.locator(".fmrp-day-state").first).to_have_attribute("data-state", "running", timeout=20_000)
    seen = set()
    while page.locator(".fmrp-day-state").first.get_attribute("data-state") == "running":
        seen.add(int(bar.get_attribute("aria-valuenow") or 0))
        page.wait_for_timeout(50)
    assert any(0 < share < 100 for share in seen), f"the bar never moved: {sorted(seen)}"
    expect(page.locator(".fmrp-day-state").first).to_have_attribute("data-state", "done", timeout=60_000)

    page.click(".fmrp-nav-purchasing")
    orders = page.locator(".fmrp-order")
    expect(orders.first).to_be_visible(timeout=20_000)
    ranks = [
        ("critical", "high", "medium", "low").index(orders.nth(row).get_attribute("data-priority") or "")
        for row in range(orders.count())
    ]
    assert ranks
    assert ranks == sorted(ranks)

    page.click(".fmrp-nav-forecasts")
    expect(page.locator(".fmrp-forecast-chart canvas").first).to_be_visible(timeout=20_000)
    page.click(".fmrp-nav-data")
    expect(page.locator(".fmrp-run").first).to_be_visible(timeout=20_000)
