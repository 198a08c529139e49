/* What the raster is, and how to get it. */

import { address, bandName, cogs, config, degrees, element, json, make } from "./page.js";

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

function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) { size /= 1000; unit += 1; }
  return `${size.toLocaleString(undefined, { maximumSignificantDigits: 3 })} ${units[unit]}`;
}

function metres(distance) {
  const [value, unit] = distance < 1 ? [distance * 100, "cm"] : distance < 5000 ? [distance, "m"] : [distance / 1000, "km"];
  return `${value.toLocaleString(undefined, { maximumSignificantDigits: 3 })} ${unit}`;
}

function pixels(width, height) {
  const one = width === 1 && height === 1;
  return `${width.toLocaleString()} × ${height.toLocaleString()} ${one ? "pixel" : "pixels"}`;
}

/* Their names, or how many there are when none has one. */
function bandList(bands) {
  const names = bands.map((band, i) => bandName(band, i + 1));
  return names.every((name, i) => name === `band ${i + 1}`) ? String(bands.length) : names.join(", ");
}

function tell(facts) {
  for (const [name, text] of facts) {
    if (text) element("facts").append(make("dt", name), make("dd", text));
  }
}

/* Unless it goes round the world, where the middle of its longitudes says nothing. */
export function tellPlace(bounds) {
  if (bounds.getEast() - bounds.getWest() > 180) return;
  const { lat, lng } = bounds.getCenter().wrap();
  const round = (number) => Number(number.toFixed(3));
  tell([["Centre", `${degrees(round(lat), "NS")}, ${degrees(round(lng), "EW")}`]]);
}

function date({ datetime, start_datetime: start, end_datetime: end }) {
  const days = (datetime ? [datetime] : [start, end]).map((at) =>
    new Date(at).toLocaleDateString(undefined, { dateStyle: "long", timeZone: "UTC" }));
  return days.join(" – ");
}

export function tellItem(item) {
  const { properties } = item;
  const [main] = cogs(item);
  const [height, width] = properties["proj:shape"] ?? [];
  const day = date(properties);
  const origin = ORIGINS[properties["geolathe:datetime_origin"]];
  tell([
    ["Date", origin ? `${day} (${origin})` : day],
    ["Kind", KINDS[properties["geolathe:raster_type"]]],
    ["Resolution", properties.gsd && `${metres(properties.gsd)} a pixel`],
    ["Size", width && pixels(width, height)],
    ["Bands", bandList(main.bands ?? [])],
    ["Data type", main.bands?.[0]?.data_type],
    ["CRS", properties["proj:code"]],
    ["Source", properties["geolathe:source"]],
  ]);
}

export async function tellFile(layer) {
  const info = await json(address({ ...layer, query: [] }, "info"));
  tell([
    ["Size", pixels(info.width, info.height)],
    ["Bands", bandList(info.band_descriptions.map(([name, description]) => ({ name, description })))],
    ["Data type", info.dtype],
  ]);
}

export function linksOf(layer, item) {
  const links = element("links");
  links.replaceChildren();
  for (const file of item ? cogs(item) : [{ path: layer.path }]) {
    const size = file["file:size"] ? bytes(file["file:size"]) : "";
    const link = make("a", `Download ${file.title ?? "the GeoTIFF"}`, { href: address({ path: file.path, query: [] }, "download") });
    links.append(make("div", undefined, {}, link, make("span", size)));
  }
  if (item && config.stac) {
    const where = ["collections", config.collection, "items", config.item].map(encodeURIComponent);
    links.append(make("div", undefined, {}, make("a", "STAC item", { href: `${config.stac}/${where.join("/")}`, rel: "noopener" })));
  }
  links.append(copyable("WMTS address, for QGIS", address(layer, "WMTSCapabilities.xml")));
  const tiles = address(layer, "tiles/WebMercatorQuad/{z}/{x}/{y}.png").replace(/%7B([zxy])%7D/gi, "{$1}");
  links.append(copyable("XYZ address, for web maps", tiles));
}

function copyable(text, url) {
  const button = make("button", "Copy", { type: "button", "data-address": url, "aria-label": `Copy the ${text}` });
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
  return make("div", undefined, {}, make("span", text), button);
}
