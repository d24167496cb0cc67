interface Named {
  readonly key: string;
  readonly name: string;
  readonly value: number;
}

/** What stands for a class where there is room for two signs: its key, else as much of its name as no other class without a key
 * begins with, else its value. */
export function lettersOf(labelClass: Named, classes: readonly Named[]): string {
  if (labelClass.key !== "") return labelClass.key;
  const others = classes.filter((other) => other.key === "" && other.value !== labelClass.value);
  for (const length of [1, 2]) {
    const letters = beginning(labelClass, length);
    if (letters.length === length && others.every((other) => beginning(other, length) !== letters)) return letters;
  }
  return String(labelClass.value);
}

function beginning(labelClass: Named, length: number): string {
  const letters = [...labelClass.name.trim()].slice(0, length);
  return letters.length === 0 ? "" : letters[0]!.toUpperCase() + letters.slice(1).join("").toLowerCase();
}
