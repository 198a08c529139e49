/* The legend. */

import { computeTicks, config, createElement, element, formatBandName, formatNumber, listCogs } from "./page.js";

export function showLegend(layer, item) {
  const legend = element("legend");
  legend.replaceChildren();
  const query = new Map(layer.query.map(([key, text]) => [key, String(text)]));
  const band = item && listCogs(item)[0].bands?.[Number(query.get("bidx") ?? 1) - 1];
  if (query.has("colormap_name")) addRamp(legend, query, band);
  else if (layer.render?.colormap) addClasses(legend, layer.render.colormap, band);
  else if (query.has("colormap")) addClasses(legend, JSON.parse(query.get("colormap")), band);
  else if (layer.query.filter(([key]) => key === "bidx").length === 3 && item) addComposite(legend, layer, item);
  legend.hidden = !legend.hasChildNodes();
}

function addRamp(legend, query, band) {
  const source = `${config.base}colorMaps/${encodeURIComponent(query.get("colormap_name"))}?f=png&orientation=horizontal&width=256&height=14`;
  legend.append(createElement("img", undefined, { src: source, alt: "Colours from low to high" }));
  if (!query.has("rescale")) return;
  const real = (text) => Number(text) * (band?.["raster:scale"] ?? 1) + (band?.["raster:offset"] ?? 0);
  const unit = band?.unit ? ` ${band.unit}` : "";
  const [low, high] = query.get("rescale").split(",").map(real);
  const axis = createElement("div", undefined, { class: "axis" });
  axis.append(createElement("span", `≤ ${formatNumber(low, high - low)}${unit}`));
  for (const tick of low < high ? computeTicks(low, high, 5) : []) {
    const share = (tick - low) / (high - low);
    const labelled = share > 0.22 && share < 0.75;
    const mark = createElement("i", labelled ? formatNumber(tick, high - low) : "");
    mark.style.left = `${share * 100}%`;
    axis.append(mark);
  }
  axis.append(createElement("span", `≥ ${formatNumber(high, high - low)}${unit}`));
  legend.append(axis);
}

function addClasses(legend, colormap, band) {
  const known = band?.["classification:classes"];
  const names = readClassNames(band);
  const list = createElement("ul", undefined, { tabindex: 0, "aria-label": "Classes" });
  for (const [key, shade] of Object.entries(colormap)) {
    if (known && !names.has(key)) continue;
    const background = Array.isArray(shade) ? `rgb(${shade.slice(0, 3).join(" ")} / ${(shade[3] ?? 255) / 255})` : shade;
    list.append(createLine(background, names.get(key) ? `${key}: ${names.get(key)}` : `Class ${key}`));
  }
  legend.append(list);
}

/* The names of classes by value, as text; empty for a class without a name. */
export function readClassNames(band) {
  return new Map((band?.["classification:classes"] ?? []).map((one) => {
    const name = one.title ?? one.name;
    return [String(one.value), name === `class-${one.value}` ? "" : name];
  }));
}

/* The band of each colour, unless the bands are called so. */
function addComposite(legend, layer, item) {
  const bands = listCogs(item)[0].bands ?? [];
  const shown = layer.query.filter(([key]) => key === "bidx").map(([, index]) => formatBandName(bands[index - 1], index));
  const colors = ["red", "green", "blue"];
  if (shown.every((name, i) => name.toLowerCase() === colors[i])) return;
  const list = createElement("ul");
  shown.forEach((name, i) => list.append(createLine(colors[i], `${["Red", "Green", "Blue"][i]}: ${name}`)));
  legend.append(list);
}

function createLine(background, text) {
  const swatch = createElement("i");
  swatch.style.background = background;
  return createElement("li", undefined, {}, swatch, createElement("span", text));
}
