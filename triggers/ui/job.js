// One job: its progress, error, outputs and history.
import { ask, pause } from "./api.js";
import { h, link, refresh, show } from "./dom.js";
import { about, bytes, count, failure, lasted, left, moment, sentence, sorry, state, title, when, ZONE } from "./words.js";

const FINAL = ["completed", "completed_with_errors", "failed", "cancelled"];
const TASKS = 100;

export async function jobView(place, id, search, signal) {
  const parts = Object.fromEntries(["head", "trouble", "work", "result", "validation", "tasks", "rest", "timeline"].map((name) => [name, h("div", {})]));
  const seen = { etag: "", known: search.has("known"), tasksShown: TASKS };
  seen.redraw = () => seen.job && refresh(parts.head, head(seen.job, seen));
  const clock = setInterval(seen.redraw, 1000);
  signal.addEventListener("abort", () => clearInterval(clock), { once: true });
  let first = true;
  while (!signal.aborted) {
    try {
      const job = await ask(`/jobs/status/${id}?include=stage_results&wait=${first ? 0 : 20}`, { signal, etag: seen.etag });
      if (first) show(place, parts.head, parts.trouble, parts.work, h("div", { class: "columns" }, parts.result, parts.validation, parts.rest), parts.tasks, parts.timeline);
      refresh(parts.trouble);
      if (!job.unchanged) {
        seen.etag = job.etag;
        await draw(parts, job, seen, signal);
      }
      if (first) place.querySelector("h1").focus({ preventScroll: true });
      first = false;
      if (FINAL.includes(seen.job.status)) await changed(seen, signal);
      else await pause(0.5, signal);
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401) throw error;
      refresh(first ? place : parts.trouble, sorry(error), first ? h("p", {}, h("a", { href: "#/" }, "All jobs")) : null);
      if (error.status === 404) return;
      seen.etag = "";
      await pause(3, signal);
    }
  }
}

// Waits until an action on this page may have changed a job that has ended.
async function changed(seen, signal) {
  await new Promise((resolve, reject) => {
    seen.wake = resolve;
    signal.addEventListener("abort", () => reject(new DOMException("left", "AbortError")), { once: true });
  });
}

async function draw(parts, job, seen, signal) {
  if (seen.job && seen.job.status !== job.status) document.getElementById("news").textContent = `The job is ${job.status.replaceAll("_", " ")}.`;
  seen.job = job;
  seen.types ??= (await ask("/job-types", { signal })).job_types;
  document.title = `${job.status.replaceAll("_", " ")}: ${about(job)} · Geolathe`;
  seen.redraw();
  refresh(parts.work, stages(job));
  refresh(parts.result, result(job));
  refresh(parts.validation, showValidation(job));
  refresh(parts.rest, parameters(job, seen.types));
  await history(parts, seen, signal);
}

function act(job, seen, verb, question) {
  return async () => {
    if (question && !confirm(question)) return;
    Object.assign(seen, { acting: true, refused: null, known: false });
    seen.redraw();
    try {
      await ask(`/jobs/${job.job_id}/${verb}`, { method: "POST" });
    } catch (error) {
      seen.refused = error;
    }
    seen.acting = false;
    seen.redraw();
    seen.etag = "";
    seen.wake?.();
  };
}

function head(job, seen) {
  const open = !FINAL.includes(job.status);
  const button = (verb, text, question) => h("button", { type: "button", id: verb, disabled: seen.acting, onclick: act(job, seen, verb, question) }, text);
  const again = job.error ? "Change parameters and submit" : job.status === "cancelled" ? "Submit again" : "Submit with other parameters";
  return [
    h("p", {}, h("a", { href: "#/" }, "← All jobs")),
    h("div", { class: "row spread" }, h("h1", { tabindex: -1 }, about(job)), h("span", { id: "state" }, state(job.status))),
    seen.known ? h("p", { id: "known", class: "problem mild" }, "An identical job was submitted before. This is that job.") : null,
    job.error ? h("div", { id: "error", class: "problem", role: "alert" }, h("p", {}, h("strong", {}, title(job.error.code)), " ", h("code", { class: "quiet" }, job.error.code)), h("p", {}, job.error.message)) : null,
    seen.refused ? h("div", { id: "refused" }, sorry(seen.refused)) : null,
    h("div", { id: "actions", class: "row" },
      open ? button("cancel", "Cancel", "Cancel this job and remove its outputs?") : null,
      ["failed", "completed_with_errors"].includes(job.status) ? button("retry", "Retry failed tasks") : null,
      job.result_data?.estimates ? h("a", { class: "button primary", id: "process", href: `#/new?type=process_raster&from=${job.job_id}` }, "Make the COGs") : null,
      h("a", { class: "button", id: "again", href: `#/new?from=${job.job_id}` }, again)),
    h("p", { id: "times", class: "quiet" }, `${title(job.job_type)} · submitted `, when(job.created_at), job.started_at ? ` · ${open ? "running for" : "took"} ${lasted(job)}` : "",
      job.run > 1 ? ` · run ${job.run}` : ""),
  ];
}

function stages(job) {
  const open = !FINAL.includes(job.status);
  return h("section", { class: "card", "aria-labelledby": "stages" },
    h("div", { class: "row spread" }, h("h2", { id: "stages" }, "Stages"), job.remaining_seconds === null ? null : h("span", { class: "quiet" }, left(job.remaining_seconds))),
    h("div", { class: "scroll" }, h("table", { class: "cards stages" },
      h("thead", {}, h("tr", {}, ["Stage", "Status", "Tasks", "Progress"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, job.stages.map((stage) => h("tr", {},
        h("th", { scope: "row" }, title(stage.name)),
        h("td", { class: "short" }, state(stage.status)),
        h("td", { class: "short" }, stage.status === "pending" ? "" : `${stage.completed_tasks.toLocaleString()} of ${stage.total_tasks.toLocaleString()}${stage.failed_tasks ? `, ${stage.failed_tasks.toLocaleString()} failed` : ""}`),
        h("td", { class: "wide" }, h("progress", { max: 1, value: share(stage), "aria-label": `progress of ${title(stage.name)}` }),
          open ? h("div", { class: "quiet" }, stage.message || "\u00a0") : null)))))));
}

// A failed or cancelled stage has ended without completing all of its tasks.
function share(stage) {
  return FINAL.includes(stage.status) && stage.total_tasks ? stage.completed_tasks / stage.total_tasks : stage.progress;
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

// The result of validation, in words.
function showValidation(job) {
  const stage = job.stages.find((each) => each.task_type === "validate_raster");
  const found = job.stage_results?.[stage?.stage]?.result;
  if (!found) return null;
  const { detected_type: detected, applied_type: applied, confidence, evidence, optimal_cog_settings: settings } = found.raster_type;
  const [height, width] = found.shape;
  const refused = Object.entries(found.tiers_not_applicable ?? {});
  const rows = [
    ["Type", `${title(detected)} (confidence: ${sentence(confidence.toLowerCase().replaceAll("_", " "))})${applied === detected ? "" : `; processed as ${title(applied)}`}`],
    ["Evidence", h("ul", {}, evidence.map((text) => h("li", {}, sentence(text))))],
    ["Pixels", `${width.toLocaleString()} × ${height.toLocaleString()}, ${count(found.band_count, "band")}, ${found.dtype}`],
    ["Source", `${found.driver}, ${bytes(found.source_size_bytes)}`],
    ["CRS", `${found.source_crs} (${found.crs_source === "user_override" ? "from input_crs" : "from the file"})`],
    ["Tiers", [h("div", {}, found.cog_tiers.map(title).join(", ")), refused.map(([tier, reason]) => h("div", { class: "quiet" }, `Not ${title(tier)}: ${reason}`))]],
    ["Settings", `${settings.compression}${settings.predictor ? `, predictor ${settings.predictor}` : ""}, ${settings.interleave} interleave; overviews: ${settings.overview_resampling}; reprojection: ${settings.reproject_resampling}`],
    ["Data type", found.bit_depth_check.efficient ? `${found.bit_depth_check.current_dtype} suits the values` : found.bit_depth_check.advice ?? `${found.bit_depth_check.current_dtype} is wider than the values need`],
    ["Warnings", found.warnings.length ? h("ul", {}, found.warnings.map(({ message }) => h("li", {}, sentence(message)))) : "None"],
  ];
  return h("section", { class: "card", "aria-labelledby": "validation" }, h("h2", { id: "validation" }, "Validation"),
    h("dl", {}, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

function facts(made) {
  if (made.estimates) return [
    ["Estimated COGs", made.estimates.map((cog) => h("div", {}, `${title(cog.tier)}: about ${bytes(cog.size_bytes)}, ${cog.compression}, ${cog.shape[1].toLocaleString()} × ${cog.shape[0].toLocaleString()} pixels, ${duration(cog.seconds)}`))],
  ];
  if (!made.cog) return Object.entries(made).filter(([, value]) => typeof value !== "object").map(([name, value]) => [title(name), String(value)]);
  return [
    ["Raster type", title(made.validation.raster_type)], ["CRS", `${made.validation.source_crs} → ${made.cog.target_crs}`],
    ["COG", (made.cogs ?? [made.cog]).map((cog) => h("div", {}, h("code", {}, `${cog.cog_container}/${cog.cog_blob}`), ` ${cog.size_mb} MB, ${cog.compression}`))],
    ["STAC item", `${made.stac.collection_id} / ${made.stac.item_id}`],
  ];
}

function duration(seconds) {
  return seconds < 1 ? "under a second" : `about ${Math.round(seconds).toLocaleString()} s`;
}

// The submitted parameters in the order of the form, then what the service added.
function parameters(job, types) {
  const asked = Object.keys(types.find((type) => type.job_type === job.job_type)?.parameters.properties ?? job.parameters);
  const added = Object.keys(job.parameters).filter((name) => !asked.includes(name));
  const hasValue = ([, value]) => value !== null && value !== undefined && JSON.stringify(value) !== "{}";
  const list = (rows) => h("dl", {}, rows.filter(hasValue).map(([name, value]) => [h("dt", {}, title(name)), h("dd", {}, plain(value))]));
  const row = (name) => [name, job.parameters[name]];
  return h("section", { class: "card", "aria-labelledby": "parameters" }, h("h2", { id: "parameters" }, "Parameters"), list(asked.map(row)),
    h("details", { id: "added" }, h("summary", {}, "Job id and values added at submission"), list([["job_id", job.job_id], ...added.map(row)])));
}

function plain(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

async function history(parts, seen, signal) {
  const { job } = seen;
  const [tasks, timeline] = await Promise.all([
    ask(`/jobs/${job.job_id}/tasks?limit=${seen.tasksShown}`, { signal }),
    ask(`/jobs/${job.job_id}/events?limit=200`, { signal }),
  ]);
  refresh(parts.tasks, taskTable(tasks, job, async () => {
    seen.tasksShown = Math.min(1000, seen.tasksShown + 300);
    await history(parts, seen, signal);
  }));
  refresh(parts.timeline, h("section", { class: "card", "aria-labelledby": "timeline" },
    h("div", { class: "row spread" }, h("h2", { id: "timeline" }, "Timeline"), h("span", { class: "quiet" }, `times in ${ZONE}`)),
    h("ol", { class: "timeline" }, timeline.events.map((event) => h("li", {}, h("span", { class: "quiet" }, moment(event.at)), h("span", {}, happened(event, job))))),
    timeline.next ? h("p", { class: "quiet" }, "Only the first 200 events are shown.") : null));
}

function happened({ kind, detail }, job) {
  const stage = kind.startsWith("stage_") && job.stages[detail.stage - 1];
  const text = stage ? `Stage ${detail.stage} (${title(stage.name)}) ${kind.replace("stage_", "").replaceAll("_", " ")}` : title(kind);
  const more = [detail.tasks === undefined ? "" : count(detail.tasks, "task"), detail.failed ? `${detail.failed.toLocaleString()} failed` : "", detail.code ? title(detail.code) : "", detail.run ? `run ${detail.run}` : ""].filter(Boolean);
  return more.length ? `${text}: ${more.join(", ")}` : text;
}

function taskTable(page, job, more) {
  const total = job.stages.reduce((sum, stage) => sum + stage.total_tasks, 0);
  const name = (task) => title(task.task_type) + (job.stages[task.stage - 1]?.total_tasks > 1 ? ` ${(task.task_index + 1).toLocaleString()}` : "");
  return h("section", { class: "card", "aria-labelledby": "tasks" },
    h("div", { class: "row spread" }, h("h2", { id: "tasks" }, "Tasks"), page.next ? h("span", { class: "quiet" }, `${page.tasks.length.toLocaleString()} of ${total.toLocaleString()}`) : null),
    page.tasks.length ? h("div", { class: "scroll" }, h("table", { class: "cards tasks" },
      h("thead", {}, h("tr", {}, ["Task", "Status", "Attempt", "Duration"].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, page.tasks.map((task) => h("tr", {},
        h("th", { scope: "row" }, name(task),
          task.status === "processing" && task.progress_message ? h("div", { class: "quiet" }, task.progress_message) : null,
          task.error ? h("div", {}, failure(task.error)) : null,
          task.attempts.map((attempt) => h("div", { class: "quiet" }, `Attempt ${attempt.attempt}: ${attempt.error.message}`))),
        h("td", { class: "short" }, state(task.status)),
        h("td", { class: "short" }, task.attempt || ""),
        h("td", { class: "short quiet" }, lasted(task))))))) : h("p", { class: "quiet" }, "No tasks yet."),
    page.next && page.tasks.length < 1000 ? h("button", { type: "button", id: "more", onclick: more }, "Show more") : null,
    page.next && page.tasks.length >= 1000 ? h("p", { class: "quiet" }, "Only the first 1,000 tasks are shown; the API returns all of them.") : null);
}
