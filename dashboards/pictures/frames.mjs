// Asks Prometheus what a panel asks, and makes the frames that Grafana's Prometheus data source makes
// of the answers.
import { rangeUtil, toDataFrame } from "@grafana/data";

// substitute replaces variables ($name, ${name}, ${name:format}) as Grafana does.
export function substitute(text, values) {
  return text.replace(/\$\{(\w+)(?::\w+)?\}|\$([A-Za-z_]\w*)/g, (whole, a, b) => values[a ?? b] ?? whole);
}

// steps returns the step of a panel and the variables that depend on it.
export function steps(panel, { from, to, scrape, variables }) {
  const range = { from: { valueOf: () => from }, to: { valueOf: () => to } };
  const width = panel.maxDataPoints ?? Math.max(200, (panel.gridPos.w / 24) * 1400);
  const { intervalMs } = rangeUtil.calculateInterval(range, width, panel.interval ?? `${scrape}s`);
  const seconds = intervalMs / 1000;
  const rate = Math.max(seconds + scrape, 4 * scrape);
  return {
    seconds,
    variables: {
      ...variables, __interval: `${seconds}s`, __interval_ms: intervalMs, __rate_interval: `${rate}s`,
      __range: `${Math.round((to - from) / 1000)}s`, __range_s: Math.round((to - from) / 1000), __range_ms: to - from,
    },
  };
}

async function ask(path, params) {
  const response = await fetch(`/api/v1/${path}?${new URLSearchParams(params)}`);
  const { status, data, error } = await response.json();
  if (status !== "success") {
    throw new Error(`${error} in ${params.query}`);
  }
  return data.result;
}

// rangeOf evaluates an expression at each step, aligned as Grafana does.
export function rangeOf(expr, { from, to }, seconds) {
  const align = (ms) => Math.floor(ms / 1000 / seconds) * seconds;
  return ask("query_range", { query: expr, start: align(from), end: align(to), step: seconds });
}

// framesOf returns the frames of all queries of a panel.
export async function framesOf(panel, picture) {
  const { seconds, variables } = steps(panel, picture);
  const answers = await Promise.all(
    panel.targets.map((target) => {
      const expr = substitute(target.expr, variables);
      return target.instant ? ask("query", { query: expr, time: picture.to / 1000 }) : rangeOf(expr, picture, seconds);
    }),
  );
  return panel.targets.flatMap((target, i) => frames(target, answers[i], panel.targets.length, seconds));
}

function frames(target, series, queries, seconds) {
  const samples = (one) => one.values ?? [one.value];
  const name = ({ __name__ = "", ...labels }) => `${__name__}{${Object.entries(labels).map(([k, v]) => `${k}="${v}"`).join(", ")}}`;
  switch (target.format) {
    case "table": {
      if (series.length === 0) {
        return [];
      }
      const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
      return [
        toDataFrame({
          refId: target.refId,
          fields: [
            { name: "Time", type: "time", values: series.map((one) => samples(one)[0][0] * 1000) },
            ...labels.map((label) => ({ name: label, type: "string", values: series.map((one) => one.metric[label]) })),
            { name: queries > 1 ? `Value #${target.refId}` : "Value", type: "number", values: series.map((one) => Number(samples(one)[0][1])) },
          ],
        }),
      ];
    }
    case "heatmap":
      return series.length > 0 && series.every((one) => "le" in one.metric) ? [buckets(target, series)] : [];
    default:
      return series.map((one) => {
        const legend = target.legendFormat?.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => one.metric[label] ?? "");
        return toDataFrame({
          refId: target.refId,
          fields: [
            { name: "Time", type: "time", values: samples(one).map(([at]) => at * 1000), config: { interval: target.instant ? 0 : seconds * 1000 } },
            { name: "Value", type: "number", values: samples(one).map(([, v]) => Number(v)), labels: one.metric, config: { displayNameFromDS: legend || name(one.metric) } },
          ],
        });
      });
  }
}

// buckets turns cumulative buckets into rows of a heatmap, one field each.
function buckets(target, series) {
  const bound = (one) => (one.metric.le === "+Inf" ? Infinity : Number(one.metric.le));
  const sorted = [...series].sort((a, b) => bound(a) - bound(b));
  const times = [...new Set(sorted.flatMap((one) => one.values.map(([at]) => at)))].sort((a, b) => a - b);
  const table = sorted.map((one) => new Map(one.values.map(([at, v]) => [at, Number(v)])));
  return toDataFrame({
    refId: target.refId,
    meta: { type: "heatmap-rows" },
    fields: [
      { name: "Time", type: "time", values: times.map((at) => at * 1000) },
      ...sorted.map((one, i) => ({
        name: one.metric.le, type: "number", values: times.map((at) => Math.max(0, (table[i].get(at) ?? 0) - (i > 0 ? (table[i - 1].get(at) ?? 0) : 0))),
      })),
    ],
  });
}
