// S4: what a head holds as the run goes on, and why tokens had to go.
import type { Trace } from "../data/trace";
import { LifeLinePanel } from "../views/life_line_panel";
import { OccupancyPanel } from "../views/occupancy_plot";

export function TimeScreen({ trace }: { trace: Trace }) {
  return (
    <div class="time">
      <OccupancyPanel trace={trace} />
      <LifeLinePanel trace={trace} />
    </div>
  );
}
