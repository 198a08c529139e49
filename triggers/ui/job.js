// One job: how far it is, why it failed, what it made.
import { ask, pause } from "./api.js";
import { h, link, show } from "./dom.js";
import { about, lasted, sorry, span, state, title, when } from "./words.js";

const FINAL = ["completed", "completed_with_errors", "failed", "cancelled"];
const TASKS = 100;

export async function jobView(place, id, signal) {
  const parts = { head: h("div", {}), work: h("div", {}), result: h("div", {}), tasks: h("div", {}), rest: h("div", {}), timeline: h("div", {}) };
  const seen = { etag: "", result: "", tasksShown: TASKS };
  let first = true;
  while (!signal.aborted) {
    try {
      const job = await ask(`/jobs/status/${id}?wait=${first ? 0 : 20}`, { signal, etag: seen.etag });
      if (first) show(place, parts.head, parts.work, h("div", { class: "columns" }, parts.result, parts.rest), parts.tasks, parts.timeline);
      if (!job.unchanged) {
        seen.etag = job.etag;
        await draw(parts, job, seen, signal);
      }
      if (first) place.querySelector("h1").focus({ preventScroll: true });
      first = false;
      if (FINAL.includes(seen.status)) await changed(seen, signal);
      else await pause(0.5, signal);
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401) throw error;
      show(first ? place : parts.work, sorry(error), h("p", {}, h("a", { href: "#/" }, "All jobs")));
      if (error.status === 404) return;
      seen.etag = "";
      await pause(3, signal);
    }
  }
}

// An ended job is looked at again when this page did something to it.
async function changed(seen, signal) {
  await new Promise((resolve, reject) => {
    seen.wake = resolve;
    signal.addEventListener("abort", () => reject(new DOMException("left", "AbortError")), { once: true });
  });
}

async function draw(parts, job, seen, signal) {
  if (seen.status && seen.status !== job.status) document.getElementById("news").textContent = `The job is ${job.status.replaceAll("_", " ")}.`;
  seen.status = job.status;
  document.title = `${job.status.replaceAll("_", " ")}: ${about(job)} · Geolathe`;
  show(parts.head, head(job, seen));
  show(parts.work, stages(job));
  const made = JSON.stringify(job.result_data ?? null);
  if (made !== seen.result) show(parts.result, result(job));
  seen.result = made;
  show(parts.rest, parameters(job));
  await history(parts, job, seen, signal);
}

function head(job, seen) {
  const act = (verb, question) => async (event) => {
    if (question && !confirm(question)) return;
    event.target.disabled = true;
    try {
      await ask(`/jobs/${job.job_id}/${verb}`, { method: "POST" });
    } catch (error) {
      document.getElementById("acted").replaceChildren(sorry(error));
    }
    event.target.disabled = false;
    seen.etag = "";
    seen.wake?.();
  };
  const open = !FINAL.includes(job.status);
  return [
    h("p", {}, h("a", { href: "#/" }, "← All jobs")),
    h("div", { class: "row spread" }, h("h1", { tabindex: -1 }, about(job)), h("span", { id: "state" }, state(job.status))),
    h("div", { id: "acted" }),
    job.error ? h("div", { class: "problem", role: "alert" }, h("p", {}, h("strong", {}, title(job.error.code.toLowerCase())), " ", h("code", { class: "quiet" }, job.error.code)), h("p", {}, job.error.message)) : null,
    h("div", { class: "row" },
      open ? h("button", { type: "button", id: "cancel", onclick: act("cancel", "Stop this job and remove what it made?") }, "Cancel") : null,
      ["failed", "completed_with_errors"].includes(job.status) ? h("button", { type: "button", id: "retry", onclick: act("retry") }, "Retry what failed") : null,
      h("a", { class: "button", id: "again", href: `#/new?from=${job.job_id}` }, job.error ? "Change parameters and submit" : "Submit with other parameters")),
    h("p", { class: "quiet" }, `${job.job_type} · submitted `, when(job.created_at), job.started_at ? ` · ${open ? "running for" : "took"} ${lasted(job)}` : "",
      job.run > 1 ? ` · run ${job.run}` : "", " · ", h("code", {}, job.job_id)),
  ];
}

function stages(job) {
  const left = job.remaining_seconds;
  return h("section", { class: "card", "aria-labelledby": "stages" },
    h("div", { class: "row spread" }, h("h2", { id: "stages" }, "Stages"), left === null ? null : h("span", { class: "quiet" }, `about ${span(left)} left`)),
    h("div", { class: "scroll" }, h("table", { class: "cards" },
      h("thead", {}, h("tr", {}, ["Stage", "State", "Tasks", "Progress"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, job.stages.map((stage) => h("tr", {},
        h("th", { scope: "row" }, title(stage.name)),
        h("td", { class: "short" }, state(stage.status)),
        h("td", { class: "short" }, stage.status === "pending" ? "" : `${stage.completed_tasks} of ${stage.total_tasks}${stage.failed_tasks ? `, ${stage.failed_tasks} failed` : ""}`),
        h("td", { class: "wide" }, h("progress", { max: 1, value: stage.progress, "aria-label": `progress of ${title(stage.name)}` }),
          stage.message ? h("div", { class: "quiet" }, stage.message) : null)))))));
}

function result(job) {
  const made = job.result_data;
  if (!made) return null;
  const urls = made.titiler_urls ?? {};
  const warnings = made.validation?.warnings ?? [];
  return h("section", { class: "card", "aria-labelledby": "result" }, h("h2", { id: "result" }, "Result"),
    urls.preview_url && made.share_url ? h("a", { href: made.share_url, rel: "noreferrer" }, h("img", { class: "picture", src: urls.preview_url, alt: `Preview of ${about(job)}; opens the map` })) : null,
    made.share_url ? h("p", {}, h("a", { class: "button primary", id: "map", href: made.share_url, rel: "noreferrer" }, "Open the map")) : null,
    warnings.length ? h("div", { class: "problem mild" }, h("ul", {}, warnings.map((warning) => h("li", {}, warning.message)))) : null,
    h("dl", {}, facts(made).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    Object.keys(urls).length ? h("details", {}, h("summary", {}, "All links"), h("ul", {}, Object.entries(urls).map(([name, url]) => h("li", {}, link(url, title(name.replace(/_url.*/, ""))), url.includes("{") ? h("div", {}, h("code", {}, url)) : null)))) : null,
    h("details", {}, h("summary", {}, "As JSON"), h("pre", { tabindex: 0 }, JSON.stringify(made, null, 2))));
}

function facts(made) {
  if (!made.cog) return Object.entries(made).filter(([, value]) => typeof value !== "object").map(([name, value]) => [title(name), String(value)]);
  return [
    ["Kind", made.validation.raster_type], ["CRS", `${made.validation.source_crs} → ${made.cog.target_crs}`],
    ["COG", (made.cogs ?? [made.cog]).map((cog) => h("div", {}, h("code", {}, `${cog.cog_container}/${cog.cog_blob}`), ` ${cog.size_mb} MB, ${cog.compression}`))],
    ["STAC item", `${made.stac.collection_id} / ${made.stac.item_id}`],
  ];
}

function parameters(job) {
  const rows = Object.entries(job.parameters).filter(([, value]) => value !== null && value !== "" && JSON.stringify(value) !== "{}");
  return h("section", { class: "card", "aria-labelledby": "parameters" }, h("h2", { id: "parameters" }, "Parameters"),
    h("dl", {}, rows.map(([name, value]) => [h("dt", {}, title(name)), h("dd", {}, typeof value === "object" ? JSON.stringify(value) : String(value))])));
}

async function history(parts, job, seen, signal) {
  const [tasks, timeline] = await Promise.all([
    ask(`/jobs/${job.job_id}/tasks?limit=${seen.tasksShown}`, { signal }),
    ask(`/jobs/${job.job_id}/events?limit=200`, { signal }),
  ]);
  show(parts.tasks, taskTable(tasks, async () => {
    seen.tasksShown = Math.min(1000, seen.tasksShown + 300);
    await history(parts, job, seen, signal);
  }));
  const opened = parts.timeline.querySelector("details")?.open;
  show(parts.timeline, h("section", { class: "card" }, h("details", { open: opened ?? true }, h("summary", {}, h("h2", {}, "Timeline")),
    h("ol", { class: "timeline" }, timeline.events.map((event) => h("li", {}, h("time", { class: "quiet", datetime: event.at, title: event.at }, new Date(event.at).toLocaleTimeString()), h("span", {}, happened(event))))),
    timeline.next ? h("p", { class: "quiet" }, "The first 200 are shown.") : null)));
}

function happened(event) {
  const detail = event.detail ?? {};
  const more = [detail.stage ? `stage ${detail.stage}` : "", detail.tasks !== undefined ? `${detail.tasks} tasks` : "", detail.code ?? detail.error?.code ?? "", detail.run ? `run ${detail.run}` : ""].filter(Boolean);
  return title(event.kind) + (more.length ? ` (${more.join(", ")})` : "");
}

function taskTable(page, more) {
  return h("section", { class: "card", "aria-labelledby": "tasks" }, h("h2", { id: "tasks" }, "Tasks"),
    page.tasks.length ? h("div", { class: "scroll" }, h("table", { class: "cards" },
      h("thead", {}, h("tr", {}, ["Task", "State", "Attempt", "Took"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, page.tasks.map((task) => h("tr", {},
        h("th", { scope: "row" }, `${title(task.task_type)} ${task.task_index + 1}`,
          task.error ? h("div", {}, `${task.error.code}: ${task.error.message}`) : null,
          task.attempts.map((attempt) => h("div", { class: "quiet" }, `Attempt ${attempt.attempt}: ${attempt.error.message}`))),
        h("td", { class: "short" }, state(task.status)),
        h("td", { class: "short" }, task.attempt || ""),
        h("td", { class: "short quiet" }, lasted(task))))))) : h("p", { class: "quiet" }, "None yet."),
    page.next && page.tasks.length < 1000 ? h("button", { type: "button", id: "more", onclick: more }, "Show more") : null,
    page.next && page.tasks.length >= 1000 ? h("p", { class: "quiet" }, "The first 1000 are shown; the API has them all.") : null);
}
