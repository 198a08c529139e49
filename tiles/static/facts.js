/* The facts about the raster, and links to it. */

import { buildUrl, config, createElement, element, fetchJson, formatBandName, formatDegrees, listCogs } from "./page.js";

const ORIGINS = {
  parameter: "as given", source_metadata: "from the file", file_name: "from its name",
  folder_name: "from its folder",
  last_modified: "date of upload",
};

const KINDS = {
  rgb: "Colour image", rgba: "Colour image with transparency", nir: "Colour and near infrared image",
  dem: "Elevation model", categorical: "Classes", multispectral: "Multispectral image",
  continuous: "Measured values",
};

function formatBytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) { size /= 1000; unit += 1; }
  return `${size.toLocaleString(undefined, { maximumSignificantDigits: 3 })} ${units[unit]}`;
}

function formatDistance(distance) {
  const [value, unit] = distance < 1 ? [distance * 100, "cm"] : distance < 5000 ? [distance, "m"] : [distance / 1000, "km"];
  return `${value.toLocaleString(undefined, { maximumSignificantDigits: 3 })} ${unit}`;
}

function formatPixels(width, height) {
  const one = width === 1 && height === 1;
  return `${width.toLocaleString()} × ${height.toLocaleString()} ${one ? "pixel" : "pixels"}`;
}

/* The names of the bands, or their number if none has a name. */
function formatBands(bands) {
  const names = bands.map((band, i) => formatBandName(band, i + 1));
  return names.every((name, i) => name === `band ${i + 1}`) ? String(bands.length) : names.join(", ");
}

export function addFacts(facts) {
  for (const [name, text] of facts) {
    if (text) element("facts").append(createElement("dt", name), createElement("dd", text));
  }
}

/* Omitted for rasters around the globe, whose centre has no meaning. */
export function showCentre(bounds) {
  if (bounds.getEast() - bounds.getWest() > 180) return;
  const { lat, lng } = bounds.getCenter().wrap();
  const round = (number) => Number(number.toFixed(3));
  addFacts([["Centre", `${formatDegrees(round(lat), "NS")}, ${formatDegrees(round(lng), "EW")}`]]);
}

export function formatDates({ datetime, start_datetime: start, end_datetime: end }) {
  const days = (datetime ? [datetime] : [start, end]).map((at) =>
    new Date(at).toLocaleDateString(undefined, { dateStyle: "long", timeZone: "UTC" }));
  return days.join(" – ");
}

export function showItemFacts(item) {
  const { properties } = item;
  const [main] = listCogs(item);
  const [height, width] = properties["proj:shape"] ?? [];
  const day = formatDates(properties);
  const origin = ORIGINS[properties["geolathe:datetime_origin"]];
  addFacts([
    ["Date", origin ? `${day} (${origin})` : day],
    ["Kind", KINDS[properties["geolathe:raster_type"]]],
    ["Resolution", properties.gsd && `${formatDistance(properties.gsd)} a pixel`],
    ["Size", width && formatPixels(width, height)],
    ["Bands", formatBands(main.bands ?? [])],
    ["Data type", main.bands?.[0]?.data_type],
    ["CRS", properties["proj:code"]],
    ["Source", properties["geolathe:source"]],
  ]);
}

export async function showFileFacts(layer) {
  const info = await fetchJson(buildUrl({ ...layer, query: [] }, "info"));
  addFacts([
    ["Size", formatPixels(info.width, info.height)],
    ["Bands", formatBands(info.band_descriptions.map(([name, description]) => ({ name, description })))],
    ["Data type", info.dtype],
  ]);
}

export function showLinks(layer, item) {
  const links = element("links");
  links.replaceChildren();
  for (const file of item ? listCogs(item) : [{ path: layer.path }]) {
    const size = file["file:size"] ? formatBytes(file["file:size"]) : "";
    const link = createElement("a", `Download ${file.title ?? "the GeoTIFF"}`, { href: buildUrl({ path: file.path, query: [] }, "download") });
    links.append(createElement("div", undefined, {}, link, createElement("span", size)));
  }
  if (item && config.stac) {
    const where = ["collections", config.collection, "items", config.item].map(encodeURIComponent);
    links.append(createElement("div", undefined, {}, createElement("a", "STAC item", { href: `${config.stac}/${where.join("/")}`, rel: "noopener" })));
  }
  links.append(createCopyButton("WMTS address, for QGIS", buildUrl(layer, "WMTSCapabilities.xml")));
  const tiles = buildUrl(layer, "tiles/WebMercatorQuad/{z}/{x}/{y}.png").replace(/%7B([zxy])%7D/gi, "{$1}");
  links.append(createCopyButton("XYZ address, for web maps", tiles));
}

export function createCopyButton(text, url) {
  const button = createElement("button", "Copy", { type: "button", "data-address": url, "aria-label": `Copy the ${text}` });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(url);
      button.textContent = "Copied";
      element("news").textContent = "Copied";
    } catch {
      prompt(text, url);
    }
    setTimeout(() => { button.textContent = "Copy"; element("news").textContent = ""; }, 2000);
  });
  return createElement("div", undefined, {}, createElement("span", text), button);
}
