// A moment in words, as near as a reader needs it.

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const dayOfYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** "today 18:32", "yesterday 18:32", "24 Nov 18:32", "24 Nov 2024"; the text itself where it is no date. */
export function whenWords(moment: string, now: Date): string {
  const at = new Date(moment);
  if (Number.isNaN(at.getTime())) return moment;
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const days = Math.ceil((midnight - at.getTime()) / 86_400_000);
  if (days <= 0 && at <= new Date(now.getTime() + 60_000)) return `today ${clock.format(at)}`;
  if (days === 1) return `yesterday ${clock.format(at)}`;
  if (at.getFullYear() === now.getFullYear()) return `${dayOfYear.format(at)} ${clock.format(at)}`;
  return day.format(at);
}
