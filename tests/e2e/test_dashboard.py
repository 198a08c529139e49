"""The dashboard in a real browser, against the running product."""

import base64
import hashlib
import re
import uuid
from urllib.parse import parse_qs, urlsplit

import numpy as np
import psycopg
import pytest
import rasterio
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from local.stack.environment import BRONZE
from tests.e2e.test_process_raster import SAMPLE

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark"}
SERIOUS = ("serious", "critical")


@pytest.fixture
def ui(product):
    return f"{product.environment.api}/ui"


@pytest.fixture
def signed_in(tab, ui, product):
    """A page whose browser has stored the key."""
    tab.goto(ui)
    tab.get_by_label("Key").fill(product.environment.keys.function_key)
    tab.get_by_role("button", name="Continue").click()
    expect(tab.get_by_role("heading", name="Jobs")).to_be_visible()
    return tab


@pytest.fixture
def bare(tmp_path):
    """A raster without a CRS, under a unique name."""
    path = tmp_path / f"bare-{uuid.uuid4().hex[:8]}.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=64, height=64, count=1, dtype="float32",
        transform=rasterio.Affine(30, 0, 500_000, 0, -30, 4_000_000),
    ) as raster:  # fmt: skip
        raster.write(np.random.default_rng(1).random((1, 64, 64), dtype="float32") * 100)
    return path


def expect_status(page, state):
    expect(page.locator("#state")).to_have_text(state, timeout=300_000)


def submit(page, ui, file):
    page.goto(f"{ui}#/new")
    page.get_by_label("Drop a raster here").set_input_files(file)
    expect(page.locator("#upload")).to_contain_text("is in storage")
    page.get_by_role("button", name="Submit").click()


def test_a_wrong_key_is_reported_and_a_valid_one_is_stored(tab, ui, product):
    tab.goto(ui)
    expect(tab.get_by_role("button", name="Sign out")).to_be_hidden()
    tab.get_by_label("Key").fill("wrong")
    tab.get_by_label("Key").press("Enter")
    expect(tab.get_by_role("alert")).to_contain_text("not accepted")
    tab.get_by_label("Key").fill(product.environment.keys.function_key)
    tab.get_by_label("Key").press("Enter")
    expect(tab.get_by_role("heading", name="Jobs")).to_be_visible()
    tab.reload()
    expect(tab.get_by_role("heading", name="Jobs")).to_be_visible()
    tab.get_by_role("button", name="Sign out").click()
    expect(tab.get_by_label("Key")).to_be_visible()


def test_a_dropped_raster_becomes_a_map(signed_in, ui, tmp_path):
    page, name = signed_in, f"drop-{uuid.uuid4().hex[:8]}.tif"
    page.goto(f"{ui}#/new")
    page.wait_for_selector(".drop")
    page.evaluate(
        """([name, bytes]) => {
            const data = new DataTransfer();
            const content = Uint8Array.from(atob(bytes), (char) => char.charCodeAt(0));
            data.items.add(new File([content], name));
            const event = new DragEvent("drop", {dataTransfer: data, bubbles: true});
            document.body.dispatchEvent(event);
        }""",
        [name, base64.b64encode(SAMPLE.read_bytes()).decode()],
    )
    expect(page.get_by_label("Blob name")).to_have_value(name)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect_status(page, "completed")
    preview = page.locator("img.picture")
    expect(preview).to_be_visible()
    page.wait_for_function("document.querySelector('img.picture').naturalWidth > 100")
    assert "map.html" in page.locator("#map").get_attribute("href")
    validation = page.get_by_role("region", name="Validation")
    for words in (
        "RGB (confidence: ",
        "EPSG:32618 (from the file)",
        "uint8",
        "DEFLATE",
        "Analysis",
    ):
        expect(validation).to_contain_text(words)
    expect(validation.get_by_role("list").first.get_by_role("listitem")).not_to_have_count(0)
    page.goto(f"{ui}#/")
    expect(page.get_by_role("link", name=name)).to_be_visible()


def test_a_failed_job_shows_its_error_and_is_submitted_again_with_the_missing_parameter(
    signed_in, ui, bare
):
    page = signed_in
    submit(page, ui, bare)
    expect_status(page, "failed")
    page.goto(f"{ui}#/?status=failed")
    row = page.get_by_role("row").filter(has_text=bare.name)
    expect(row).to_contain_text("has no CRS and input_crs is not set")
    row.get_by_role("link").click()
    expect(page.get_by_role("alert")).to_contain_text("set input_crs")
    page.get_by_role("link", name="Change parameters and submit").click()
    expect(page.get_by_label("Blob name")).to_have_value(bare.name)
    expect(page.get_by_role("alert")).to_contain_text("set input_crs")
    page.get_by_label("Input CRS").fill("EPSG:32618")
    page.get_by_role("button", name="Submit").click()
    expect_status(page, "completed")


def test_a_folder_is_checked_and_processed_with_its_failures_listed(
    signed_in, ui, product, bare, tmp_path
):
    page, folder = signed_in, f"folder-{uuid.uuid4().hex[:8]}/"
    note = tmp_path / "note.txt"
    note.write_text("not a raster")
    for file, name in ((SAMPLE, "a.tif"), (SAMPLE, "deep/b.tif"), (bare, "bare.tif"), (note, "n")):
        product.upload(file, folder + name)
    page.goto(f"{ui}#/new?type=process_raster_collection")
    page.get_by_label("Prefix").press_sequentially(folder[:8])
    expect(page.locator(f"datalist option[value='{folder}']")).to_have_count(1)
    expect(page.get_by_label("Container name")).to_have_value(BRONZE)
    page.get_by_label("Prefix").fill(folder)
    page.get_by_label("Collection ID").fill(folder.strip("/"))
    page.get_by_role("button", name="Check first").click()
    expect_status(page, "completed with errors")
    result = page.locator("[aria-labelledby=result]")
    expect(result).to_contain_text("3 found, 1 invalid")
    expect(result).to_contain_text(f"1 not a raster: {folder}n")
    expect(result).to_contain_text("nothing was written")
    page.get_by_role("link", name="Process these rasters").click()
    expect(page.get_by_label("Prefix")).to_have_value(folder)
    page.get_by_role("button", name="Submit").click()
    expect_status(page, "completed with errors")
    failures = page.get_by_role("region", name="Failures")
    expect(failures.get_by_role("listitem")).to_have_count(1)
    expect(failures).to_contain_text(f"{folder}bare.tif has no CRS")
    expect(page.get_by_role("progressbar", name="progress of the job")).to_have_js_property(
        "value", 1
    )
    expect(page.locator("[aria-labelledby=result]")).to_contain_text("2 published")
    collection = page.locator("[aria-labelledby=result] dd").filter(has_text="2 of 3 rasters")
    expect(collection.get_by_role("link", name=folder.strip("/"))).to_be_visible()
    assert "/collections/" in page.locator("#map").get_attribute("href")


def test_a_raster_is_checked_before_it_is_processed(signed_in, ui, product):
    page = signed_in
    source = product.upload(SAMPLE, f"check-{uuid.uuid4().hex[:8]}.tif")
    page.goto(f"{ui}#/new")
    page.get_by_label("Blob name").fill(source["blob_name"])
    page.get_by_label("Container name").fill(source["container_name"])
    page.get_by_role("button", name="Check first").click()
    expect_status(page, "completed")
    expect(page.locator("[aria-labelledby=result]")).to_contain_text("about")
    page.get_by_role("link", name="Make the COGs").click()
    expect(page.get_by_label("Blob name")).to_have_value(source["blob_name"])
    expect(page.get_by_label("Job type")).to_have_value("process_raster")


def test_an_invalid_field_has_its_error_next_to_it(signed_in, ui):
    page = signed_in
    page.goto(f"{ui}#/new?type=hello_world")
    page.get_by_label("N", exact=True).fill("-1")
    page.get_by_role("button", name="Submit").click()
    field = page.get_by_label("N", exact=True)
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#wrong-n")).to_contain_text("greater than or equal to 0")
    field.fill("")
    field.press_sequentially("1e")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#wrong-n")).to_have_text("This is not a number")


def test_a_repeated_submission_is_reported_and_going_back_keeps_the_values(signed_in, ui):
    page, message = signed_in, uuid.uuid4().hex
    for known in (0, 1):
        page.goto(f"{ui}#/new?type=hello_world")
        # The page shows the previous form until the new one is rendered.
        expect(page.get_by_label("Message")).to_have_value("Hello")
        page.get_by_label("Message").fill(message)
        page.get_by_role("button", name="Submit").click()
        expect_status(page, "completed")
        expect(page.locator("#known")).to_have_count(known)
        page.go_back()
        expect(page.get_by_label("Message")).to_have_value(message)


def test_a_slow_upload_gets_a_new_url_before_the_old_one_expires(signed_in, ui, tmp_path):
    page, asked = signed_in, []

    def expiring(route):
        answer = route.fetch()
        asked.append(answer)
        route.fulfill(json={**answer.json(), "expires_at": "2026-01-01T00:00:00Z"})

    page.route("**/api/uploads", expiring)
    path = tmp_path / f"slow-{uuid.uuid4().hex[:8]}.tif"
    path.write_bytes(SAMPLE.read_bytes())
    page.goto(f"{ui}#/new")
    page.get_by_label("Drop a raster here").set_input_files(path)
    expect(page.locator("#upload")).to_contain_text("is in storage")
    assert len(asked) == 2


def test_two_uploads_to_one_name_do_not_share_blocks(signed_in, ui):
    page, blocks = signed_in, []
    page.on("request", lambda each: blocks.append(each.url) if "blockid" in each.url else None)
    sends = """async () => {
        const { upload } = await import("/api/ui/api.js");
        const left = new AbortController().signal;
        await upload(new File(["some"], "a.tif"), "dashboard/both.tif", () => {}, left);
    }"""
    page.goto(f"{ui}#/new")
    for _ in range(2):
        page.evaluate(sends)
    ids = [parse_qs(urlsplit(url).query)["blockid"][0] for url in blocks]
    assert len(ids) == 2 and ids[0] != ids[1] and len(ids[0]) == len(ids[1])


def test_the_error_of_a_refused_action_stays_visible(signed_in, ui, product, bare):
    page = signed_in
    failed = product.run("process_raster", **product.upload(bare, bare.name))["job_id"]
    page.clock.install()
    page.goto(f"{ui}#/jobs/{failed}")
    detail = "the job cannot be retried"
    page.route("**/retry", lambda route: route.fulfill(status=409, json={"detail": detail}))
    with page.expect_response("**/jobs/status/**"), page.expect_response("**/events?**"):
        page.get_by_role("button", name="Retry failed tasks").click()
    page.clock.run_for(2000)
    expect(page.locator("#refused")).to_contain_text(detail)


def test_a_poll_changes_only_what_differs(signed_in, ui, product):
    page = signed_in
    job_id = product.run("hello_world", n=1, message=uuid.uuid4().hex)["job_id"]
    page.goto(f"{ui}#/")
    page.wait_for_selector(f"#row-{job_id}")
    page.evaluate("id => { window.kept = document.getElementById(id); }", f"row-{job_id}")
    page.locator(f"#job-{job_id}").focus()
    newer = product.run("hello_world", n=2, message=uuid.uuid4().hex)["job_id"]
    page.wait_for_selector(f"#row-{newer}")
    assert page.evaluate("window.kept.isConnected")
    expect(page.locator(f"#job-{job_id}")).to_be_focused()
    page.get_by_label("Status").focus()
    page.get_by_label("Status").select_option("completed")
    expect(page).to_have_url(re.compile("status=completed"))
    expect(page.get_by_label("Status")).to_be_focused()


def test_the_duration_of_a_running_job_is_updated_between_polls(signed_in, ui, product):
    page = signed_in
    with product.running("hello_world", n=20_000, message=uuid.uuid4().hex) as job_id:
        page.goto(f"{ui}#/jobs/{job_id}")
        expect(page.locator("#times")).to_contain_text("running for")
        page.route("**/api/jobs/**", lambda route: None)
        before = page.locator("#times").inner_text()
        expect(page.locator("#times")).not_to_have_text(before)
        page.unroute("**/api/jobs/**")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "less than 1 s"), (59.7, "1 min 0 s"), (119.8, "2 min 0 s"), (7190, "2 h 0 min"),
     (200_000, "2 d 7 h")],
)  # fmt: skip
def test_durations_are_rounded(signed_in, seconds, words):
    script = "seconds => import('/api/ui/format.js').then((text) => text.formatDuration(seconds))"
    assert signed_in.evaluate(script, seconds).replace("\xa0", " ") == words


def test_a_running_job_is_cancelled_and_a_failed_one_retried(signed_in, ui, product, bare):
    page = signed_in
    page.on("dialog", lambda dialog: dialog.accept())
    with product.running("hello_world", n=20_000, message=uuid.uuid4().hex) as running:
        page.goto(f"{ui}#/jobs/{running}")
        page.get_by_role("button", name="Cancel").click()
        expect_status(page, "cancelled")
        assert page.locator("progress").first.evaluate("bar => bar.value") < 1
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    failed = product.run("process_raster", **product.upload(bare, bare.name))["job_id"]
    page.goto(f"{ui}#/jobs/{failed}")
    page.get_by_role("button", name="Retry failed tasks").click()
    expect(page.locator("main")).to_contain_text("run 2")
    expect_status(page, "failed")
    expect(page.locator("ol.timeline")).to_contain_text("Job retried")


def test_ten_thousand_jobs_are_paged(signed_in, ui, product):
    """Uses a status in which no other test's job ends: a new job would change the pages."""
    page = signed_in

    def job_id(n: int) -> str:
        return 2 * hashlib.md5(f"many{n}".encode()).hexdigest()

    with psycopg.connect(product.environment.database_url) as conn:
        conn.execute(
            """INSERT INTO app.jobs (job_id, job_type, version, parameters, total_stages, status,
                                     created_at, started_at, finished_at)
               SELECT repeat(md5('many' || n), 2), 'hello_world', 1,
                      jsonb_build_object('n', 1, 'message', 'many ' || n), 2,
                      'completed_with_errors',
                      now() - interval '1 year' - n * interval '1 s', now(), now()
                 FROM generate_series(1, 10000) n ON CONFLICT DO NOTHING"""
        )
    try:
        page.goto(f"{ui}#/?job_type=hello_world&status=completed_with_errors")
        rows = page.locator("tbody tr")
        for first in (1, 26, 51):
            expect(rows.first).to_have_attribute("data-job", job_id(first))
            expect(rows).to_have_count(25)
            expect(rows.last).to_have_attribute("data-job", job_id(first + 24))
            page.locator("#older").click()
        expect(rows.first).to_have_attribute("data-job", job_id(76))
        page.get_by_role("link", name="Newest").click()
        expect(page.get_by_role("link", name="Newest")).to_have_count(0)
    finally:
        with psycopg.connect(product.environment.database_url) as conn:
            conn.execute("DELETE FROM app.jobs WHERE created_at < now() - interval '300 days'")


def test_empty_and_failed_views_have_an_explanation(signed_in, ui):
    page = signed_in
    page.goto(f"{ui}#/jobs/{'0' * 64}")
    expect(page.get_by_role("alert")).to_contain_text("no job has the id")
    page.goto(f"{ui}#/jobs/0123abcd")
    expect(page.get_by_role("alert")).to_contain_text("an id has 64 lower-case hexadecimal digits")
    page.route("**/api/job-types", lambda route: route.abort())
    page.goto(f"{ui}#/new")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute("**/api/job-types")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Job type")).to_be_visible()
    page.route("**/api/jobs?*", lambda route: route.fulfill(json={"jobs": []}))
    page.goto(f"{ui}#/?status=cancelled")
    expect(page.locator("main")).to_contain_text("No jobs match")
    page.unroute("**/api/jobs?*")
    page.route("**/api/jobs?*", lambda route: route.abort())
    page.goto(f"{ui}#/")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute("**/api/jobs?*")
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("tab", [{}, PHONE], indirect=True, ids=["wide", "phone"])
def test_every_view_is_accessible_and_fits(signed_in, ui, product, bare):
    page = signed_in
    done = product.run("process_raster", **product.upload(SAMPLE, "dashboard/sample.tif"))
    failed = product.run("process_raster", **product.upload(bare, bare.name))
    views = [
        (f"{ui}#/", "Jobs", "tbody tr"),
        (f"{ui}#/new", "New job", "#submit"),
        (f"{ui}#/jobs/{done['job_id']}", "dashboard/sample.tif", ".timeline li"),
        (f"{ui}#/jobs/{failed['job_id']}", bare.name, ".timeline li"),
        (f"{product.environment.api}/docs", "Geolathe API", "details"),
    ]
    for address, title, last_part in views:
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.locator(last_part).first).to_be_attached()
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        found = Axe().run(page).response["violations"]
        serious = [each for each in found if each["impact"] in SERIOUS]
        bad = [(each["id"], each["nodes"][0]["html"]) for each in serious]
        assert bad == [], address
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, address


def test_the_dashboard_works_with_the_keyboard_alone(signed_in, ui, product):
    job_id = product.run("hello_world", n=1, message=f"keyboard {uuid.uuid4().hex}")["job_id"]
    page = signed_in
    page.goto(f"{ui}#/?job_type=hello_world")
    page.reload()
    page.wait_for_selector(f"#job-{job_id}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.locator(f"#job-{job_id}").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="keyboard")).to_be_focused()


def test_pages_need_no_key_and_load_no_scripts_from_other_hosts(product):
    with product.api as api:
        for path in ("/ui", "/ui/app.js", "/docs", "/openapi.json"):
            answer = api.get(path, headers={"x-functions-key": ""})
            assert answer.status_code == 200 and "http://" not in answer.text.replace(
                "http://www.w3.org", ""
            )
        policy = api.get("/ui").headers["content-security-policy"]
        assert api.get("/ui/../function_app.py").status_code == 404
        assert api.get("/ui/secret").status_code == 404
    assert "default-src 'self'" in policy and "unsafe" not in policy
