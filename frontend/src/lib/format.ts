import { format } from "d3-format";

const grouped = format(",d");

/** 1204 -> "1,204" */
export const count = (n: number): string => grouped(n);

/** "1 object", "1,204 objects" */
export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;

export const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

export const percent = (fraction: number): string => `${Math.round(fraction * 100)}%`;

/** 0.02 -> "2%", 0.005 -> "0.5%", 0.975 -> "97.5%" */
export const share = (fraction: number): string => `${Number((100 * fraction).toFixed(2))}%`;

/** Never "100%" before all is done, never "0%" after a first one is. */
export function percentDone(done: number, total: number): string {
  if (total === 0 || done === 0) return "0%";
  if (done === total) return "100%";
  const exact = (100 * done) / total;
  if (exact < 1) return "<1%";
  return `${Math.min(99, Math.round(exact))}%`;
}

export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(0)} kB`;
  if (n < 1e9) return `${(n / 1e6).toFixed(1)} MB`;
  return `${(n / 1e9).toFixed(2)} GB`;
}

export function ago(iso: string, now: number): string {
  const seconds = (now - Date.parse(iso)) / 1000;
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 45) return "just now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  if (seconds < 86_400 * 14) return plural(Math.round(seconds / 86_400), "day").concat(" ago");
  return new Date(iso).toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" });
}
