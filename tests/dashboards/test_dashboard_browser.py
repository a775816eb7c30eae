"""What a planner sees and does, in headless Chromium, against the fake API."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from dashboard_process import Dashboard
from fake_api import PASSWORD
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser]
expect.set_options(timeout=20_000)


def sign_in(page: Any, path: str = "/", email: str = "planner@example.com") -> None:
    page.goto(path)
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.click(".fmrp-login-submit")


def test_a_wrong_password_shows_the_apis_words_and_lets_nobody_in(page: Any) -> None:
    page.goto("/purchasing")
    page.fill("#email", "planner@example.com")
    page.fill("#password", "wrong")
    page.click(".fmrp-login-submit")
    expect(page.locator(".fmrp-login-error")).to_have_text("Email and password do not match.")
    expect(page.locator("#email")).to_have_value("planner@example.com")
    page.goto("/jobs")
    expect(page).to_have_url(re.compile(r"/login"))


def test_a_deep_link_survives_log_in_and_reload_and_everything_is_served_here(page: Any, dashboard: Dashboard) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc or "local"))
    sign_in(page, "/purchasing")
    expect(page.locator(".fmrp-page-purchasing .fmrp-order").first).to_be_visible()
    page.reload()
    expect(page.locator(".fmrp-page-purchasing .fmrp-order").first).to_be_visible()
    expect(page).to_have_url(dashboard.url + "/purchasing")
    assert hosts <= {urlsplit(dashboard.url).netloc, "local"}
    cookie = next(c for c in page.context.cookies() if c["name"] == "fmrp_session")
    assert cookie["httpOnly"]
    assert cookie["value"].strip('"') not in page.content()


def test_the_day_is_started_and_its_bar_moves_to_the_end(page: Any) -> None:
    sign_in(page)
    expect(page.locator(".fmrp-start-day button")).to_be_enabled()
    expect(page.locator(".fmrp-kpi-accuracy .value")).to_have_text("20 %")
    page.click(".fmrp-start-day button")
    bar = page.locator(".fmrp-day-progress")
    expect(page.locator(".fmrp-step-forecast[data-state=running]")).to_be_visible()
    seen = int(bar.get_attribute("aria-valuenow"))
    assert 0 < seen < 100
    expect(page.locator(".fmrp-start-day button")).to_be_disabled()
    expect(page.locator(".fmrp-day-state")).to_have_attribute("data-state", "done")
    expect(bar).to_have_attribute("aria-valuenow", "100")
    expect(page.locator(".fmrp-step-plan")).to_have_attribute("data-state", "done")
    page.click(".fmrp-nav-jobs")
    expect(page.locator(".fmrp-job[data-kind=day] .badge").first).to_have_text("Done")
    page.go_back()
    expect(page.locator(".fmrp-page-today")).to_be_visible()


def test_purchase_orders_come_most_urgent_first_page_by_page_and_as_csv(page: Any, dashboard: Dashboard) -> None:
    sign_in(page, "/purchasing")
    rows = page.locator(".fmrp-order")
    expect(rows.first).to_be_visible()
    order = ["critical", "high", "medium", "low"]
    first = [order.index(p) for p in rows.evaluate_all("rows => rows.map(r => r.dataset.priority)")]
    assert len(first) == 50
    assert first == sorted(first)
    assert first[0] == 0
    bought = sum(o["kind"] == "purchase" for o in dashboard.api.world.orders)
    expect(page.locator(".fmrp-pager-text")).to_have_text(f"1 to 50 of {bought} purchase orders")
    expect(page.locator(".fmrp-past-due").first).to_contain_text("past due")
    page.click(".fmrp-next")
    expect(page.locator(".fmrp-pager-text")).to_contain_text("51 to")
    page.locator(".fmrp-search input").fill("Pump unit")
    page.locator(".fmrp-search input").press("Enter")
    wanted = sum(o["kind"] == "purchase" and "Pump unit" in o["name"] for o in dashboard.api.world.orders)
    expect(rows).to_have_count(wanted)
    with page.expect_download() as download:
        page.click(".fmrp-download-csv")
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == wanted + 1


def test_a_searched_items_forecast_is_drawn(page: Any) -> None:
    sign_in(page, "/forecasts")
    expect(page.locator(".fmrp-item")).to_have_count(12)
    page.locator(".fmrp-item-search input").fill("FG-1037")
    expect(page.locator(".fmrp-item")).to_have_count(1)
    expect(page.locator(".fmrp-item-code")).to_have_text("FG-1037")
    expect(page.locator(".fmrp-forecast-chart canvas").first).to_be_visible()
    expect(page.locator(".fmrp-model")).to_have_text("Theta")
    expect(page.locator(".fmrp-reason")).to_contain_text("lowest WQL")
    expect(page.locator(".fmrp-accuracy")).to_contain_text("Seasonal naive")


def test_a_viewer_reads_but_has_no_button_to_start_cancel_or_upload(page: Any) -> None:
    sign_in(page, email="viewer@example.com")
    expect(page.locator(".fmrp-order").first).to_be_visible()
    expect(page.locator(".fmrp-user")).to_contain_text("Jonas <b>Weber</b>")
    expect(page.locator(".fmrp-start-day")).to_be_hidden()
    page.click(".fmrp-nav-data")
    expect(page.locator(".fmrp-run").first).to_be_visible()
    expect(page.locator(".fmrp-upload")).to_be_hidden()


def test_rejected_rows_show_line_and_reason_and_a_file_is_uploaded_under_a_mapping(
    page: Any, dashboard: Dashboard
) -> None:
    sign_in(page, "/data")
    page.locator(".fmrp-show-rejected").first.click()
    expect(page.locator(".fmrp-rejected-row").first).to_contain_text("<script>alert(1)</script>")
    expect(page.locator(".fmrp-rejected-row").first).to_contain_text("17")
    content = b"date;item;quantity\n2025-11-23;FG-1000;5\n"
    page.locator(".fmrp-file input[type=file]").set_input_files(
        {"name": "sales.csv", "mimeType": "text/csv", "buffer": content}
    )
    expect(page.locator(".fmrp-upload button")).to_be_enabled()
    page.click(".fmrp-upload button")
    expect(page.locator(".fmrp-notice .message")).to_contain_text("The file is in")
    assert dashboard.api.world.uploads[-1] == ("sales.csv", len(content), "demo-sales")


def test_a_job_is_cancelled_only_after_a_confirmation(page: Any, dashboard: Dashboard) -> None:
    world = dashboard.api.world
    sign_in(page, "/jobs")
    dashboard.api.call(lambda: world.set_job(world.new_job("train"), state="running", progress=0.4))
    row = page.locator(".fmrp-job[data-kind=train]")
    expect(row).to_have_attribute("data-state", "running")
    row.locator(".fmrp-cancel").click()
    expect(page.get_by_role("dialog")).to_contain_text("Cancel “Train”?")
    page.locator(".fmrp-dismiss button").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(row).to_have_attribute("data-state", "running")
    row.locator(".fmrp-cancel").click()
    page.locator(".fmrp-confirm button").click()
    expect(row).to_have_attribute("data-state", "cancelled")
    expect(row.locator(".fmrp-retry")).to_be_visible()


def test_dead_letters_say_why_and_all_go_back_at_once(page: Any, dashboard: Dashboard) -> None:
    world = dashboard.api.world
    sign_in(page, "/jobs")
    for state in ("failed", "held"):
        dashboard.api.call(
            lambda state=state: world.set_job(world.new_job("train"), state=state, error="no such source")
        )
    row = page.locator(".fmrp-job[data-state=held]")
    row.locator(".fmrp-why").click()
    expect(row.locator(".fmrp-traceback")).to_contain_text("in fetch(), line 7")
    row.locator(".fmrp-why").click()
    expect(row.locator(".fmrp-traceback")).to_have_count(0)
    page.locator(".fmrp-retry-dead").click()
    page.locator(".fmrp-confirm button").click()
    expect(page.locator(".fmrp-job[data-state=held], .fmrp-job[data-state=failed]")).to_have_count(0)


def test_a_lost_stream_is_shown_and_comes_back(page: Any, dashboard: Dashboard) -> None:
    sign_in(page, "/jobs")
    expect(page.locator(".top[data-connection=live]")).to_be_visible()
    dashboard.api.world.broken.add("/events/ticket")
    try:
        dashboard.api.run(dashboard.api.world.drop_sockets())
        expect(page.locator(".fmrp-reconnecting")).to_be_visible()
    finally:
        dashboard.api.world.broken.discard("/events/ticket")
    expect(page.locator(".top[data-connection=live]")).to_be_visible()


def test_an_api_failure_is_told_and_can_be_tried_again(page: Any, dashboard: Dashboard) -> None:
    dashboard.api.world.broken.add("/plans/latest/orders")
    try:
        sign_in(page, "/purchasing")
        expect(page.locator(".fmrp-error")).to_contain_text("The database is restarting")
    finally:
        dashboard.api.world.broken.discard("/plans/latest/orders")
    page.locator(".fmrp-error button").click()
    expect(page.locator(".fmrp-order").first).to_be_visible()


def test_an_expired_token_leads_to_the_log_in_and_back(page: Any, dashboard: Dashboard) -> None:
    sign_in(page, "/jobs")
    expect(page.locator(".fmrp-jobs")).to_be_visible()
    dashboard.api.world.tokens.clear()
    page.click(".fmrp-nav-purchasing")
    expect(page.locator(".fmrp-login-notice")).to_contain_text("Your session has ended")
    page.fill("#email", "planner@example.com")
    page.fill("#password", PASSWORD)
    page.click(".fmrp-login-submit")
    expect(page.locator(".fmrp-page-purchasing .fmrp-order").first).to_be_visible()


def test_a_log_in_outlives_its_access_token(page: Any, dashboard: Dashboard) -> None:
    world = dashboard.api.world
    world.token_ttl_s = 0.2
    try:
        sign_in(page, "/jobs")
        expect(page.locator(".fmrp-jobs")).to_be_visible()
        world.tokens.clear()
        page.click(".fmrp-nav-purchasing")
        expect(page.locator(".fmrp-page-purchasing .fmrp-order").first).to_be_visible()
    finally:
        world.token_ttl_s = 3600.0
    content = page.content()
    assert not any(token in content for token in {*world.tokens, *world.refresh_tokens})


def test_a_made_password_is_exchanged_for_ones_own(page: Any, dashboard: Dashboard) -> None:
    world = dashboard.api.world
    world.must_change.add("viewer@example.com")
    sign_in(page, "/jobs", email="viewer@example.com")
    expect(page.locator(".fmrp-login-notice")).to_contain_text("choose one of your own")
    for new, shown in (("short", ".fmrp-login-error"), ("a longer horse battery", ".fmrp-jobs")):
        page.fill("#password", PASSWORD)
        page.fill("#new_password", new)
        page.click(".fmrp-login-submit")
        expect(page.locator(shown)).to_be_visible()
    assert world.passwords.pop("viewer@example.com") == "a longer horse battery"


def test_log_out_ends_the_session(page: Any, dashboard: Dashboard) -> None:
    before = set(dashboard.api.world.refresh_tokens)
    sign_in(page)
    expect(page.locator(".fmrp-logout")).to_be_visible()
    assert set(dashboard.api.world.refresh_tokens) - before
    page.click(".fmrp-logout")
    expect(page).to_have_url(re.compile(r"/login"))
    assert not set(dashboard.api.world.refresh_tokens) - before, "the API still knows the log-in"
    page.goto("/purchasing")
    expect(page.locator("#password")).to_be_visible()


def test_the_theme_is_switched_and_kept(page: Any) -> None:
    sign_in(page)
    expect(page.locator(".fmrp-order").first).to_be_visible()
    light = page.locator(".kpi").first.evaluate("e => getComputedStyle(e).backgroundColor")
    page.get_by_label("Toggle theme").click()
    page.wait_for_function("document.cookie.includes('fmrp_theme=dark')")
    page.reload()
    expect(page.locator(".fmrp-order").first).to_be_visible()
    assert page.locator(".kpi").first.evaluate("e => getComputedStyle(e).backgroundColor") != light
