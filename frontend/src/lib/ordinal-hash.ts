/** What an address ends with that leads to one object of the workspace. */
export const hashOfOrdinal = (ordinal: number): string => `#object=${ordinal}`;

/** The ordinal in such an ending; null where there is none. */
export function ordinalOfHash(hash: string): number | null {
  const found = /^#object=(\d{1,9})$/.exec(hash);
  return found === null ? null : Number(found[1]);
}
