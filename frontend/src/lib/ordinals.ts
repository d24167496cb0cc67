/** The places of the ones in `member`, ascending. */
export function indicesOf(member: Uint8Array): Uint32Array {
  let n = 0;
  for (let i = 0; i < member.length; i++) n += member[i]!;
  const indices = new Uint32Array(n);
  for (let i = 0, k = 0; i < member.length; i++) if (member[i] === 1) indices[k++] = i;
  return indices;
}

/** 0, 1, … n - 1, or from another number on up to n. */
export const ordinalsUpTo = (n: number, from = 0): Uint32Array =>
  Uint32Array.from({ length: Math.max(0, n - from) }, (_, i) => from + i);
