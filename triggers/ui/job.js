// One job: its progress, error, outputs and history.
import { request, sleep } from "./api.js";
import { create, createLink, refresh, show } from "./dom.js";
import { capitalize, describeJob, formatBytes, formatCount, formatName, formatRunTime, formatTimeLeft, renderAge, renderError, renderFailure, renderStatus, renderTime, ZONE } from "./format.js";

const FINAL = ["completed", "completed_with_errors", "failed", "cancelled"];
const TASKS = 100;

export async function showJob(container, id, search, signal) {
  const parts = Object.fromEntries(["head", "trouble", "work", "failures", "result", "validation", "tasks", "rest", "timeline"].map((name) => [name, create("div", {})]));
  const view = { etag: "", known: search.has("known"), tasksShown: TASKS };
  view.redraw = () => view.job && refresh(parts.head, renderHeader(view.job, view));
  const clock = setInterval(view.redraw, 1000);
  signal.addEventListener("abort", () => clearInterval(clock), { once: true });
  let first = true;
  while (!signal.aborted) {
    try {
      const job = await request(`/jobs/status/${id}?include=stage_results&wait=${first ? 0 : 20}`, { signal, etag: view.etag });
      if (first) show(container, parts.head, parts.trouble, parts.work, parts.failures, create("div", { class: "columns" }, parts.result, parts.validation, parts.rest), parts.tasks, parts.timeline);
      refresh(parts.trouble);
      if (!job.unchanged) {
        view.etag = job.etag;
        await renderJob(parts, job, view, signal);
      }
      if (first) container.querySelector("h1").focus({ preventScroll: true });
      first = false;
      if (FINAL.includes(view.job.status)) await waitForAction(view, signal);
      else await sleep(0.5, signal);
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401) throw error;
      refresh(first ? container : parts.trouble, renderError(error), first ? create("p", {}, create("a", { href: "#/" }, "All jobs")) : null);
      if (error.status === 404) return;
      view.etag = "";
      await sleep(3, signal);
    }
  }
}

// Waits until an action on this page may have changed a job that has ended.
async function waitForAction(view, signal) {
  await new Promise((resolve, reject) => {
    view.wake = resolve;
    signal.addEventListener("abort", () => reject(new DOMException("left", "AbortError")), { once: true });
  });
}

async function renderJob(parts, job, view, signal) {
  if (view.job && view.job.status !== job.status) document.getElementById("news").textContent = `The job is ${job.status.replaceAll("_", " ")}.`;
  view.job = job;
  view.types ??= (await request("/job-types", { signal })).job_types;
  document.title = `${job.status.replaceAll("_", " ")}: ${describeJob(job)} · Geolathe`;
  view.redraw();
  refresh(parts.work, renderStages(job));
  refresh(parts.result, renderResult(job));
  refresh(parts.validation, renderValidation(job));
  refresh(parts.rest, renderParameters(job, view.types));
  await refreshHistory(parts, view, signal);
}

function createAction(job, view, verb, question) {
  return async () => {
    if (question && !confirm(question)) return;
    Object.assign(view, { acting: true, refused: null, known: false });
    view.redraw();
    try {
      await request(`/jobs/${job.job_id}/${verb}`, { method: "POST" });
    } catch (error) {
      view.refused = error;
    }
    view.acting = false;
    view.redraw();
    view.etag = "";
    view.wake?.();
  };
}

function renderHeader(job, view) {
  const open = !FINAL.includes(job.status);
  const button = (verb, text, question) => create("button", { type: "button", id: verb, disabled: view.acting, onclick: createAction(job, view, verb, question) }, text);
  const label = job.error ? "Change parameters and submit" : job.status === "cancelled" ? "Submit again" : "Submit with other parameters";
  return [
    create("p", {}, create("a", { href: "#/" }, "← All jobs")),
    create("div", { class: "row spread" }, create("h1", { tabindex: -1 }, describeJob(job)), create("span", { id: "state" }, renderStatus(job.status))),
    view.known ? create("p", { id: "known", class: "problem mild" }, "An identical job was submitted before. This is that job.") : null,
    job.error ? create("div", { id: "error", class: "problem", role: "alert" }, create("p", {}, create("strong", {}, formatName(job.error.code)), " ", create("code", { class: "quiet" }, job.error.code)), create("p", {}, job.error.message)) : null,
    view.refused ? create("div", { id: "refused" }, renderError(view.refused)) : null,
    create("div", { id: "actions", class: "row" },
      open ? button("cancel", "Cancel", "Cancel this job and remove its outputs?") : null,
      ["failed", "completed_with_errors"].includes(job.status) ? button("retry", "Retry failed tasks") : null,
      job.result_data?.dry_run ? create("a", { class: "button primary", id: "process", href: `#/new?from=${job.job_id}&dry_run=false` }, "Process these rasters") : null,
      job.result_data?.estimates ? create("a", { class: "button primary", id: "process", href: `#/new?type=process_raster&from=${job.job_id}` }, "Make the COGs") : null,
      create("a", { class: "button", id: "again", href: `#/new?from=${job.job_id}` }, label)),
    create("p", { id: "times", class: "quiet" }, `${formatName(job.job_type)} · submitted `, renderAge(job.created_at), job.started_at ? ` · ${open ? "running for" : "took"} ${formatRunTime(job)}` : "",
      job.run > 1 ? ` · run ${job.run}` : ""),
  ];
}

function renderStages(job) {
  const open = !FINAL.includes(job.status);
  return create("section", { class: "card", "aria-labelledby": "stages" },
    create("progress", { id: "progress", max: 1, value: job.progress, "aria-label": "progress of the job" }),
    create("div", { class: "row spread" }, create("h2", { id: "stages" }, "Stages"), job.remaining_seconds === null ? null : create("span", { class: "quiet" }, formatTimeLeft(job.remaining_seconds))),
    create("div", { class: "scroll" }, create("table", { class: "cards stages" },
      create("thead", {}, create("tr", {}, ["Stage", "Status", "Tasks", "Progress"].map((name) => create("th", { scope: "col" }, name)))),
      create("tbody", {}, job.stages.map((stage) => create("tr", {},
        create("th", { scope: "row" }, formatName(stage.name)),
        create("td", { class: "short" }, renderStatus(stage.status)),
        create("td", { class: "short" }, stage.status === "pending" ? "" : `${stage.completed_tasks.toLocaleString()} of ${stage.total_tasks.toLocaleString()}${stage.failed_tasks ? `, ${stage.failed_tasks.toLocaleString()} failed` : ""}`),
        create("td", { class: "wide" }, create("progress", { max: 1, value: computeProgress(stage), "aria-label": `progress of ${formatName(stage.name)}` }),
          open ? create("div", { class: "quiet" }, stage.message || "\u00a0") : null)))))));
}

// The failed tasks of stages with many, which the list of tasks would hide among the others.
function renderFailures(page, job) {
  const failed = job.stages.reduce((sum, stage) => sum + stage.failed_tasks, 0);
  if (!page?.tasks.length) return null;
  return create("section", { class: "card", "aria-labelledby": "failures" },
    create("div", { class: "row spread" }, create("h2", { id: "failures" }, "Failures"), create("span", { class: "quiet" }, page.next ? `${page.tasks.length.toLocaleString()} of ${failed.toLocaleString()}` : formatCount(failed, "task"))),
    create("ul", {}, page.tasks.map((task) => create("li", {}, renderFailure(task.error), create("span", { class: "quiet" }, ` (${formatName(job.stages[task.stage - 1]?.name ?? task.task_type)} ${(task.task_index + 1).toLocaleString()})`)))),
    page.next ? create("p", { class: "quiet" }, "The API returns all of them: ", create("code", {}, `/api/jobs/${job.job_id}/tasks?status=failed`)) : null);
}

// A failed or cancelled stage has ended without completing all of its tasks.
function computeProgress(stage) {
  return FINAL.includes(stage.status) && stage.total_tasks ? stage.completed_tasks / stage.total_tasks : stage.progress;
}

function renderResult(job) {
  const data = job.result_data;
  if (!data) return null;
  const urls = data.titiler_urls ?? {};
  const found = [data.validation, ...data.cogs ?? []].flatMap((each) => each?.warnings ?? []);
  const warnings = [...new Set(found.map((warning) => warning.message))];
  return create("section", { class: "card", "aria-labelledby": "result" }, create("h2", { id: "result" }, "Result"),
    urls.preview_url && data.share_url ? create("a", { href: data.share_url, rel: "noreferrer" }, create("img", { class: "picture", src: urls.preview_url, alt: `Preview of ${describeJob(job)}; opens the map` })) : null,
    data.share_url ? create("p", {}, create("a", { class: "button primary", id: "map", href: data.share_url, rel: "noreferrer" }, "Open the map")) : null,
    warnings.length ? create("div", { class: "problem mild" }, create("ul", {}, warnings.map((message) => create("li", {}, message)))) : null,
    create("dl", {}, listFacts(data).map(([name, value]) => [create("dt", {}, name), create("dd", {}, value)])),
    Object.keys(urls).length ? create("details", {}, create("summary", {}, "All links"), create("ul", {}, Object.entries(urls).map(([name, url]) => create("li", {}, createLink(url, formatName(name.replace(/_url.*/, ""))), url.includes("{") ? create("div", {}, create("code", {}, url)) : null)))) : null,
    create("details", {}, create("summary", {}, "As JSON"), create("pre", { tabindex: 0 }, JSON.stringify(data, null, 2))));
}

// The result of validation, in words.
function renderValidation(job) {
  const stage = job.stages.find((each) => each.task_type === "validate_raster");
  const found = job.stage_results?.[stage?.stage]?.result;
  if (!found) return null;
  const { detected_type: detected, applied_type: applied, confidence, evidence, optimal_cog_settings: settings } = found.raster_type;
  const [height, width] = found.shape;
  const refused = Object.entries(found.tiers_not_applicable ?? {});
  const rows = [
    ["Type", `${formatName(detected)} (confidence: ${capitalize(confidence.toLowerCase().replaceAll("_", " "))})${applied === detected ? "" : `; processed as ${formatName(applied)}`}`],
    ["Evidence", create("ul", {}, evidence.map((text) => create("li", {}, capitalize(text))))],
    ["Pixels", `${width.toLocaleString()} × ${height.toLocaleString()}, ${formatCount(found.band_count, "band")}, ${found.dtype}`],
    ["Source", `${found.driver}, ${formatBytes(found.source_size_bytes)}`],
    ["CRS", `${found.source_crs} (${found.crs_source === "user_override" ? "from input_crs" : "from the file"})`],
    ["Tiers", [create("div", {}, found.cog_tiers.map(formatName).join(", ")), refused.map(([tier, reason]) => create("div", { class: "quiet" }, `Not ${formatName(tier)}: ${reason}`))]],
    ["Settings", `${settings.compression}${settings.predictor ? `, predictor ${settings.predictor}` : ""}, ${settings.interleave} interleave; overviews: ${settings.overview_resampling}; reprojection: ${settings.reproject_resampling}`],
    ["Data type", found.bit_depth_check.efficient ? `${found.bit_depth_check.current_dtype} suits the values` : found.bit_depth_check.advice ?? `${found.bit_depth_check.current_dtype} is wider than the values need`],
    ["Warnings", found.warnings.length ? create("ul", {}, found.warnings.map(({ message }) => create("li", {}, capitalize(message)))) : "None"],
  ];
  return create("section", { class: "card", "aria-labelledby": "validation" }, create("h2", { id: "validation" }, "Validation"),
    create("dl", {}, rows.map(([name, value]) => [create("dt", {}, name), create("dd", {}, value)])));
}

function listFacts(data) {
  if (data.estimates) return [
    ["Estimated COGs", data.estimates.map((cog) => create("div", {}, `${formatName(cog.tier)}: about ${formatBytes(cog.size_bytes)}, ${cog.compression}, ${cog.shape[1].toLocaleString()} × ${cog.shape[0].toLocaleString()} pixels, ${formatEstimate(cog.seconds)}`))],
  ];
  if (data.members) return listMembers(data);
  if (!data.cog) return Object.entries(data).filter(([, value]) => typeof value !== "object").map(([name, value]) => [formatName(name), String(value)]);
  return [
    ["Raster type", formatName(data.validation.raster_type)], ["CRS", `${data.validation.source_crs} → ${data.cog.target_crs}`],
    ["COG", (data.cogs ?? [data.cog]).map((cog) => create("div", {}, create("code", {}, `${cog.cog_container}/${cog.cog_blob}`), ` ${cog.size_mb} MB, ${cog.compression}`))],
    ["STAC item", `${data.stac.collection_id} / ${data.stac.item_id}`],
  ];
}

// What became of the rasters of a collection, and what was left out.
function listMembers({ members, skipped, groups, collections, dry_run: isDryRun }) {
  const counts = Object.entries(members).filter(([, count]) => count).map(([name, count]) => `${count.toLocaleString()} ${name}`);
  const structure = ({ band_count: bands, dtype, has_palette: hasPalette }) => `${formatCount(bands, "band")}, ${dtype}${hasPalette ? ", palette" : ""}`;
  return [
    ["Rasters", counts.join(", ") || "None"],
    ["Kinds", groups.map((group) => create("div", {}, `${group.count.toLocaleString()} with ${structure(group.structure)}`))],
    ["Skipped", Object.entries(skipped).map(([reason, found]) => create("div", {}, `${found.count.toLocaleString()} ${reason.replaceAll("_", " ")}: `, create("span", { class: "quiet" }, found.examples.join(", ") + (found.count > found.examples.length ? " …" : ""))))],
    [`STAC collection${collections.length > 1 ? "s" : ""}`, collections.map((each) => create("div", {}, each.share_url ? createLink(each.share_url, each.collection_id) : each.collection_id,
      isDryRun ? " (nothing was written)" : ` ${each.published.toLocaleString()} of ${formatCount(each.found, "raster")}`))],
  ];
}

function formatEstimate(seconds) {
  return seconds < 1 ? "under a second" : `about ${Math.round(seconds).toLocaleString()} s`;
}

// The submitted parameters in the order of the form, then what the service added.
function renderParameters(job, types) {
  const asked = Object.keys(types.find((type) => type.job_type === job.job_type)?.parameters.properties ?? job.parameters);
  const added = Object.keys(job.parameters).filter((name) => !asked.includes(name));
  const hasValue = ([, value]) => value !== null && value !== undefined && JSON.stringify(value) !== "{}";
  const list = (rows) => create("dl", {}, rows.filter(hasValue).map(([name, value]) => [create("dt", {}, formatName(name)), create("dd", {}, formatValue(value))]));
  const row = (name) => [name, job.parameters[name]];
  return create("section", { class: "card", "aria-labelledby": "parameters" }, create("h2", { id: "parameters" }, "Parameters"), list(asked.map(row)),
    create("details", { id: "added" }, create("summary", {}, "Job id and values added at submission"), list([["job_id", job.job_id], ...added.map(row)])));
}

function formatValue(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

async function refreshHistory(parts, view, signal) {
  const { job } = view;
  const hasFailures = job.stages.some((stage) => stage.failed_tasks && stage.total_tasks > 1);
  const [tasks, timeline, failed] = await Promise.all([
    request(`/jobs/${job.job_id}/tasks?limit=${view.tasksShown}`, { signal }),
    request(`/jobs/${job.job_id}/events?limit=200`, { signal }),
    hasFailures ? request(`/jobs/${job.job_id}/tasks?status=failed&limit=${TASKS}`, { signal }) : null,
  ]);
  refresh(parts.failures, renderFailures(failed, job));
  refresh(parts.tasks, renderTasks(tasks, job, async () => {
    view.tasksShown = Math.min(1000, view.tasksShown + 300);
    await refreshHistory(parts, view, signal);
  }));
  refresh(parts.timeline, create("section", { class: "card", "aria-labelledby": "timeline" },
    create("div", { class: "row spread" }, create("h2", { id: "timeline" }, "Timeline"), create("span", { class: "quiet" }, `times in ${ZONE}`)),
    create("ol", { class: "timeline" }, timeline.events.map((event) => create("li", {}, create("span", { class: "quiet" }, renderTime(event.at)), create("span", {}, describeEvent(event, job))))),
    timeline.next ? create("p", { class: "quiet" }, "Only the first 200 events are shown.") : null));
}

function describeEvent({ kind, detail }, job) {
  const stage = kind.startsWith("stage_") && job.stages[detail.stage - 1];
  const text = stage ? `Stage ${detail.stage} (${formatName(stage.name)}) ${kind.replace("stage_", "").replaceAll("_", " ")}` : formatName(kind);
  const more = [detail.tasks === undefined ? "" : formatCount(detail.tasks, "task"), detail.failed ? `${detail.failed.toLocaleString()} failed` : "", detail.code ? formatName(detail.code) : "", detail.run ? `run ${detail.run}` : ""].filter(Boolean);
  return more.length ? `${text}: ${more.join(", ")}` : text;
}

function renderTasks(page, job, more) {
  const total = job.stages.reduce((sum, stage) => sum + stage.total_tasks, 0);
  const name = (task) => formatName(task.task_type) + (job.stages[task.stage - 1]?.total_tasks > 1 ? ` ${(task.task_index + 1).toLocaleString()}` : "");
  return create("section", { class: "card", "aria-labelledby": "tasks" },
    create("div", { class: "row spread" }, create("h2", { id: "tasks" }, "Tasks"), page.next ? create("span", { class: "quiet" }, `${page.tasks.length.toLocaleString()} of ${total.toLocaleString()}`) : null),
    page.tasks.length ? create("div", { class: "scroll" }, create("table", { class: "cards tasks" },
      create("thead", {}, create("tr", {}, ["Task", "Status", "Attempt", "Duration"].map((text) => create("th", { scope: "col" }, text)))),
      create("tbody", {}, page.tasks.map((task) => create("tr", {},
        create("th", { scope: "row" }, name(task),
          task.status === "processing" && task.progress_message ? create("div", { class: "quiet" }, task.progress_message) : null,
          task.error ? create("div", {}, renderFailure(task.error)) : null,
          task.attempts.map((attempt) => create("div", { class: "quiet" }, `Attempt ${attempt.attempt}: ${attempt.error.message}`))),
        create("td", { class: "short" }, renderStatus(task.status)),
        create("td", { class: "short" }, task.attempt || ""),
        create("td", { class: "short quiet" }, formatRunTime(task))))))) : create("p", { class: "quiet" }, "No tasks yet."),
    page.next && page.tasks.length < 1000 ? create("button", { type: "button", id: "more", onclick: more }, "Show more") : null,
    page.next && page.tasks.length >= 1000 ? create("p", { class: "quiet" }, "Only the first 1,000 tasks are shown; the API returns all of them.") : null);
}
