// The server's list of traces, and what can be done to it. No DOM but for what the browser dropped here.
import type { Dropped } from "./dropped";
import type { Listed } from "./model";
import { ServerError, ask, askedInVain } from "./source";

export async function listTraces(): Promise<Listed[]> {
  return (await (await ask("/api/traces")).json()).traces;
}

export async function deleteTrace(key: string): Promise<void> {
  await ask(of(key), { method: "DELETE" });
}

export async function restoreTrace(key: string): Promise<void> {
  await ask(`${of(key)}/restore`, { method: "POST" });
}

/** Adds a trace by its path on the server's machine; its key. */
export async function openPath(path: string): Promise<string> {
  const body = JSON.stringify({ path });
  return (await (await ask("/api/open", { method: "POST", body, headers: { "content-type": "application/json" } })).json()).key;
}

/**
 * Sends a dropped trace; its key. `progress` hears the share sent, 0 to 1. By XMLHttpRequest, as fetch does not tell how
 * much it has sent.
 */
export function sendDropped(dropped: Dropped, progress: (share: number) => void, signal?: AbortSignal): Promise<string> {
  const form = formOf(dropped);
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    request.open("POST", "/api/dropped");
    request.setRequestHeader("x-trimkv-trace", "1");
    request.responseType = "json";
    request.upload.onprogress = (event) => progress(event.lengthComputable ? event.loaded / event.total : 0);
    request.onload = () => {
      const said = request.response as { key?: string; error?: string } | null;
      if (request.status < 300 && said?.key) resolve(said.key);
      else reject(new ServerError(said?.error ?? `the server answered ${request.status} to the dropped trace`, request.status));
    };
    request.onerror = () => reject(askedInVain());
    request.onabort = () => reject(new ServerError("not sent", 0));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** A dropped trace's files, each with its folder, from which the server takes the trace's name. */
export function formOf({ title, files }: Dropped): FormData {
  const form = new FormData();
  for (const { name, file } of files) form.append("file", file, `${title}/${name}`);
  return form;
}

export function downloadOf(key: string): string {
  return `${of(key)}/download.zip`;
}

export function pageOf(key: string): string {
  return `/t/${encodeURIComponent(key)}`;
}

function of(key: string): string {
  return `/api/traces/${encodeURIComponent(key)}`;
}
