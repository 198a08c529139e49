// The list of jobs: filtered, paged and updated continuously.
import { ask, pause } from "./api.js";
import { h, refresh, show } from "./dom.js";
import { about, lasted, sorry, state, title, when } from "./words.js";

const STATES = ["queued,processing", "completed", "completed_with_errors", "failed", "cancelled"];
const PAGE = 25;

export async function listView(place, search, signal) {
  document.title = "Jobs · Geolathe";
  const [trouble, table] = [h("div", {}), h("div", {})];
  const { job_types: types } = await ask("/job-types", { signal });
  show(place,
    h("div", { class: "row spread" }, h("h1", {}, "Jobs"), h("a", { class: "button primary", href: "#/new" }, "New job")),
    filters(search, types), trouble, table);
  while (!signal.aborted) {
    const query = new URLSearchParams({ limit: PAGE });
    for (const name of ["status", "job_type", "after"]) if (search.get(name)) query.set(name, search.get(name));
    let open = false;
    try {
      const page = await ask(`/jobs?${query}`, { signal });
      open = page.jobs.some((job) => !job.finished_at);
      refresh(trouble);
      refresh(table, page.jobs.length ? rows(page.jobs) : empty(search), pages(search, page));
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401) throw error;
      refresh(trouble, sorry(error));
    }
    await pause(open ? 1 : 4, signal);
    while (document.hidden) await pause(1, signal);
  }
}

function filters(search, types) {
  const go = (name) => (event) => {
    const next = new URLSearchParams(search);
    next.delete("after");
    if (event.target.value) next.set(name, event.target.value);
    else next.delete(name);
    location.hash = `#/?${next}`;
  };
  const choice = (id, name, text, options) => h("div", { class: "field" }, h("label", { for: id }, text),
    h("select", { id, onchange: go(name) }, h("option", { value: "" }, "All"),
      options.map((value) => h("option", { value, selected: search.get(name) === value }, value === STATES[0] ? "Open" : title(value)))));
  return h("div", { class: "row card" }, choice("status", "status", "Status", STATES), choice("type", "job_type", "Type", types.map((type) => type.job_type)));
}

function rows(jobs) {
  return h("div", { class: "card scroll" }, h("table", { class: "cards jobs" },
    h("caption", { class: "hidden" }, "Jobs, newest first"),
    h("thead", {}, h("tr", {}, ["Job", "Status", "Stage", "Created", "Duration"].map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, jobs.map((job) => h("tr", { id: `row-${job.job_id}`, "data-job": job.job_id },
      h("th", { scope: "row" }, h("a", { href: `#/jobs/${job.job_id}`, id: `job-${job.job_id}` }, about(job)),
        h("div", { class: "quiet" }, title(job.job_type)),
        job.error ? h("div", {}, job.error.message) : null),
      h("td", { class: "short" }, state(job.status)),
      h("td", { class: "short" }, job.finished_at ? "" : h("span", { "aria-label": `stage ${job.stage} of ${job.total_stages}` }, `${job.stage} of ${job.total_stages}`)),
      h("td", { class: "short quiet" }, when(job.created_at)),
      h("td", { class: "short quiet" }, lasted(job)))))));
}

function empty(search) {
  return h("div", { class: "card" }, [...search.keys()].length
    ? h("p", {}, "No jobs match. ", h("a", { href: "#/" }, "Show all jobs"))
    : h("p", {}, "No jobs yet. ", h("a", { href: "#/new" }, "Submit a raster")));
}

function pages(search, page) {
  const older = new URLSearchParams(search);
  older.set("after", page.next ?? "");
  const newest = new URLSearchParams(search);
  newest.delete("after");
  return h("nav", { class: "row", "aria-label": "Pages" },
    search.get("after") ? h("a", { id: "newest", class: "button", href: `#/?${newest}` }, "Newest") : null,
    page.next ? h("a", { id: "older", class: "button", href: `#/?${older}` }, "Older") : null);
}
