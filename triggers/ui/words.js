// Times, names and statuses as text.
import { h } from "./dom.js";

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export function state(status) {
  return h("span", { class: `state ${status}` }, status.replaceAll("_", " "));
}

export function about(job) {
  const parameters = job.parameters ?? {};
  return String(parameters.blob_name ?? parameters.message ?? title(job.job_type));
}

export function title(name) {
  return sentence(name.toLowerCase().replaceAll("_", " ")).replace(/\b(cog|crs|dem|id|jpeg|nir|rgb|rgba|stac|wmts)\b/gi, (word) => word.toUpperCase());
}

export function sentence(text) {
  return text && text[0].toUpperCase() + text.slice(1);
}

export function count(number, noun) {
  return `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
}

export function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(size, 1)) / 3));
  return `${(size / 1000 ** power).toLocaleString(undefined, { maximumSignificantDigits: 3 })} ${units[power]}`;
}

export function moment(iso) {
  return h("time", { datetime: iso, title: iso }, new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }));
}

export function when(iso) {
  const date = new Date(iso);
  const seconds = (Date.now() - date) / 1000;
  const units = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [7 * 86400, 86400, "d"]];
  const [, size, unit] = units.find(([limit]) => seconds < limit) ?? [];
  const past = size ? `${Math.floor(seconds / size)} ${unit} ago` : date.toLocaleDateString(undefined, { dateStyle: "medium" });
  const exact = date.toLocaleString(undefined, { year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
  return h("time", { datetime: iso, title: exact }, seconds < 5 ? "just now" : past);
}

export function span(seconds) {
  return duration(seconds).replaceAll(" ", "\u00a0");
}

function duration(seconds) {
  if (seconds < 0.95) return "less than 1 s";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

// An estimate, rounded to its accuracy.
export function left(seconds) {
  if (seconds < 10) return "a few seconds left";
  if (seconds < 90) return `about ${Math.round(seconds / 10) * 10} s left`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min left`;
  return `about ${Math.round(seconds / 3600)} h left`;
}

export function lasted(row) {
  if (!row.started_at) return "";
  return span((new Date(row.finished_at ?? Date.now()) - new Date(row.started_at)) / 1000);
}

// An error with its code as text.
export function failure({ code, message }) {
  return [h("strong", {}, title(code)), `: ${message}`];
}

export function sorry(error, again) {
  return h("div", { class: "problem", role: "alert" },
    h("p", {}, error.code ? failure(error) : error.message),
    again ? h("button", { type: "button", onclick: again }, "Try again") : null);
}
