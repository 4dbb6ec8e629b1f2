import { describe, expect, it } from 'vitest';
import { affinity, draftOf, parse } from './value';

const typed = (text: string, type: string, more: { notNull?: boolean; null?: boolean; hex?: boolean } = {}) =>
  parse({ null: more.null ?? false, text, hex: more.hex }, { name: 'c', type, notNull: more.notNull });

describe('parse', () => {
  it.each([
    ['3', 'INTEGER', 'integer', 3n],
    [' -7 ', 'BIGINT', 'integer', -7n],
    ['2.5', 'REAL', 'real', 2.5],
    ['3', 'DOUBLE PRECISION', 'real', 3],
    ['9.95', 'NUMERIC(8,2)', 'real', 9.95],
    ['12', 'DECIMAL', 'integer', 12n],
    ['2026-11-22', 'DATE', 'text', '2026-11-22'],
    [' kept ', 'TEXT', 'text', ' kept '],
    ['', 'VARCHAR(20)', 'text', ''],
    ['{"a":1}', 'JSON', 'text', '{"a":1}'],
  ])('%s for %s is %s', (text, type, kind, value) => {
    const p = typed(text, type);
    expect(p.ok && p.value.kind).toEqual({ case: kind, value });
  });
  it.each([
    ['three', 'INTEGER', /whole number/],
    ['1.5', 'INT', /whole number/],
    ['9223372036854775808', 'INTEGER', /64 bits/],
    ['', 'REAL', /number/],
    ['1e999', 'REAL', /number/],
    ['cheap', 'NUMERIC', /number/],
    ['{"a":', 'JSON', /not valid JSON/],
  ])('%s for %s is refused, with what would do', (text, type, words) => {
    const p = typed(text, type);
    expect(p.ok ? '' : p.error).toMatch(words);
  });
  it('keeps NULL apart from empty text, and refuses it where it must not be', () => {
    expect(typed('', 'TEXT', { null: true })).toMatchObject({ ok: true, value: { kind: { case: 'null' } } });
    expect(typed('', 'TEXT', { null: true, notNull: true })).toMatchObject({ ok: false });
  });
  it('reads bytes', () => {
    expect(typed('00 ff', 'BLOB', { hex: true })).toMatchObject({ ok: true, value: { kind: { case: 'blob', value: new Uint8Array([0, 255]) } } });
    expect(typed('0', 'BLOB', { hex: true })).toMatchObject({ ok: false });
  });
  it('follows SQLite in what a declared type means', () => {
    expect(['TINYINT', 'NCHAR(5)', 'FLOAT', 'BOOLEAN', ''].map(affinity)).toEqual(['integer', 'text', 'real', 'numeric', 'blob']);
  });
  it('begins with what is there', () => expect(draftOf(undefined)).toEqual({ null: true, text: '' }));
});
