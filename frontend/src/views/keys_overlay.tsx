// All keys, in groups, read from what can be done now.
import { type Command, commands, printedKey } from "../state/commands";
import { CloseButton, Dialog } from "./dialog";

/** Commands that have keys, by group, in the order in which groups are first offered. */
export function keysByGroup(all: readonly Command[]): [string, Command[]][] {
  const groups = new Map<string, Command[]>();
  for (const command of all) {
    if (command.keys.length === 0) continue;
    groups.set(command.group, [...(groups.get(command.group) ?? []), command]);
  }
  return [...groups];
}

export function Keys({ of }: { of: Command }) {
  return (
    <span class="keys">
      {of.keys.map((key) => (
        <kbd>{printedKey(key)}</kbd>
      ))}
    </span>
  );
}

export function KeysOverlay({ onClose }: { onClose(): void }) {
  return (
    <Dialog label="Keys" class="keys-overlay" onClose={onClose}>
      <header class="dialog-head">
        <h2>Keys</h2>
        <CloseButton />
      </header>
      <div class="key-groups" tabIndex={0} role="region" aria-label="Keys by group">
        {keysByGroup(commands.value).map(([group, list]) => (
          <section aria-label={group}>
            <h3>{group}</h3>
            <dl>
              {list.map((command) => (
                <div>
                  <dt>{command.title}</dt>
                  <dd>
                    <Keys of={command} />
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
