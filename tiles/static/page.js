/* Settings, elements and formats that all parts of the map page use. */

export const config = JSON.parse(document.getElementById("config").textContent);
export const element = (id) => document.getElementById(id);
/* The parameters of a link that choose what is drawn. */
export const DRAWN = ["bidx", "rescale", "colormap_name", "colormap", "algorithm", "buffer", "nodata",
  "resampling", "color_formula", "expression", "unscale"];
export const narrow = matchMedia("(max-width: 640px)");

export function createElement(tag, text, attributes = {}, ...children) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export async function fetchJson(url) {
  const response = await fetch(url);
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    const detail = typeof problem.detail === "string" ? problem.detail : response.statusText;
    throw new Error(`${response.status}: ${detail}`);
  }
  return response.json();
}

export function buildUrl(layer, place) {
  const query = new URLSearchParams([["url", layer.path], ...layer.query]);
  return `${config.base}cog/${place}?${query}`;
}

export function listCogs(item) {
  return Object.entries(item.assets)
    .filter(([, asset]) => (asset.type || "").startsWith("image/tiff"))
    .map(([key, asset]) => ({ key, ...asset, path: asset.alternate?.vsiaz?.href ?? asset.href }));
}

/* The name of a band, or "band 3" if it has none. Bands count from 1. */
export function formatBandName(band, index) {
  const name = band?.description || band?.name;
  return !name || /^b\d+$/.test(name) ? `band ${index}` : name;
}

/* A number with enough digits to distinguish it from others of its range. */
export function formatNumber(number, range = 0) {
  const size = Math.abs(number);
  const digits = range ? Math.max(0, Math.ceil(Math.log10(size / range))) + 3 : 5;
  const order = range || size;
  const notation = size && (order < 1e-3 || order >= 1e8) ? "scientific" : "standard";
  return number.toLocaleString(undefined, { maximumSignificantDigits: Math.min(digits, 15), notation });
}

/* About `count` round numbers from low to high. */
export function computeTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) found.push(Number((i * step).toPrecision(12)));
  return found;
}

export function formatDegrees(number, [positive, negative]) {
  const text = Math.abs(number).toLocaleString(undefined, { maximumFractionDigits: 5 });
  return `${text}°${number === 0 || Math.abs(number) === 180 ? "" : ` ${number > 0 ? positive : negative}`}`;
}
