// Roles by depth: one bar per layer, one part per head.
import { here, type Trace } from "../data/trace";
import { inks, roleColour } from "../state/theme";
import { hover, show, view } from "../state/view";
import { Panel, type TableData } from "./panel";
import { Plot, type Surface, pointIn } from "./plot";

const BOTTOM = 16;

/** Roles of a layer's heads, alike ones side by side, in the order of the run's commonest roles. */
export function rolesByLayer(scores: readonly { layer: number; role: string }[], layers: number): string[][] {
  const common = new Map<string, number>();
  for (const { role } of scores) common.set(role, (common.get(role) ?? 0) + 1);
  const rank = (role: string) => (role === "mixed" ? Infinity : -(common.get(role) ?? 0));
  const stacks: string[][] = Array.from({ length: layers }, () => []);
  for (const { layer, role } of scores) stacks[layer]?.push(role);
  for (const stack of stacks) stack.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  return stacks;
}

export function DepthProfile({ trace }: { trace: Trace }) {
  const draw = ({ context, width, height }: Surface) => {
    const stacks = rolesByLayer(here(trace.heads) ?? [], trace.layers);
    const pitch = width / trace.layers;
    const unit = (height - BOTTOM) / trace.kvHeads;
    const ink = inks.value;
    const chosen = hover.layer.value ?? view.value.layer;
    stacks.forEach((stack, layer) => {
      stack.forEach((role, index) => {
        context.fillStyle = roleColour(role);
        const gap = pitch > 6 ? 1 : 0.5;
        context.fillRect(layer * pitch, height - BOTTOM - (index + 1) * unit, Math.max(1, pitch - gap), Math.max(1, unit - (unit > 4 ? 1 : 0)));
      });
    });
    context.font = "10px 'IBM Plex Mono', monospace";
    context.textAlign = "center";
    context.textBaseline = "bottom";
    const every = Math.max(1, Math.ceil(26 / pitch));
    for (let layer = 0; layer < trace.layers; layer++) {
      const isChosen = layer === chosen;
      if (layer % every !== 0 && !isChosen) continue;
      if (!isChosen && Math.abs(layer - chosen) < every && layer !== chosen) continue;
      context.fillStyle = isChosen ? ink.accent : ink.muted;
      context.fillText(String(layer), (layer + 0.5) * pitch, height);
    }
  };
  const layerAt = (event: MouseEvent) => {
    const { width } = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return Math.min(trace.layers - 1, Math.max(0, Math.floor((pointIn(event).x / width) * trace.layers)));
  };
  const table = (): TableData => {
    const stacks = rolesByLayer(here(trace.heads) ?? [], trace.layers);
    return { caption: "Roles of each layer's heads", columns: ["layer", "roles"], rows: stacks.map((stack, layer) => [layer, stack.join(", ")]) };
  };
  return (
    <Panel title="Roles by depth" hint="One bar per layer, first to last." class="profile" table={table}>
      <Plot
        label="Roles of heads by layer, as stacked bars"
        draw={draw}
        onPointerMove={(event) => (hover.layer.value = layerAt(event))}
        onPointerLeave={() => (hover.layer.value = null)}
        onClick={(event) => show({ layer: layerAt(event) })}
      />
    </Panel>
  );
}
