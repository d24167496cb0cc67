/** What a person sets once and finds again: kept in this browser only. */
export interface Preferences {
  tilePx: number;
  split: number;
  order: string;
  /** Empty until chosen. */
  color: string;
  legendOpen: boolean;
  letters: boolean;
  /** Around the object of every tile. */
  outline: boolean;
  /** Whether single keys work wherever the focus is, but in fields; else only on the patches and the map (WCAG 2.1.4). */
  keysEverywhere: boolean;
}

const KEY = "patchsorter.workspace";
const DEFAULTS: Preferences = {
  tilePx: 64,
  split: 0.44,
  order: "similarity",
  color: "",
  legendOpen: true,
  letters: true,
  outline: true,
  keysEverywhere: true,
};

export function loadPreferences(): Preferences {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return { ...DEFAULTS, ...(typeof stored === "object" ? stored : {}) };
  } catch {
    return { ...DEFAULTS };
  }
}

export function savePreferences(preferences: Preferences): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // storage may be forbidden; the preference then lasts as long as the page
  }
}
