// Times, names and statuses as text.
import { create } from "./dom.js";

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export function renderStatus(status) {
  return create("span", { class: `state ${status}` }, status.replaceAll("_", " "));
}

export function describeJob(job) {
  const parameters = job.parameters ?? {};
  return String(parameters.blob_name ?? parameters.message ?? formatName(job.job_type));
}

export function formatName(name) {
  return capitalize(name.toLowerCase().replaceAll("_", " ")).replace(/\b(cog|crs|dem|id|jpeg|nir|rgb|rgba|stac|wmts)\b/gi, (word) => word.toUpperCase());
}

export function capitalize(text) {
  return text && text[0].toUpperCase() + text.slice(1);
}

export function formatCount(number, noun) {
  return `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
}

export function formatBytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(size, 1)) / 3));
  return `${(size / 1000 ** power).toLocaleString(undefined, { maximumSignificantDigits: 3 })} ${units[power]}`;
}

export function renderTime(iso) {
  return create("time", { datetime: iso, title: iso }, new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }));
}

export function renderAge(iso) {
  const date = new Date(iso);
  const seconds = (Date.now() - date) / 1000;
  const units = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [7 * 86400, 86400, "d"]];
  const [, size, unit] = units.find(([limit]) => seconds < limit) ?? [];
  const age = size ? `${Math.floor(seconds / size)} ${unit} ago` : date.toLocaleDateString(undefined, { dateStyle: "medium" });
  const exact = date.toLocaleString(undefined, { year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
  return create("time", { datetime: iso, title: exact }, seconds < 5 ? "just now" : age);
}

export function formatDuration(seconds) {
  return formatSeconds(seconds).replaceAll(" ", "\u00a0");
}

function formatSeconds(seconds) {
  if (seconds < 0.95) return "less than 1 s";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

// An estimate, rounded to its accuracy.
export function formatTimeLeft(seconds) {
  if (seconds < 10) return "a few seconds left";
  if (seconds < 90) return `about ${Math.round(seconds / 10) * 10} s left`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min left`;
  return `about ${Math.round(seconds / 3600)} h left`;
}

export function formatRunTime(row) {
  if (!row.started_at) return "";
  return formatDuration((new Date(row.finished_at ?? Date.now()) - new Date(row.started_at)) / 1000);
}

// An error with its code as text.
export function renderFailure({ code, message }) {
  return [create("strong", {}, formatName(code)), `: ${message}`];
}

export function renderError(error, retry) {
  return create("div", { class: "problem", role: "alert" },
    create("p", {}, error.code ? renderFailure(error) : error.message),
    retry ? create("button", { type: "button", onclick: retry }, "Try again") : null);
}
