"use strict";
/* The map page: what the raster is, where it lies, how to look at it and how to get it. */

const config = JSON.parse(document.getElementById("config").textContent);
const element = (id) => document.getElementById(id);
const DRAWN = ["bidx", "rescale", "colormap_name", "colormap", "algorithm", "buffer", "nodata",
  "resampling", "color_formula", "expression", "unscale"];
const narrow = matchMedia("(max-width: 640px)");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function make(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function complain(text) {
  element("message").textContent = text;
  element("message").hidden = false;
}

async function json(url) {
  const answer = await fetch(url);
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    const detail = typeof problem.detail === "string" ? problem.detail : answer.statusText;
    throw new Error(`${answer.status}: ${detail}`);
  }
  return answer.json();
}

/* The item, when the page was opened for one and it holds the raster that the address names. */
async function catalogued(path) {
  if (!config.collection || !config.item) return null;
  const where = ["collections", config.collection, "items", config.item].map(encodeURIComponent);
  const item = await json(`${config.base}${where.join("/")}/stac`).catch(() => null);
  if (!item || !path) return item;
  return cogs(item).some((cog) => cog.path === path || cog.href === path) ? item : null;
}

function cogs(item) {
  return Object.entries(item.assets)
    .filter(([, asset]) => (asset.type || "").startsWith("image/tiff"))
    .map(([key, asset]) => ({ key, ...asset, path: asset.alternate?.vsiaz?.href ?? asset.href }));
}

/* What may be looked at: the renders of the item over its main COG, then its other COGs. */
function layersOf(item, path) {
  const linked = { title: "As shared", path, query: config.query.filter(([k]) => DRAWN.includes(k)) };
  if (!item) return [linked];
  const [main, ...others] = cogs(item).sort((a, b) => (b.key === "data") - (a.key === "data"));
  const renders = item.properties.renders ?? { default: { title: "Default" } };
  const looks = Object.entries(renders).map(([name, render]) => ({
    title: render.title ?? name, path: main.path, query: parameters(render), render,
  }));
  if (path === main.path && linked.query.length) looks[0].query = linked.query;
  const [first] = looks;
  return [...looks, ...others.map((cog) => ({ ...first, title: cog.title ?? cog.key, path: cog.path }))];
}

function parameters(render) {
  const query = (render.bidx ?? []).map((index) => ["bidx", index]);
  for (const pair of render.rescale ?? []) query.push(["rescale", pair.join(",")]);
  if (render.colormap_name) query.push(["colormap_name", render.colormap_name]);
  if (render.colormap) query.push(["colormap", JSON.stringify(render.colormap)]);
  if (render.nodata !== undefined) query.push(["nodata", render.nodata]);
  if (render.algorithm) query.push(["algorithm", render.algorithm], ["buffer", 3]);
  return query;
}

function address(layer, place) {
  const query = new URLSearchParams([["url", layer.path], ...layer.query]);
  return `${config.base}cog/${place}?${query}`;
}

function tiles(layer, bounds, maxzoom) {
  const template = address({ ...layer, query: [...layer.query, ["tilesize", 512]] },
    "tiles/WebMercatorQuad/{z}/{x}/{y}.png");
  return L.tileLayer(template, {
    bounds, maxNativeZoom: maxzoom, maxZoom: 24, opacity: element("opacity").value / 100,
  });
}

function bounded([west, south, east, north]) {
  const reach = east < west ? east + 360 : east;
  const clamp = (latitude) => Math.max(-85.05, Math.min(85.05, latitude));
  return L.latLngBounds([clamp(south), west], [clamp(north), reach]);
}

async function background(map) {
  if (config.basemap) {
    L.tileLayer(config.basemap, { maxZoom: 24, maxNativeZoom: 19 }).addTo(map);
    return;
  }
  const land = await json(`${config.static}land.json`);
  const pane = map.createPane("land");
  pane.style.zIndex = 150;
  const style = () => ({ weight: 1, color: color("--coast"), fillColor: color("--land"), fillOpacity: 1 });
  for (const shift of [-360, 0, 360]) {
    const coordinates = land.coordinates.map((part) => part.map((ring) => ring.map(([x, y]) => [x + shift, y])));
    const drawn = L.geoJSON({ type: "MultiPolygon", coordinates }, { pane: "land", interactive: false, style });
    drawn.addTo(map);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.setStyle(style()));
  }
}

const ORIGINS = {
  parameter: "as given", source_metadata: "from the file", file_name: "from its name",
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

function value(number) {
  return number.toLocaleString(undefined, { maximumSignificantDigits: 5 });
}

function tell(facts) {
  for (const [name, text] of facts) {
    if (text) element("facts").append(make("dt", name), make("dd", text));
  }
}

function tellItem(item) {
  const { properties } = item;
  const [main] = cogs(item);
  const [height, width] = properties["proj:shape"] ?? [];
  const day = new Date(properties.datetime).toLocaleDateString(undefined, { dateStyle: "long", timeZone: "UTC" });
  const origin = ORIGINS[properties["geolathe:datetime_origin"]];
  tell([
    ["Date", origin ? `${day} (${origin})` : day],
    ["Kind", KINDS[properties["geolathe:raster_type"]]],
    ["Resolution", properties.gsd && `${metres(properties.gsd)} a pixel`],
    ["Extent", width && `${width.toLocaleString()} × ${height.toLocaleString()} pixels`],
    ["Bands", (main.bands ?? []).map((band) => band.description || band.name).join(", ")],
    ["Data type", main.bands?.[0]?.data_type],
    ["CRS", properties["proj:code"]],
    ["File", main["file:size"] && bytes(main["file:size"])],
    ["Source", properties["geolathe:source"]],
  ]);
}

async function tellFile(layer) {
  const info = await json(address({ ...layer, query: [] }, "info"));
  tell([
    ["Extent", `${info.width.toLocaleString()} × ${info.height.toLocaleString()} pixels`],
    ["Bands", info.band_descriptions.map(([name, text]) => text || name).join(", ")],
    ["Data type", info.dtype],
  ]);
}

function legendOf(layer, item) {
  const legend = element("legend");
  legend.replaceChildren();
  const query = new Map(layer.query.map(([key, text]) => [key, String(text)]));
  const band = item && cogs(item)[0].bands?.[Number(query.get("bidx") ?? 1) - 1];
  if (query.has("colormap_name")) ramp(legend, query, band);
  else if (layer.render?.colormap) classes(legend, layer.render.colormap, band);
  else if (query.has("colormap")) classes(legend, JSON.parse(query.get("colormap")), band);
  else if (layer.query.filter(([key]) => key === "bidx").length === 3 && item) composite(legend, layer, item);
  legend.hidden = !legend.hasChildNodes();
}

function ramp(legend, query, band) {
  const source = `${config.base}colorMaps/${encodeURIComponent(query.get("colormap_name"))}?f=png&orientation=horizontal&width=256&height=14`;
  legend.append(make("img", undefined, { src: source, alt: "Colours from low to high" }));
  if (!query.has("rescale")) return;
  const real = (text) => Number(text) * (band?.["raster:scale"] ?? 1) + (band?.["raster:offset"] ?? 0);
  const unit = band?.unit ? ` ${band.unit}` : "";
  const ends = make("div", undefined, { class: "ends" });
  const [low, high] = query.get("rescale").split(",");
  ends.append(make("span", `≤ ${value(real(low))}${unit}`), make("span", `≥ ${value(real(high))}${unit}`));
  legend.append(ends);
}

function classes(legend, colormap, band) {
  const known = band?.["classification:classes"];
  const names = new Map((known ?? []).map((one) => [String(one.value), one.title ?? one.name]));
  const list = make("ul");
  for (const [key, shade] of Object.entries(colormap)) {
    if (known && !names.has(key)) continue;
    const line = make("li");
    const swatch = make("i");
    swatch.style.background = Array.isArray(shade) ? `rgb(${shade.slice(0, 3).join(" ")} / ${(shade[3] ?? 255) / 255})` : shade;
    const name = names.get(key);
    line.append(swatch, make("span", name && name !== `class-${key}` ? `${key}: ${name}` : `Class ${key}`));
    list.append(line);
  }
  legend.append(list);
}

/* Which band is shown in which colour, where that is not what the bands are called. */
function composite(legend, layer, item) {
  const named = cogs(item)[0].bands ?? [];
  const shown = layer.query.filter(([key]) => key === "bidx").map(([, index]) => named[index - 1]?.name);
  const colors = ["red", "green", "blue"];
  if (shown.every((name, i) => name === colors[i] || name === undefined)) return;
  const list = make("ul");
  shown.forEach((name, i) => {
    const line = make("li");
    const swatch = make("i");
    swatch.style.background = colors[i];
    line.append(swatch, make("span", `Band ${name}`));
    list.append(line);
  });
  legend.append(list);
}

function link(text, url) {
  element("links").append(make("a", text, { href: url, rel: "noopener" }));
}

function copyable(text, url) {
  const line = make("div", undefined, { class: "copy" });
  const button = make("button", "Copy", { type: "button", "data-address": url });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(url);
      button.textContent = "Copied";
    } catch {
      prompt(text, url);
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  line.append(make("span", text), button);
  element("links").append(line);
}

function linksOf(layer, item) {
  element("links").replaceChildren();
  const files = item ? cogs(item) : [{ path: layer.path }];
  for (const file of files) {
    const size = file["file:size"] ? ` (${bytes(file["file:size"])})` : "";
    link(`Download ${file.title ?? "the GeoTIFF"}${size}`, address({ path: file.path, query: [] }, "download"));
  }
  if (item && config.stac) {
    link("STAC item", `${config.stac}/collections/${encodeURIComponent(config.collection)}/items/${encodeURIComponent(config.item)}`);
  }
  copyable("WMTS address, for QGIS", address(layer, "WMTSCapabilities.xml"));
  copyable("XYZ address, for web maps", address(layer, "tiles/WebMercatorQuad/{z}/{x}/{y}.png").replace(/%7B([zxy])%7D/gi, "{$1}"));
}

function askValues(map, layer) {
  map.off("click").on("click", async ({ latlng }) => {
    const { lng, lat } = latlng.wrap();
    const popup = L.popup().setLatLng(latlng).setContent("…").openOn(map);
    const text = await json(address({ ...layer, query: [] }, `point/${lng},${lat}`))
      .then(({ values, band_names: names }) => values.map((found, i) =>
        `${names[i]}: ${found === null ? "no data" : value(found)}`).join("\n"))
      .catch(() => "no data here");
    const content = make("div", `${lat.toFixed(5)}, ${lng.toFixed(5)}\n${text}`);
    content.style.whiteSpace = "pre-line";
    popup.setContent(content);
  });
}

let theMap;

async function start() {
  const map = theMap = L.map("map", { maxZoom: 24 }).setView([0, 0], 1);
  map.attributionControl.setPrefix('<a href="https://leafletjs.com">Leaflet</a> · TiTiler')
    .setPosition(narrow.matches ? "topright" : "bottomleft");
  L.control.scale({ position: "topleft", imperial: false }).addTo(map);
  element("fold").addEventListener("click", () => {
    const folded = element("panel").classList.toggle("folded");
    element("fold").setAttribute("aria-expanded", String(!folded));
  });
  const path = config.query.find(([key]) => key === "url")?.[1] ?? null;
  const [tilejson, item] = await Promise.all([json(config.tilejson), catalogued(path), background(map)]);
  const layers = layersOf(item, path);
  const name = item?.properties.title ?? (path ?? config.item).split("/").pop();
  element("title").textContent = document.title = name;
  if (item) tellItem(item); else await tellFile(layers[0]);

  const bounds = bounded(tilejson.bounds);
  let shown = null;
  const show = (layer) => {
    shown?.remove();
    shown = tiles(layer, bounds, tilejson.maxzoom).addTo(map);
    legendOf(layer, item);
    linksOf(layer, item);
    askValues(map, layer);
  };
  const chosen = Math.max(0, layers.findIndex((layer) => layer.path === path));
  if (layers.length > 1) choices(layers, chosen, show);
  element("opacity").addEventListener("input", ({ target }) => shown.setOpacity(target.value / 100));
  map.fitBounds(bounds, fitting());
  show(layers[chosen]);
}

/* Room for the panel: at the right on a screen, below on a phone. */
function fitting() {
  const { offsetWidth, offsetHeight } = element("panel");
  return { paddingTopLeft: [20, 20], paddingBottomRight: narrow.matches ? [20, offsetHeight + 20] : [offsetWidth + 40, 20] };
}

function choices(layers, chosen, show) {
  layers.forEach((layer, index) => {
    const label = make("label");
    const radio = make("input", undefined, { type: "radio", name: "layer" });
    radio.checked = index === chosen;
    radio.addEventListener("change", () => show(layer));
    label.append(radio, ` ${layer.title}`);
    element("layers").append(label);
  });
  element("layers").hidden = false;
}

start().catch((error) => {
  element("title").textContent = "This raster cannot be shown";
  complain(error.message);
});
