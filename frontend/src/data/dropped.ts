// Traces among what was dropped on the page or chosen in a file dialog: every folder that holds a manifest.json.

/** A trace's files, by their names inside its folder. */
export interface Dropped {
  /** The folder's name; empty where the files came without one. */
  title: string;
  files: { name: string; file: File }[];
  bytes: number;
}

/** A file and where it was, with `/` between folders. */
export interface Found {
  path: string;
  file: File;
}

/** Files of a trace that the server reads; what else lies in its folder stays where it is. */
const READ = /^(manifest\.json|journal\.bin|[\w-]+\.(parquet|safetensors))$/;

/** The traces among files, or why there is none. */
export function tracesAmong(found: readonly Found[]): Dropped[] {
  const folders = new Map<string, Found[]>();
  for (const entry of found) {
    const folder = entry.path.slice(0, Math.max(0, entry.path.lastIndexOf("/")));
    folders.set(folder, [...(folders.get(folder) ?? []), entry]);
  }
  const traces: Dropped[] = [];
  for (const [folder, entries] of folders) {
    const files = entries.map(({ path, file }) => ({ name: path.slice(path.lastIndexOf("/") + 1), file })).filter(({ name }) => READ.test(name));
    if (!files.some(({ name }) => name === "manifest.json")) continue;
    const bytes = files.reduce((sum, { file }) => sum + file.size, 0);
    traces.push({ title: folder.slice(folder.lastIndexOf("/") + 1), files, bytes });
  }
  if (traces.length > 0) return traces;
  throw new Error(
    found.length === 1
      ? `${found[0].path} is one file; a trace is a folder, so drop the folder that holds manifest.json`
      : "no trace there: none of the folders holds a manifest.json",
  );
}

/** The trace with a name: its folder's, else what its manifest calls it. */
export async function named(dropped: Dropped): Promise<Dropped> {
  if (dropped.title !== "") return dropped;
  const manifest = dropped.files.find(({ name }) => name === "manifest.json");
  try {
    const { id } = JSON.parse((await manifest?.file.text()) ?? "{}");
    if (typeof id === "string" && id !== "") return { ...dropped, title: id.replaceAll("/", "-") };
  } catch {
    // The server says what is wrong with a manifest that cannot be read.
  }
  return { ...dropped, title: "trace" };
}

/** Everything that a drop holds, folders entered. Must be called while the drop is handled. */
export async function filesOfDrop(transfer: DataTransfer): Promise<Found[]> {
  const found = [...transfer.items].map((item): Promise<Found[]> | Found[] => {
    const entry = item.webkitGetAsEntry();
    if (entry) return filesUnder(entry);
    // Not of a file system: a file that a program made.
    const file = item.getAsFile();
    return file ? [{ path: file.name, file }] : [];
  });
  return (await Promise.all(found)).flat();
}

/** Everything that was chosen in a file dialog for folders. */
export function filesOfInput(input: HTMLInputElement): Found[] {
  return [...(input.files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

async function filesUnder(entry: FileSystemEntry): Promise<Found[]> {
  const path = entry.fullPath.replace(/^\//, "");
  if (isFile(entry)) return [{ path, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) }];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: Found[] = [];
  // A reader gives a hundred entries at a time and says that it is done by giving none.
  for (;;) {
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (batch.length === 0) return found;
    for (const inner of batch) found.push(...(await filesUnder(inner)));
  }
}

function isFile(entry: FileSystemEntry): entry is FileSystemFileEntry {
  return entry.isFile;
}
