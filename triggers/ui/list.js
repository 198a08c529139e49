// The list of jobs: filtered, paged and updated continuously.
import { request, sleep } from "./api.js";
import { create, refresh, show } from "./dom.js";
import { describeJob, formatName, formatRunTime, renderAge, renderError, renderStatus } from "./format.js";

const STATES = ["queued,processing", "completed", "completed_with_errors", "failed", "cancelled"];
const PAGE = 25;

export async function showList(container, search, signal) {
  document.title = "Jobs · Geolathe";
  const [errors, table] = [create("div", {}), create("div", {})];
  const { job_types: types } = await request("/job-types", { signal });
  show(container,
    create("div", { class: "row spread" }, create("h1", {}, "Jobs"), create("a", { class: "button primary", href: "#/new" }, "New job")),
    renderFilters(search, types), errors, table);
  while (!signal.aborted) {
    const query = new URLSearchParams({ limit: PAGE });
    for (const name of ["status", "job_type", "after"]) if (search.get(name)) query.set(name, search.get(name));
    let hasOpenJobs = false;
    try {
      const page = await request(`/jobs?${query}`, { signal });
      hasOpenJobs = page.jobs.some((job) => !job.finished_at);
      refresh(errors);
      refresh(table, page.jobs.length ? renderJobs(page.jobs) : renderEmpty(search), renderPages(search, page));
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401) throw error;
      refresh(errors, renderError(error));
    }
    await sleep(hasOpenJobs ? 1 : 4, signal);
    while (document.hidden) await sleep(1, signal);
  }
}

function renderFilters(search, types) {
  const applyFilter = (name) => (event) => {
    const next = new URLSearchParams(search);
    next.delete("after");
    if (event.target.value) next.set(name, event.target.value);
    else next.delete(name);
    location.hash = `#/?${next}`;
  };
  const createSelect = (id, name, text, options) => create("div", { class: "field" }, create("label", { for: id }, text),
    create("select", { id, onchange: applyFilter(name) }, create("option", { value: "" }, "All"),
      options.map((value) => create("option", { value, selected: search.get(name) === value }, value === STATES[0] ? "Open" : formatName(value)))));
  return create("div", { class: "row card" }, createSelect("status", "status", "Status", STATES), createSelect("type", "job_type", "Type", types.map((type) => type.job_type)));
}

function renderJobs(jobs) {
  return create("div", { class: "card scroll" }, create("table", { class: "cards jobs" },
    create("caption", { class: "hidden" }, "Jobs, newest first"),
    create("thead", {}, create("tr", {}, ["Job", "Status", "Stage", "Created", "Duration"].map((head) => create("th", { scope: "col" }, head)))),
    create("tbody", {}, jobs.map((job) => create("tr", { id: `row-${job.job_id}`, "data-job": job.job_id },
      create("th", { scope: "row" }, create("a", { href: `#/jobs/${job.job_id}`, id: `job-${job.job_id}` }, describeJob(job)),
        create("div", { class: "quiet" }, formatName(job.job_type)),
        job.error ? create("div", {}, job.error.message) : null),
      create("td", { class: "short" }, renderStatus(job.status)),
      create("td", { class: "short" }, job.finished_at ? "" : create("span", { "aria-label": `stage ${job.stage} of ${job.total_stages}` }, `${job.stage} of ${job.total_stages}`)),
      create("td", { class: "short quiet" }, renderAge(job.created_at)),
      create("td", { class: "short quiet" }, formatRunTime(job)))))));
}

function renderEmpty(search) {
  return create("div", { class: "card" }, [...search.keys()].length
    ? create("p", {}, "No jobs match. ", create("a", { href: "#/" }, "Show all jobs"))
    : create("p", {}, "No jobs yet. ", create("a", { href: "#/new" }, "Submit a raster")));
}

function renderPages(search, page) {
  const older = new URLSearchParams(search);
  older.set("after", page.next ?? "");
  const newest = new URLSearchParams(search);
  newest.delete("after");
  return create("nav", { class: "row", "aria-label": "Pages" },
    search.get("after") ? create("a", { id: "newest", class: "button", href: `#/?${newest}` }, "Newest") : null,
    page.next ? create("a", { id: "older", class: "button", href: `#/?${older}` }, "Older") : null);
}
