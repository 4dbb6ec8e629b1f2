import { describe, expect, it } from 'vitest';
import { words, type Piece } from './words';

const older = (p: Piece[]) => p.filter((x) => x.kind !== 'added').map((x) => x.text).join('');
const newer = (p: Piece[]) => p.filter((x) => x.kind !== 'removed').map((x) => x.text).join('');

describe('words', () => {
  it('marks only the words that changed', () => {
    expect(words('prefers mornings, by bus', 'prefers late mornings, by car')).toEqual([
      { kind: 'same', text: 'prefers ' },
      { kind: 'added', text: 'late ' },
      { kind: 'same', text: 'mornings, by ' },
      { kind: 'removed', text: 'bus' },
      { kind: 'added', text: 'car' },
    ]);
  });
  it('gives both texts back whole, whatever they are', () => {
    let seed = 7;
    const next = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
    const alphabet = ['a', 'b', ' ', ',', 'é', '日本', '\n', '🙂', 'x1'];
    for (let i = 0; i < 400; i++) {
      const text = () => Array.from({ length: next(14) }, () => alphabet[next(alphabet.length)]).join('');
      const [a, b] = [text(), text()];
      const p = words(a, b);
      expect(older(p)).toBe(a);
      expect(newer(p)).toBe(b);
    }
  });
  it('takes texts that are too long as rewritten, and quickly', () => {
    const a = Array.from({ length: 5000 }, (_, i) => `a${i}`).join(' ');
    const b = Array.from({ length: 5000 }, (_, i) => `b${i}`).join(' ');
    const p = words(a, b);
    expect(older(p)).toBe(a);
    expect(newer(p)).toBe(b);
  });
  it('says nothing of nothing', () => expect(words('', '')).toEqual([]));
});
