// The roles that heads have here, how many each; choosing one finds its heads.
import type { HeadScores } from "../data/model";
import { roleColour } from "../state/theme";
import { show, view } from "../state/view";

export function RoleKey({ scores }: { scores: readonly HeadScores[] }) {
  const counts = new Map<string, number>();
  for (const { role } of scores) counts.set(role, (counts.get(role) ?? 0) + 1);
  // What has no role of its own comes last.
  const vague = (role: string) => (role === "mixed" || role === "not enough evidence" ? 1 : 0);
  const roles = [...counts].sort((a, b) => vague(a[0]) - vague(b[0]) || b[1] - a[1]);
  return (
    <ul class="role-key" aria-label="Roles of heads">
      {roles.map(([role, heads]) => (
        <li>
          <button class="quiet" aria-pressed={view.value.find === role} onClick={() => show({ find: view.value.find === role ? "" : role })}>
            <i style={{ background: roleColour(role) }} />
            {role} <span class="n">{heads}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}
