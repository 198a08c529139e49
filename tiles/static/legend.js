/* What the colours mean. */

import { bandName, cogs, config, element, figure, make, ticks } from "./page.js";

export function legendOf(layer, item) {
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
  const [low, high] = query.get("rescale").split(",").map(real);
  const axis = make("div", undefined, { class: "axis" });
  axis.append(make("span", `≤ ${figure(low, high - low)}${unit}`));
  for (const tick of low < high ? ticks(low, high, 5) : []) {
    const share = (tick - low) / (high - low);
    const labelled = share > 0.22 && share < 0.75;
    const mark = make("i", labelled ? figure(tick, high - low) : "");
    mark.style.left = `${share * 100}%`;
    axis.append(mark);
  }
  axis.append(make("span", `≥ ${figure(high, high - low)}${unit}`));
  legend.append(axis);
}

function classes(legend, colormap, band) {
  const known = band?.["classification:classes"];
  const names = classNames(band);
  const list = make("ul", undefined, { tabindex: 0, "aria-label": "Classes" });
  for (const [key, shade] of Object.entries(colormap)) {
    if (known && !names.has(key)) continue;
    const background = Array.isArray(shade) ? `rgb(${shade.slice(0, 3).join(" ")} / ${(shade[3] ?? 255) / 255})` : shade;
    list.append(line(background, names.get(key) ? `${key}: ${names.get(key)}` : `Class ${key}`));
  }
  legend.append(list);
}

/* By value, as text; an empty name for a class that has none of its own. */
export function classNames(band) {
  return new Map((band?.["classification:classes"] ?? []).map((one) => {
    const name = one.title ?? one.name;
    return [String(one.value), name === `class-${one.value}` ? "" : name];
  }));
}

/* Which band is shown in which colour, where that is not what the bands are called. */
function composite(legend, layer, item) {
  const bands = cogs(item)[0].bands ?? [];
  const shown = layer.query.filter(([key]) => key === "bidx").map(([, index]) => bandName(bands[index - 1], index));
  const colors = ["red", "green", "blue"];
  if (shown.every((name, i) => name.toLowerCase() === colors[i])) return;
  const list = make("ul");
  shown.forEach((name, i) => list.append(line(colors[i], `${["Red", "Green", "Blue"][i]}: ${name}`)));
  legend.append(list);
}

function line(background, text) {
  const swatch = make("i");
  swatch.style.background = background;
  return make("li", undefined, {}, swatch, make("span", text));
}
