export type UploadRole = "image" | "mask" | "csv" | "values";

const MASK_STEM = /(_mask|-mask|\.mask|_labels|_instances)$/i;

/** What a file is for, guessed from its name; the server's pairing decides, and shows its result for review. */
export function guessRole(path: string): UploadRole {
  const parts = path.toLowerCase().split(/[\\/]/);
  const name = parts.at(-1) ?? "";
  if (name === "values.csv") return "values";
  if (name.endsWith(".csv")) return "csv";
  const stem = name.replace(/\.[a-z0-9]+$/, "");
  const inMaskFolder = parts.slice(0, -1).some((folder) => folder === "masks" || folder === "mask");
  return inMaskFolder || MASK_STEM.test(stem) ? "mask" : "image";
}
