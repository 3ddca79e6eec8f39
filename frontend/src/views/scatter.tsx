// Heads over any two scores.
import { extent } from "d3-array";
import { scaleLinear, scaleLog } from "d3-scale";
import { useRef } from "preact/hooks";
import { number } from "../base/format";
import { here, type Trace } from "../data/trace";
import { inks, roleColour } from "../state/theme";
import { hover, show, view } from "../state/view";
import { Panel, type TableData } from "./panel";
import { Plot, type Surface, pointIn } from "./plot";

interface Dot {
  layer: number;
  head: number;
  role: string;
  x: number;
  y: number;
}

const LEFT = 40;
const BOTTOM = 26;

export function Scatter({ trace, names }: { trace: Trace; names: readonly string[] }) {
  const placed = useRef<Dot[]>([]);
  const [across, up] = view.value.scatter;
  const points = (): Dot[] =>
    (here(trace.heads) ?? []).flatMap(({ layer, head, role, ...scores }) => {
      const [x, y] = [scores[across], scores[up]];
      return typeof x === "number" && typeof y === "number" ? [{ layer, head, role, x, y }] : [];
    });
  const draw = ({ context, width, height }: Surface) => {
    const dots = points();
    const x = axis(dots.map((dot) => dot.x), [LEFT, width - 8]);
    const y = axis(dots.map((dot) => dot.y), [height - BOTTOM, 6]);
    const ink = inks.value;
    context.font = "10px 'IBM Plex Mono', monospace";
    context.fillStyle = ink.muted;
    context.strokeStyle = ink.rule;
    context.lineWidth = 1;
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const tick of x.ticks) {
      line(context, x.at(tick), 6, x.at(tick), height - BOTTOM);
      context.fillText(number(tick), Math.min(width - 14, x.at(tick)), height - BOTTOM + 4);
    }
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of y.ticks) {
      line(context, LEFT, y.at(tick), width - 8, y.at(tick));
      context.fillText(number(tick), LEFT - 4, y.at(tick));
    }
    placed.current = dots.map((dot) => ({ ...dot, x: x.at(dot.x), y: y.at(dot.y) }));
    const chosen = view.value;
    for (const dot of placed.current) {
      const isChosen = dot.layer === chosen.layer && dot.head === chosen.head;
      const isHovered = dot.layer === hover.layer.value && dot.head === hover.head.value;
      context.beginPath();
      context.arc(dot.x, dot.y, isChosen || isHovered ? 5 : 3.5, 0, 2 * Math.PI);
      context.fillStyle = roleColour(dot.role);
      context.globalAlpha = 0.9;
      context.fill();
      context.globalAlpha = 1;
      if (isChosen || isHovered) {
        context.strokeStyle = isChosen ? ink.accent : ink.ink;
        context.lineWidth = 1.5;
        context.stroke();
      }
    }
  };
  const nearest = (event: MouseEvent): Dot | undefined => {
    const { x, y } = pointIn(event);
    const far = (dot: Dot) => (dot.x - x) ** 2 + (dot.y - y) ** 2;
    const best = placed.current.reduce<Dot | undefined>((best, dot) => (!best || far(dot) < far(best) ? dot : best), undefined);
    return best && far(best) < 15 ** 2 ? best : undefined;
  };
  const choose = (which: 0 | 1) => (
    <label class="field">
      <span class="sr">{which === 0 ? "Score to the right" : "Score upwards"}</span>
      {which === 0 ? "→" : "↑"}
      <select
        value={view.value.scatter[which]}
        onChange={(event) => show({ scatter: which === 0 ? [event.currentTarget.value, up] : [across, event.currentTarget.value] })}
      >
        {names.map((name) => (
          <option value={name}>{name.replaceAll("_", " ")}</option>
        ))}
      </select>
    </label>
  );
  const table = (): TableData => ({
    caption: `Heads by ${across} and ${up}`,
    columns: ["layer", "head", "role", across, up],
    rows: points().map((dot) => [dot.layer, dot.head, dot.role, Number(dot.x.toPrecision(4)), Number(dot.y.toPrecision(4))]),
  });
  return (
    <Panel title="Scores" class="scatter" table={table} tools={<>{choose(1)}{choose(0)}</>}>
      <Plot
        label={`Heads over ${across.replaceAll("_", " ")} (to the right) and ${up.replaceAll("_", " ")} (upwards)`}
        draw={draw}
        onPointerMove={(event) => {
          const dot = nearest(event);
          hover.layer.value = dot?.layer ?? null;
          hover.head.value = dot?.head ?? null;
        }}
        onPointerLeave={() => {
          hover.layer.value = null;
          hover.head.value = null;
        }}
        onClick={(event) => {
          const dot = nearest(event);
          if (dot) show({ layer: dot.layer, head: dot.head });
        }}
      />
    </Panel>
  );
}

/** A linear axis, or a logarithmic one where positive values span more than two powers of ten. */
function axis(values: readonly number[], range: [number, number]): { at(value: number): number; ticks: number[] } {
  const [low = 0, high = 1] = extent(values);
  const isWide = low > 0 && high / low > 100;
  const spread = low === high ? [low - 0.5, high + 0.5] : [low, high];
  const scale = isWide ? scaleLog(spread, range).nice() : scaleLinear(spread, range).nice();
  const ticks = scale.ticks(4);
  return { at: (value) => scale(value), ticks: isWide ? ticks.filter((tick) => Number.isInteger(Math.log10(tick))) : ticks };
}

function line(context: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}
