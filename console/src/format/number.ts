/** count is a whole number with its thousands set apart: 10 000 is "10,000". */
export function count(n: number | bigint): string {
  return n.toLocaleString('en-GB');
}

/** plural is "1 change", "3 changes". */
export function plural(n: number | bigint, one: string, many = one + 's'): string {
  return `${count(n)} ${Number(n) === 1 ? one : many}`;
}

/** bytes tells a size in the unit that suits: "512 B", "3.4 GB" (powers of 1000). */
export function bytes(n: number | bigint): string {
  let v = Number(n);
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let i = 0;
  while (v >= 1000 && i < units.length - 1) {
    v /= 1000;
    i++;
  }
  return `${i === 0 || v >= 100 ? Math.round(v) : v.toFixed(1)} ${units[i]}`;
}

/** short is the beginning of an id, for people: the whole of it is in a title. */
export function short(id: string): string {
  return id.length > 14 ? id.slice(0, 8) + '…' : id;
}
