// Loads every panel of the dashboards on stdin with Grafana's own code, as a browser would, and
// writes what it counted and every fault to stdout, as JSON.
//
// The input is {boards: [{name, board, labels}], custom}. labels has, for each panel and query, the
// labels of the query's series, each with its values if they are known. custom has, for each kind of panel, the names of the options that
// its fields have beside the standard ones: Grafana publishes the panels themselves nowhere.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { isDeepStrictEqual } from "node:util";
import { pluginOf, register } from "./editor.mjs";

const require = createRequire(import.meta.url); // import fails: it finds no names in CommonJS lodash

const { JSDOM } = require("jsdom");
const { window } = new JSDOM("", { url: "http://localhost/" });
for (const name of Object.getOwnPropertyNames(window)) {
  if (!(name in globalThis)) {
    globalThis[name] = window[name];
  }
}
for (const [name, value] of Object.entries({ window, navigator: window.navigator })) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

// Grafana's code calls require for these, which have only the form for import. Node.js 18 cannot.
for (const name of ["d3-interpolate", "d3-scale-chromatic", "marked"]) {
  const id = require.resolve(name);
  require.cache[id] = { id, filename: id, loaded: true, children: [], exports: await import(name) };
}
console.log = console.info = () => {}; // a library advertises itself
const grafana = require("@grafana/data");
const { get } = require("lodash");
const { lastValueFrom } = require("rxjs");

const theme = grafana.createTheme();
const units = new Set(grafana.getValueFormats().flatMap((category) => category.submenu.map((unit) => unit.value)));

grafana.locationUtil.initialize({
  config: { appSubUrl: "" },
  getVariablesUrlParams: () => ({}),
  getTimeRangeForUrl: () => ({ from: "now-1h", to: "now" }),
});

register(grafana);

const input = JSON.parse(readFileSync(0, "utf8"));
const result = { panels: 0, overrides: 0, properties: 0, faults: [] };
const plugins = new Map();

for (const { name, board, labels } of input.boards) {
  for (const panel of board.panels) {
    if (panel.type === "row") {
      continue;
    }
    const found = new Set();
    const fault = (text) => found.add(`${name}, ${JSON.stringify(panel.title)}: ${text}`);
    console.warn = console.error = (...text) => fault(`Grafana warns: ${text.join(" ")}`);
    result.panels++;
    try {
      await load(panel, labels[panel.id] ?? {}, fault);
    } catch (err) {
      fault(`Grafana: ${err.message}`);
    }
    result.faults.push(...found);
  }
}
process.stdout.write(JSON.stringify(result), () => process.exit(0)); // jsdom would keep it alive

async function load(panel, labels, fault) {
  const plugin = kindOf(panel.type);
  if (!plugin) {
    fault(`unknown type ${panel.type}`);
    return;
  }
  const { options, fieldConfig } = readConfig(panel, plugin, fault);
  checkNames({ options: panel.options, transformations: panel.transformations }, fieldConfig, fault);

  const answer = (target, rows) => framesOf(target, labels[target.refId] ?? {}, panel.targets.length, rows);
  const frames = await transform(panel, panel.targets.flatMap((target) => answer(target, [1, 2])), fault);
  const names = frames.flatMap((frame) => frame.fields.map((field) => grafana.getFieldDisplayName(field, frame, frames)));
  for (const { displayName } of options.sortBy ?? []) {
    if (!names.includes(displayName)) {
      fault(`sorted by ${JSON.stringify(displayName)}; the fields are ${names.join(", ")}`);
    }
  }

  const matches = matchesOf(fieldConfig.overrides, frames, names, fault);
  const apply = (frames) =>
    grafana.applyFieldOverrides({
      data: frames,
      fieldConfig: { ...fieldConfig, overrides: fieldConfig.overrides.filter((_, i) => matches[i]) },
      fieldConfigRegistry: plugin.fieldConfigRegistry,
      replaceVariables: (text, scoped) => substitute(text, scoped, fault),
      theme,
      timeZone: "utc",
    });
  const shown = apply(frames);
  checkApplied(fieldConfig.overrides, matches, shown, plugin.fieldConfigRegistry, fault);
  checkShown(shown, fault);
  if (panel.targets.length > 1) {
    await checkAlone(panel, answer, apply, shown, fault);
  }
  if (options.reduceOptions) {
    const values = grafana.getFieldDisplayValues({
      fieldConfig,
      reduceOptions: options.reduceOptions,
      replaceVariables: (text, scoped) => substitute(text, scoped, fault),
      theme,
      data: shown,
      timeZone: "utc",
    });
    if (values.length === 0 || values.some((value) => value.display.text === "" || Number.isNaN(value.display.numeric))) {
      fault("the tile shows no value");
    }
  }
}

async function transform(panel, frames, fault) {
  for (const [i, transformation] of (panel.transformations ?? []).entries()) {
    try {
      frames = await lastValueFrom(grafana.transformDataFrame([transformation], frames));
    } catch (err) {
      fault(`transformation ${i} (${transformation.id}): Grafana: ${err.message.slice(0, 200)}`);
    }
  }
  return frames;
}

// checkAlone lets only one query of a table have an answer. Its values must keep their title.
async function checkAlone(panel, answer, apply, all, fault) {
  const title = (frames, name) => {
    const found = frames.flatMap((frame) => frame.fields.filter((field) => field.name === name && field.values.length > 0).map((field) => [field, frame]));
    return found.length > 0 ? grafana.getFieldDisplayName(...found[0], frames) : undefined;
  };
  for (const target of panel.targets.filter((target) => target.format === "table")) {
    const frames = panel.targets.flatMap((other) => answer(other, other === target ? [1, 2] : []));
    const shown = apply(await transform(panel, frames, fault));
    checkShown(shown, fault);
    const value = valueOf(target, panel.targets.length);
    const [want, got] = [title(all, value), title(shown, value)];
    if (got === undefined || want !== got) {
      fault(`when only query ${target.refId} has an answer, its values have the title ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);
    }
  }
}

// kindOf returns the kind of panel with the options that the real one has.
function kindOf(type) {
  if (!plugins.has(type) && type in input.custom) {
    plugins.set(type, pluginOf(grafana, type, Object.fromEntries(input.custom[type].map((id) => [id, undefined]))));
  }
  return plugins.get(type);
}

// readConfig lets Grafana read the panel, and finds what it dropped. It reads each override alone
// first, because Grafana's errors do not say which one is wrong.
function readConfig(panel, plugin, fault) {
  const read = (fieldConfig) =>
    grafana.getPanelOptionsWithDefaults({
      plugin,
      currentOptions: structuredClone(panel.options),
      currentFieldConfig: structuredClone(fieldConfig),
      isAfterPluginChange: false,
    });
  const { defaults, overrides } = panel.fieldConfig;
  const sound = overrides.filter((override, i) => {
    result.overrides++;
    try {
      const kept = read({ defaults: {}, overrides: [override] }).fieldConfig.overrides[0].properties;
      const ids = override.properties.map((property) => property.id);
      result.properties += ids.length;
      if (ids.length === 0) {
        fault(`${describe(override, i)}: no properties`);
      }
      for (const [j, id] of ids.entries()) {
        if (!kept.some((property) => property.id === id)) {
          fault(`${describe(override, i)}: a ${panel.type} panel has no option ${id}`);
        }
        if (ids.indexOf(id) !== j) {
          fault(`${describe(override, i)}: ${id} is set twice`);
        }
      }
      return true;
    } catch (err) {
      fault(`${describe(override, i)}: Grafana: ${err.message}`);
      return false;
    }
  });
  const loaded = read({ defaults, overrides: sound });
  for (const path of leaves(defaults)) {
    if (get(loaded.fieldConfig.defaults, path) === undefined) {
      fault(`fieldConfig.defaults: a ${panel.type} panel has no option ${path}`);
    }
  }
  return loaded;
}

function describe(override, i) {
  return `override ${i} (${override.matcher?.id} ${JSON.stringify(override.matcher?.options)})`;
}

// leaves returns the paths of all values in objects; a list is a value.
function leaves(value, path = "") {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    return [path];
  }
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, path ? `${path}.${key}` : key));
}

function valueOf(target, queries) {
  return queries > 1 ? `Value #${target.refId}` : "Value";
}

// framesOf returns what the Prometheus data source makes of a query's answer. A table has these rows.
function framesOf(target, known, queries, rows) {
  let labels = Object.keys(known).sort();
  const times = target.instant ? [0] : [0, 60_000];
  const time = { name: "Time", type: "time", values: times, config: {} };
  switch (target.format) {
    case "table":
      if (rows.length === 0) {
        labels = []; // they come from the series
      }
      return [
        grafana.toDataFrame({
          refId: target.refId,
          fields: [
            { ...time, values: rows.map(() => 0) },
            ...labels.map((label) => ({ name: label, type: "string", values: rows.map((row) => `${label} ${row}`), config: {} })),
            { name: valueOf(target, queries), type: "number", values: rows, config: {} },
          ],
        }),
      ];
    case "heatmap":
      return [
        grafana.toDataFrame({
          refId: target.refId,
          meta: { type: "heatmap-rows" },
          fields: [time, ...["0.1", "1", "+Inf"].map((le) => ({ name: le, type: "number", values: times.map(() => 1), config: {} }))],
        }),
      ];
    default:
      // There is a series for each value of a label that has few.
      const most = Math.max(2, ...labels.map((label) => (target.legendFormat === `{{${label}}}` ? (known[label]?.length ?? 0) : 0)));
      return Array.from({ length: most }, (_, i) => i + 1).map((series) => {
        const value = (label) => (known[label]?.length ? known[label][(series - 1) % known[label].length] : `${label} ${series}`);
        const values = Object.fromEntries(labels.map((label) => [label, value(label)]));
        const legend = target.legendFormat?.replace(/\{\{(\w+)\}\}/g, (_, label) => values[label]);
        return grafana.toDataFrame({
          refId: target.refId,
          fields: [
            { ...time },
            { name: "Value", type: "number", values: times.map(() => series), labels: values, config: { displayNameFromDS: legend } },
          ],
        });
      });
  }
}

// matchesOf returns, for each override, the places of the fields that it matches.
function matchesOf(overrides, frames, names, fault) {
  return overrides.map((override, i) => {
    try {
      const matches = grafana.getFieldMatcher(override.matcher);
      const places = frames.flatMap((frame, f) =>
        frame.fields.flatMap((field, g) => (matches(field, frame, frames) ? [[f, g]] : [])),
      );
      if (places.length === 0) {
        fault(`${describe(override, i)}: matches no field; the fields are ${names.join(", ")}`);
      }
      return places;
    } catch (err) {
      fault(`${describe(override, i)}: Grafana: ${err.message.slice(0, 200)}`);
      return undefined;
    }
  });
}

// checkApplied expects each property in the configuration of each field that its override matches,
// unless a later override of the field sets it too.
function checkApplied(overrides, matches, frames, registry, fault) {
  const seen = new Set();
  for (let i = overrides.length - 1; i >= 0; i--) {
    for (const [f, g] of matches[i] ?? []) {
      for (const { id, value } of overrides[i].properties) {
        const key = `${f} ${g} ${id}`;
        if (seen.has(key)) {
          continue;
        }
        seen.add(key);
        const { isCustom, path } = registry.get(id);
        let got = get(isCustom ? frames[f].fields[g].config.custom : frames[f].fields[g].config, path);
        if (Array.isArray(got) && Array.isArray(value)) {
          got = got.slice(0, value.length); // Grafana puts the lists of weaker rules behind it
        }
        if (value === null || !isDeepStrictEqual(got, value)) {
          fault(`${describe(overrides[i], i)}: ${id} of the field is ${JSON.stringify(got)}, not ${JSON.stringify(value)}`);
        }
      }
    }
  }
}

// checkShown formats every value, as a panel does when it draws, and follows the links.
function checkShown(frames, fault) {
  for (const frame of frames) {
    for (const field of frame.fields) {
      field.values.forEach((value) => field.display(value));
      if (field.type === "time") {
        continue; // panels show neither links nor states of it
      }
      field.values.forEach((_, valueRowIndex) => {
        const links = field.getLinks({ valueRowIndex });
        if (links.some((link) => !link.href || !link.title) || links.length !== (field.config.links ?? []).length) {
          fault(`a link of ${grafana.getFieldDisplayName(field, frame, frames)} leads nowhere`);
        }
      });
      for (const mapping of field.config.mappings ?? []) {
        for (const [value, { text, color }] of Object.entries(mapping.type === "value" ? mapping.options : {})) {
          const got = field.display(field.type === "number" ? Number(value) : value);
          if (got.text !== text || (color && got.color !== grafana.colorManipulator.asHexString(theme.visualization.getColorByName(color)))) {
            fault(`the value ${value} of ${grafana.getFieldDisplayName(field, frame, frames)} is shown as ${got.text} in ${got.color}, not ${text} in ${color}`);
          }
        }
      }
    }
  }
}

// substitute replaces what a link takes from its row and its series, as Grafana's macros do. The
// variables of dashboards are checked in Go.
function substitute(text, scoped, fault) {
  return text.replace(/\$\{([^}:]+)(?::\w+)?\}/g, (whole, path) => {
    const { frame, field, rowIndex } = scoped?.__dataContext?.value ?? {};
    let value = "value";
    if (path.startsWith("__data.fields.")) {
      value = grafana.getFieldDisplayValuesProxy({ frame, rowIndex })[path.slice("__data.fields.".length)];
    } else if (path.startsWith("__field.labels.")) {
      value = field.labels?.[path.slice("__field.labels.".length)];
    }
    if (value === undefined) {
      fault(`${whole} is empty in ${text}`);
    }
    return String(value);
  });
}

// checkNames finds names for which Grafana silently takes something else.
function checkNames(panel, fieldConfig, fault) {
  const known = {
    calcs: (id) => grafana.fieldReducers.getIfExists(id),
    unit: (id) => units.has(id) || /^(prefix|suffix|time|currency|bool|count|si):/.test(id),
    mode: (id) => grafana.fieldColorModeRegistry.getIfExists(id),
    color: (name) => grafana.colorManipulator.decomposeColor(theme.visualization.getColorByName(name)),
  };
  const check = (kind, name, path) => {
    try {
      if (!known[kind](name)) {
        fault(`${path}: unknown name ${JSON.stringify(name)}`);
      }
    } catch (err) {
      fault(`${path}: Grafana: ${err.message}`);
    }
  };
  const walk = (value, path, checks) => {
    if (value === null || typeof value !== "object") {
      return;
    }
    for (const [key, inner] of Object.entries(value)) {
      const at = `${path}.${key}`;
      const kind = checks[key];
      if (kind && typeof inner === "string") {
        check(kind, inner, at);
      } else if (kind && Array.isArray(inner)) {
        inner.filter((name) => typeof name === "string").forEach((name) => check(kind, name, at));
      }
      walk(inner, at, checks);
    }
  };
  const reducers = { calcs: "calcs", reducer: "calcs", reducers: "calcs", aggregations: "calcs" };
  walk(panel.options, "options", { ...reducers, unit: "unit" });
  walk(panel.transformations, "transformations", reducers);
  const colors = { unit: "unit", color: "color", fixedColor: "color" };
  const { defaults, overrides } = fieldConfig;
  walk(defaults, "fieldConfig.defaults", colors);
  walk({ mode: defaults.color?.mode }, "fieldConfig.defaults.color", { mode: "mode" });
  for (const [i, override] of overrides.entries()) {
    for (const { id, value } of override.properties) {
      walk({ [id]: value }, describe(override, i), colors);
      if (id === "color") {
        walk({ mode: value?.mode }, `${describe(override, i)}.color`, { mode: "mode" });
      }
    }
  }
}
