import { create } from '@bufbuild/protobuf';
import { ValueSchema, type Value } from '../gen/tidemark/admin/v1/admin_pb';
import { hex, plain, unhex } from '../format/value';

/** What a column takes, by SQLite's own rules about declared types. */
export type Affinity = 'integer' | 'real' | 'numeric' | 'text' | 'blob';

export function affinity(declared: string): Affinity {
  const t = declared.toUpperCase();
  if (t.includes('INT')) return 'integer';
  if (/CHAR|CLOB|TEXT|JSON|UUID/.test(t)) return 'text';
  if (t.includes('BLOB') || t === '' || t.includes('BYTEA')) return 'blob';
  if (/REAL|FLOA|DOUB/.test(t)) return 'real';
  return 'numeric';
}

/** A value while somebody edits it. */
export interface Draft {
  null: boolean;
  text: string;
  hex?: boolean; // text is bytes as hexadecimal digits
}

export function draftOf(v: Value | undefined): Draft {
  switch (v?.kind.case) {
    case undefined:
    case 'null':
      return { null: true, text: '' };
    case 'blob':
      return { null: false, text: hex(v.kind.value), hex: true };
    default:
      return { null: false, text: plain(v) };
  }
}

export type Parsed = { ok: true; value: Value } | { ok: false; error: string };

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;

/** parse reads what was typed for a column, or says what is wrong with it and what would do. */
export function parse(d: Draft, column: { name: string; type: string; notNull?: boolean }): Parsed {
  if (d.null) {
    if (column.notNull) return bad(`${column.name} must not be NULL: type a value.`);
    return { ok: true, value: create(ValueSchema, { kind: { case: 'null', value: true } }) };
  }
  if (d.hex) return blob(d.text, column.name);
  const kind = affinity(column.type);
  const t = d.text.trim();
  switch (kind) {
    case 'integer':
      if (!/^[+-]?\d+$/.test(t)) return bad(`${column.name} is ${column.type}: type a whole number, such as 3.`);
      return integer(t, column.name);
    case 'real':
      if (!isNumber(t)) return bad(`${column.name} is ${column.type}: type a number, such as 2.5.`);
      return { ok: true, value: create(ValueSchema, { kind: { case: 'real', value: Number(t) } }) };
    case 'numeric':
      if (/^[+-]?\d+$/.test(t)) return integer(t, column.name);
      if (isNumber(t)) return { ok: true, value: create(ValueSchema, { kind: { case: 'real', value: Number(t) } }) };
      if (/NUMERIC|DECIMAL|MONEY/i.test(column.type)) return bad(`${column.name} is ${column.type}: type a number, such as 9.95.`);
      return text(d.text);
    case 'text':
      if (/JSON/i.test(column.type)) return json(d.text, column.name);
      return text(d.text);
    case 'blob':
      return text(d.text);
  }
}

function bad(error: string): Parsed {
  return { ok: false, error };
}
function text(s: string): Parsed {
  return { ok: true, value: create(ValueSchema, { kind: { case: 'text', value: s } }) };
}
function isNumber(t: string): boolean {
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(t) && Number.isFinite(Number(t));
}
function integer(t: string, name: string): Parsed {
  const n = BigInt(t.replace(/^\+/, ''));
  if (n < MIN || n > MAX) return bad(`${name} is too large: whole numbers have 64 bits.`);
  return { ok: true, value: create(ValueSchema, { kind: { case: 'integer', value: n } }) };
}
function blob(t: string, name: string): Parsed {
  const b = unhex(t);
  if (!b) return bad(`${name} is bytes: type pairs of hexadecimal digits, such as 00ff.`);
  return { ok: true, value: create(ValueSchema, { kind: { case: 'blob', value: b } }) };
}
function json(s: string, name: string): Parsed {
  try {
    JSON.parse(s);
  } catch (e) {
    return bad(`${name} is not valid JSON: ${(e as Error).message}`);
  }
  return text(s);
}
