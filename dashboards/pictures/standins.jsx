// The state timeline and the heatmap are not among the packages that Grafana publishes. These draw
// what the real ones show: the states of each series over time, and the counts of each bucket.
import { FieldType, getFieldDisplayName } from "@grafana/data";

const axis = 22;
const legend = 24;

// Axis draws the times below a graph.
function Axis({ from, to, left, width, top, theme }) {
  const steps = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600].map((s) => s * 1000);
  const step = steps.find((s) => ((to - from) / s) * 70 < width) ?? steps.at(-1);
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    ticks.push(at);
  }
  const text = (at) => new Date(at).toISOString().slice(11, step < 60_000 ? 19 : 16);
  return ticks.map((at) => (
    <text key={at} x={left + ((at - from) / (to - from)) * width} y={top + 15} fontSize={12} textAnchor="middle" fill={theme.colors.text.primary}>
      {text(at)}
    </text>
  ));
}

export function Timeline({ panel, width, height, picture, theme }) {
  const { from, to } = picture;
  const rows = panel.frames.map((frame) => {
    const [time, value] = [FieldType.time, FieldType.number].map((type) => frame.fields.find((field) => field.type === type));
    return { name: getFieldDisplayName(value, frame, panel.frames), time, value };
  });
  rows.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const left = Math.min(width / 3, 14 + 6.6 * Math.max(...rows.map((row) => row.name.length)));
  const space = height - axis - legend;
  const step = space / rows.length;
  const thick = Math.max(1, step * panel.options.rowHeight);
  const x = (at) => left + ((Math.max(at, from) - from) / (to - from)) * (width - left);
  const states = Object.values(panel.fieldConfig.defaults.mappings[0].options).sort((a, b) => a.index - b.index);
  const color = (name) => theme.visualization.getColorByName(name);
  const size = Math.min(12, step);
  return (
    <svg width={width} height={height} style={{ fontFamily: theme.typography.fontFamily, display: "block" }}>
      {rows.map(({ name, time, value }, i) => (
        <g key={name + i}>
          <text x={left - 8} y={(i + 0.5) * step} fontSize={size} textAnchor="end" dominantBaseline="middle" fill={theme.colors.text.primary}>
            {name}
          </text>
          {time.values.map((at, j) => {
            const next = time.values[j + 1] ?? to;
            const end = next - at > time.config.interval * 1.5 ? at + time.config.interval : next; // a gap
            return end > from && <rect key={at} x={x(at)} y={i * step + (step - thick) / 2} width={Math.max(0, x(Math.min(end, to)) - x(at)) + 0.3} height={thick} fill={value.display(value.values[j]).color} fillOpacity={panel.fieldConfig.defaults.custom.fillOpacity / 100} />;
          })}
        </g>
      ))}
      <Axis from={from} to={to} left={left} width={width - left} top={space} theme={theme} />
      <foreignObject x={0} y={height - legend} width={width} height={legend}>
        <div style={{ display: "flex", gap: 16, fontSize: 12, lineHeight: `${legend}px`, color: theme.colors.text.primary }}>
          {states.map((state) => (
            <span key={state.text}>
              <span style={{ display: "inline-block", width: 14, height: 4, borderRadius: 2, marginRight: 6, verticalAlign: "middle", background: color(state.color) }} />
              {state.text}
            </span>
          ))}
        </div>
      </foreignObject>
    </svg>
  );
}

// The scheme "Oranges" of d3, from few to many on a light page. On a dark one it runs the other way.
const oranges = ["#fff5eb", "#fee6ce", "#fdd0a2", "#fdae6b", "#fd8d3c", "#f16913", "#d94801", "#a63603", "#7f2704"];

export function Heatmap({ panel, width, height, picture, theme }) {
  const frame = panel.frames[0];
  const times = frame.fields[0].values;
  const all = frame.fields.slice(1);
  const used = all.map((field, i) => [i, field.values.some((v) => v > 0)]).filter(([, some]) => some).map(([i]) => i);
  const rows = used.length > 0 ? all.slice(Math.max(0, used[0] - 1), used.at(-1) + 1) : all;
  const most = Math.max(1e-9, ...rows.flatMap((field) => field.values));
  const left = 56;
  const step = (height - axis) / rows.length;
  const every = times.length > 1 ? times[1] - times[0] : picture.to - picture.from;
  const x = (at) => left + ((Math.max(at, picture.from) - picture.from) / (picture.to - picture.from)) * (width - left);
  const shades = theme.isDark ? [...oranges].reverse() : oranges;
  const shade = (v) => shades[Math.min(shades.length - 1, Math.floor(Math.sqrt(v / most) * shades.length))];
  const label = (field) => (field.name === "+Inf" ? "+Inf" : seconds(Number(field.name)));
  return (
    <svg width={width} height={height} style={{ fontFamily: theme.typography.fontFamily, display: "block" }}>
      {rows.map((field, i) => {
        const y = (rows.length - 1 - i) * step;
        return (
          <g key={field.name}>
            <text x={left - 8} y={y} fontSize={12} textAnchor="end" dominantBaseline="hanging" fill={theme.colors.text.primary}>
              {label(field)}
            </text>
            {field.values.map((v, j) => v > 1e-9 && times[j] >= picture.from && <rect key={j} x={x(times[j] - every) + 0.5} y={y + 0.5} width={Math.max(1, x(times[j]) - x(times[j] - every) - 1)} height={step - 1} fill={shade(v)} />)}
          </g>
        );
      })}
      <Axis from={picture.from} to={picture.to} left={left} width={width - left} top={height - axis} theme={theme} />
    </svg>
  );
}

function seconds(v) {
  return v < 1 ? `${Number((v * 1000).toPrecision(3))} ms` : `${Number(v.toPrecision(3))} s`;
}
