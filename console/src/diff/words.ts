/** A piece of text as compared with an older one. */
export interface Piece {
  kind: 'same' | 'added' | 'removed';
  text: string;
}

const MOST = 1500; // words; the table has its square

/** words compares two texts word by word: what stayed, what came, what went, in reading order. */
export function words(older: string, newer: string): Piece[] {
  if (older === newer) return older === '' ? [] : [{ kind: 'same', text: older }];
  const a = split(older);
  const b = split(newer);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const out: Piece[] = [];
  push(out, 'same', a.slice(0, head));
  middle(out, a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  push(out, 'same', a.slice(a.length - tail));
  return out;
}

/** split cuts before each word, blank run and punctuation mark, in any script. */
function split(s: string): string[] {
  return s.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) ?? [];
}

function push(out: Piece[], kind: Piece['kind'], toks: string[]) {
  if (toks.length === 0) return;
  const last = out[out.length - 1];
  if (last?.kind === kind) last.text += toks.join('');
  else out.push({ kind, text: toks.join('') });
}

/** middle finds the longest common subsequence; what is too long for that is taken as rewritten. */
function middle(out: Piece[], a: string[], b: string[]) {
  if (a.length > MOST || b.length > MOST || a.length === 0 || b.length === 0) {
    push(out, 'removed', a);
    push(out, 'added', b);
    return;
  }
  const w = b.length + 1;
  const len = new Uint16Array((a.length + 1) * w);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      len[i * w + j] = a[i] === b[j] ? len[(i + 1) * w + j + 1]! + 1 : Math.max(len[(i + 1) * w + j]!, len[i * w + j + 1]!);
    }
  }
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      push(out, 'same', [a[i]!]);
      i++;
      j++;
    } else if (len[(i + 1) * w + j]! >= len[i * w + j + 1]!) push(out, 'removed', [a[i++]!]);
    else push(out, 'added', [b[j++]!]);
  }
  push(out, 'removed', a.slice(i));
  push(out, 'added', b.slice(j));
}
