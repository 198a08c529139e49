// A form generated from a job type's JSON Schema, with upload by drag and drop.
import { ask, upload } from "./api.js";
import { h, show } from "./dom.js";
import { bytes, sentence, sorry, title } from "./words.js";

const RASTER = /\.(tiff?|gtiff|jp2|j2k|png|img|nc)$/i;

export async function formView(place, search, signal) {
  document.title = "New job · Geolathe";
  const { job_types: types } = await ask("/job-types", { signal });
  const before = search.get("from") ? await ask(`/jobs/status/${search.get("from")}`, { signal }) : null;
  const wanted = search.get("type") ?? before?.job_type ?? "process_raster";
  const type = types.find((each) => each.job_type === wanted) ?? types[0];
  // A raster that was checked is processed with the same parameters, and the other way round.
  const related = [type.job_type, before?.job_type].every((name) => ["process_raster", "validate_raster"].includes(name));
  const values = before && (before.job_type === type.job_type || related) ? before.parameters : {};
  const fields = readSchema(type, values);
  const problems = h("div", {});
  const button = h("button", { class: "primary", id: "submit" }, "Submit");
  const dryRun = type.job_type === "process_raster" ? types.find((each) => each.job_type === "validate_raster") : null;
  const check = dryRun ? h("button", { type: "button", id: "check", onclick: () => submit(dryRun, fields.filter(({ name }) => name in dryRun.parameters.properties), problems, check) }, "Check first") : null;
  const form = h("form", { class: "card", novalidate: true, onsubmit: (event) => { event.preventDefault(); submit(type, fields, problems, button); } },
    before?.error ? sorry(before.error) : null,
    fields.some((field) => field.name === "blob_name") ? dropZone(fields, button, signal) : null,
    fields.filter((field) => field.required).map(draw),
    h("details", { open: Boolean(before) || fields.every((field) => !field.required) }, h("summary", {}, "Options"), h("div", { class: "columns" }, fields.filter((field) => !field.required).map(draw))),
    problems, h("div", { class: "row" }, button, check));
  show(place, h("h1", { tabindex: -1 }, before ? "Submit again" : "New job"),
    h("div", { class: "field" }, h("label", { for: "job-type" }, "Job type"),
      h("select", { id: "job-type", onchange: (event) => { location.hash = `#/new?type=${event.target.value}`; } },
        types.map((each) => h("option", { value: each.job_type, selected: each === type }, title(each.job_type)))),
      h("p", { class: "help" }, sentence(type.description))),
    form);
}

function readSchema({ parameters: schema, example }, values) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, whole]) => {
    const options = whole.anyOf?.filter((option) => option.type !== "null") ?? [whole];
    const shape = { ...whole, ...(options.length === 1 ? options[0] : { type: "json" }) };
    return { name, shape, required: required.has(name), input: control(name, shape, values[name] ?? whole.default ?? null, example[name]) };
  });
}

function control(name, shape, value, example) {
  const base = { id: `field-${name}`, name, "aria-describedby": `help-${name} wrong-${name}` };
  if (shape.enum) return h("select", base, shape.enum.map((option) => h("option", { value: option, selected: option === value }, option)));
  if (shape.type === "boolean") {
    return h("select", base, [["", "default"], ["true", "yes"], ["false", "no"]].filter(([text]) => text || shape.default === null || shape.default === undefined)
      .map(([text, label]) => h("option", { value: text, selected: String(value ?? "") === text }, label)));
  }
  if (shape.type === "integer" || shape.type === "number") return h("input", { ...base, type: "number", step: shape.type === "integer" ? 1 : "any", min: shape.minimum, max: shape.maximum, value: value ?? "" });
  if (shape.type === "array" || shape.type === "object" || shape.type === "json") return h("textarea", { ...base, rows: 3, value: value === null ? "" : JSON.stringify(value) });
  const hint = shape.format === "date-time" ? "2026-01-31T12:00:00Z" : example ? `such as ${example}` : "";
  return h("input", { ...base, type: "text", value: value ?? "", placeholder: hint, autocomplete: "off", spellcheck: "false" });
}

function draw({ name, shape, required, input }) {
  input.required = required;
  return h("div", { class: "field" }, h("label", { for: input.id }, title(name), required ? h("span", { class: "quiet" }, " (required)") : null), input,
    h("p", { class: "help", id: `help-${name}` }, sentence(shape.description ?? "")),
    h("p", { class: "wrong", id: `wrong-${name}` }));
}

function read({ name, shape, input }) {
  const text = input.value.trim();
  if (text === "") return undefined;
  if (shape.type === "boolean") return text === "true";
  if (shape.type === "integer" || shape.type === "number") return Number(text);
  if (["array", "object", "json"].includes(shape.type)) {
    try { return JSON.parse(text); } catch { return text; }
  }
  return text;
}

async function submit(type, fields, problems, button) {
  const garbled = fields.filter(({ input }) => input.validity.badInput).map(({ name }) => ({ field: name, message: "this is not a number" }));
  if (garbled.length) return mark(fields, garbled);
  const body = Object.fromEntries(fields.map((field) => [field.name, read(field)]).filter(([, value]) => value !== undefined));
  mark(fields, []);
  problems.replaceChildren();
  button.disabled = true;
  try {
    const answer = await ask(`/jobs/submit/${type.job_type}`, { method: "POST", body });
    // Going back returns to the submitted values.
    window.history.replaceState(null, "", `#/new?from=${answer.job_id}`);
    location.hash = `#/jobs/${answer.job_id}${answer.idempotent ? "?known" : ""}`;
  } catch (error) {
    const elsewhere = mark(fields, error.errors ?? []);
    if (elsewhere || !error.errors?.length) problems.replaceChildren(sorry(error));
    button.disabled = false;
  }
}

// Shows each error next to its field. Returns whether an error belongs to no field.
function mark(fields, errors) {
  for (const { name, input } of fields) {
    const mine = errors.find((error) => error.field.split(".")[0] === name);
    input.toggleAttribute("aria-invalid", false);
    if (mine) input.setAttribute("aria-invalid", "true");
    document.getElementById(`wrong-${name}`)?.replaceChildren(mine ? sentence(mine.message) : "");
    if (mine) input.closest("details")?.setAttribute("open", "");
  }
  fields.find(({ input }) => input.hasAttribute("aria-invalid"))?.input.focus();
  return errors.some((error) => !fields.some((field) => field.name === error.field.split(".")[0]));
}

function dropZone(fields, button, signal) {
  const progress = h("div", { id: "upload", role: "status" });
  const picker = h("input", { id: "file", type: "file", multiple: true, "aria-describedby": "file-help" });
  const zone = h("div", { class: "drop" }, h("label", { for: "file" }, h("strong", {}, "Drop a raster here, or choose it")), picker,
    h("p", { class: "quiet", id: "file-help" }, "GeoTIFF, JPEG 2000, PNG, ERDAS IMAGINE or NetCDF. Sidecar files (.tfw, .aux.xml, .prj) can be added with it. Or enter the name of an uploaded blob below."), progress);
  const send = (files) => sendFiles([...files], fields, progress, button, signal);
  picker.addEventListener("change", () => send(picker.files));
  // Without this, the browser would open a file that is dropped outside the zone.
  const everywhere = (kind, then) => document.addEventListener(kind, (event) => { event.preventDefault(); then(event); }, { signal });
  for (const kind of ["dragenter", "dragover"]) everywhere(kind, () => zone.classList.add("over"));
  everywhere("dragleave", (event) => { if (!event.relatedTarget) zone.classList.remove("over"); });
  everywhere("drop", (event) => { zone.classList.remove("over"); send(event.dataTransfer.files); });
  return zone;
}

async function sendFiles(files, fields, progress, button, signal) {
  const raster = files.find((file) => RASTER.test(file.name));
  if (!raster) return show(progress, sorry(new Error(`${files.map((file) => file.name).join(", ") || "The selection"} is not a raster. Choose a .tif, .jp2, .png, .img or .nc file.`)));
  button.disabled = true;
  try {
    // Sidecars first: the raster is read together with them.
    for (const file of [...files.filter((each) => each !== raster), raster]) {
      const bar = h("progress", { max: file.size, value: 0, "aria-label": `upload of ${file.name}` });
      const sent = h("p", { class: "quiet", "aria-hidden": "true" });
      const onprogress = (size) => { bar.value = size; sent.textContent = `${bytes(size)} of ${bytes(file.size)}`; };
      show(progress, h("p", {}, `Sending ${file.name} …`), bar, sent);
      const grant = await upload(file, file.name, onprogress, signal);
      if (file === raster) fill(fields, grant);
    }
    show(progress, h("p", {}, `✓ ${raster.name} is in storage.`));
  } catch (error) {
    if (error.name !== "AbortError") show(progress, sorry(error, () => sendFiles(files, fields, progress, button, signal)));
  }
  button.disabled = false;
}

function fill(fields, grant) {
  for (const { name, input } of fields) if (name === "blob_name" || name === "container_name") input.value = grant[name];
}
